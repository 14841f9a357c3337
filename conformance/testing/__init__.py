"""For the tests of a layer of one's own, under plain pytest and Hypothesis: drawn cases, and one assertion.

`cases()` draws whole cases, `batches()` draws arrays, and `assert_conforms` performs a case by a function and judges it.
The profiles `ci` (always the same examples, seconds) and `search` are loaded with `hypothesis.settings.load_profile`.
"""

from __future__ import annotations

from conformance.search.cases import cases
from conformance.testing.conforming import Unlike, assert_conforms
from conformance.testing.profiles import register
from conformance.testing.strategies import batches

register()

__all__ = ["Unlike", "assert_conforms", "batches", "cases"]

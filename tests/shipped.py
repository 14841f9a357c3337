"""The shipped spec, loaded once for all tests of a process."""

from __future__ import annotations

import functools

from conformance.spec.loader import Spec, load
from conformance.spec.locations import spec_folder


@functools.cache
def spec() -> Spec:
    """Return the shipped spec."""
    return load(spec_folder())

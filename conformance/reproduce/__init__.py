"""A recorded cell as a standalone script: native calls and NumPy alone, with what they must give and what they gave.

The script is the adapter's own source, made short by what is known of the cell; no adapter is imported for it.
"""

from __future__ import annotations

from conformance.reproduce.evidence import Evidence, performed, recorded
from conformance.reproduce.script import script

__all__ = ["Evidence", "performed", "recorded", "script"]

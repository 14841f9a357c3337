"""Text of strangers on its way to a terminal: what would move the cursor, colour or rename the window is shown instead."""

from __future__ import annotations

import re

#: The control characters but line feed and tab, and surrogates that stand alone.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def plain(text: str) -> str:
    """Return the text with the escape of every control character in place of it."""
    return _CONTROLS.sub(lambda control: ascii(control[0])[1:-1], text)

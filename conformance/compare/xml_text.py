"""Text as XML 1.0 can hold it."""

from __future__ import annotations

import re

#: Characters that XML 1.0 has no way to write, not even as references; a framework's message may hold some.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal(text: str) -> str:
    """Return the text with U+FFFD for every character that XML cannot hold."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)

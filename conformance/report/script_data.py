"""What the pages' scripts read: JSON in which nothing can end the element that holds it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

#: `<` and `&` could end the element or begin a comment; the separators end a line in older scripts.
_ESCAPED = {character.encode(): f"\\u{ord(character):04x}".encode() for character in "<>&\u2028\u2029"}


def json_of(value: Any) -> bytes:
    """Return a value as JSON that is safe in a script."""
    try:
        text = msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError):
        # A lone surrogate, which a log may hold, or a whole number of more than 64 bits: few files have any.
        text = bytes_of(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    return safe(text)


def safe(text: bytes) -> bytes:
    """Return JSON with nothing in it that HTML or an older script reads."""
    for character, escape in _ESCAPED.items():
        text = text.replace(character, escape)
    return text


def bytes_of(text: str) -> bytes:
    """Return a text in UTF-8; a lone surrogate, which a log may hold, as its escape: in the pages and in their data."""
    return text.encode(errors="backslashreplace")

"""Values as JSON that a person can read line by line; equal values give equal bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from io import BytesIO
from typing import Any

#: What pydantic is told of these values, without importing it: no other keys, and docstrings of fields describe them.
CLOSED: dict[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True}

_SURROGATE = re.compile("[\ud800-\udfff]")


def text_of(document: Any) -> str:
    """Return a dataclass as JSON, one item of each of its lists a line.

    A framework's message may hold a lone surrogate, which UTF-8 cannot encode: it becomes U+FFFD.
    """
    return "".join(pieces_of(document))


def bytes_of(document: Any) -> bytes:
    """Return the same text in UTF-8, in which a long document takes half the memory."""
    buffer = BytesIO()
    for piece in pieces_of(document):
        buffer.write(piece.encode())
    return buffer.getvalue()


def pieces_of(document: Any) -> Iterator[str]:
    """Yield a document's text piece by piece, each of one line at most."""
    for number, field in enumerate(fields(document)):
        yield f"{',' + chr(10) if number else '{'}{_json(field.name)}:"
        for piece in _listed(getattr(document, field.name)):
            yield _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", piece)
    yield "}\n"


def _listed(value: object) -> Iterator[str]:
    """Yield the pieces of a part of the document: lists with one item a line, anything else on one."""
    if not isinstance(value, tuple):
        yield _json(value)
        return
    yield "["
    for number, item in enumerate(value):
        yield f"{',' if number else ''}\n{_json(item)}"
    yield "\n]" if value else "]"


def _json(value: object) -> str:
    return _ENCODER.encode(value)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"the document holds {value!r}, which JSON cannot")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)

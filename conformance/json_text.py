"""Values as JSON that a person can read line by line and that is the same bytes whenever it is the same value."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from typing import Any

#: What pydantic is told of these values, without importing it: no other keys, and docstrings of fields describe them.
CLOSED: dict[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True}

_SURROGATE = re.compile("[\ud800-\udfff]")


def text_of(document: Any) -> str:
    """Return a dataclass as JSON, one item of each of its lists a line.

    A lone surrogate, which a framework's message may hold, is no Unicode and becomes U+FFFD.
    """
    parts = [f"{_json(each.name)}:{_listed(getattr(document, each.name))}" for each in fields(document)]
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", "{" + ",\n".join(parts) + "}\n")


def _listed(value: object) -> str:
    """Return a part of the document: lists with one item a line, anything else on one."""
    if not isinstance(value, tuple):
        return _json(value)
    return "[" + ",".join(f"\n{_json(each)}" for each in value) + "\n]" if value else "[]"


def _json(value: object) -> str:
    return _ENCODER.encode(value)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    raise TypeError(f"the document holds {value!r}, which JSON cannot")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)

"""What JSON cannot hold, as it is written: numbers that are not finite, and surrogates that stand alone.

The numbers are the texts "NaN", "Infinity" and "-Infinity"; a surrogate is the text of its escape.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, overload

#: What a framework's message may hold, and no Unicode text.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")

Number: TypeAlias = float | Literal["NaN", "Infinity", "-Infinity"]


@overload
def number(value: float) -> Number: ...
@overload
def number(value: float | None) -> Number | None: ...
def number(value: float | None) -> Number | None:
    """Return a float as JSON has it: one that is not finite as text."""
    if value is None:
        return None
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@overload
def number_from(value: Number) -> float: ...
@overload
def number_from(value: Number | None) -> float | None: ...
def number_from(value: Number | None) -> float | None:
    """Return the inverse of `number`."""
    return None if value is None else float(value)


def finite(value: Any) -> Any:
    """Return a value of JSON's kinds with text for the numbers JSON does not have, wherever they stand."""
    match value:
        case float():
            return number(value)
        case Mapping():
            return {key: finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value


def not_finite(value: Any) -> Any:
    """Return the inverse of `finite`."""
    match value:
        case "NaN" | "Infinity" | "-Infinity":
            return float(value)
        case dict():
            return {key: not_finite(item) for key, item in value.items()}
        case list() | tuple():
            return [not_finite(item) for item in value]
        case _:
            return value


def unicode(text: str) -> str:
    """Return the text with the escape of every lone surrogate in place of it."""
    return text.encode(errors="backslashreplace").decode()

"""Arrays as they are shown: the first values, with the digits that their dtype has."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.answers.explanation import Values
from conformance.runfile.numbers import number

Array = np.ndarray[Any, np.dtype[Any]]

#: Of a quantity with more values, so many are shown.
FIRST = 24
#: The decimal digits that tell two neighbouring numbers of a dtype apart.
_DIGITS = {"float64": 17, "float32": 9, "float16": 5, "bfloat16": 4}


def values_of(quantity: str, array: Array, dtype: str) -> Values:
    """Return the quantity with its first values."""
    first = [float(one) for one in array.reshape(-1)[:FIRST]]
    return Values(
        quantity=quantity,
        shape=array.shape,
        first=tuple(number(one) for one in first),
        texts=tuple(text_of(one, dtype) for one in first),
    )


def text_of(value: float, dtype: str) -> str:
    """Return a number with the digits of its dtype."""
    return f"{value:.{_DIGITS[dtype]}g}"

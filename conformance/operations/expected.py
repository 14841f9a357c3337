"""What one quantity of a step should be, within which bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """What one quantity should be, and how far from that rounding may take it."""

    #: Extended precision; shape (m, C) where it has the input's, else flat.
    value: Array
    #: Bound that every healthy algorithm keeps (class W), before rounding to storage; same shape.
    bound: Array
    #: Size of the terms the quantity is made of, broadcastable: a bound above it decides nothing.
    magnitude: Array
    #: False where an intermediate could overflow or underflow in the working precision, so that a number that is not
    #: finite is no deviation; shape (C,), or whatever broadcasts to the value's.
    in_domain: Array
    #: What `value` lacks of the number, where its float type is too narrow to hold it; same shape.
    rest: Array | None = None
    #: Where a grade is asked for: the bounds of narrower classes, by grade.
    narrower: Mapping[str, Array] = field(default_factory=dict)

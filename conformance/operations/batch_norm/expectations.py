"""What a hypothesis expects of a quantity: another value than the right one, with the bound adapted to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from conformance.operations.expected import Expected
from conformance.operations.frozen import replace

Array = np.ndarray[Any, np.dtype[Any]]

MOVING = frozenset({"moving_mean", "moving_variance"})
#: Roundings that a changed term may add, in units of its own size, which the reference's bound does not hold; and
#: for each root of the number of values in its sum.
_EXTRA, _EXTRA_OF_SUM = 16, 4


def rounded_by(expected: Expected, term: Array) -> Expected:
    """Return the expectation with a bound that grows by some roundings of a term of it."""
    grown = np.nan_to_num(_EXTRA * 2.0**-24 * np.abs(term).astype(np.float64), nan=0.0, posinf=0.0)
    return replace(expected, bound=expected.bound + grown)


def changed_to(expected: Expected, value: Array, count: int = 0) -> Expected:
    """Return the expectation with another value; its bound grows by some roundings of the difference.

    Where the right value is not finite and so has no bound, the bound is some roundings of the largest value.
    """
    roundings = (_EXTRA + _EXTRA_OF_SUM * math.sqrt(count)) * 2.0**-24
    change = np.abs(value - expected.value).astype(np.float64)
    if np.isfinite(change).all():
        return Expected(
            value=value,
            bound=expected.bound + roundings * change,
            magnitude=expected.magnitude,
            in_domain=expected.in_domain,
            rest=expected.rest,
        )
    bound = expected.bound + roundings * np.where(np.isfinite(change), change, 0.0)
    magnitude = expected.magnitude
    unbounded = np.isfinite(value) & ~np.isfinite(expected.value)
    if unbounded.any():
        largest = float(np.abs(value[np.isfinite(value)]).max())
        bound = np.where(unbounded, roundings * largest, bound)
        magnitude = np.where(unbounded, np.inf, magnitude)
    return replace(expected, value=value, bound=bound, magnitude=magnitude, narrower={})

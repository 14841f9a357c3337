"""Rounding: what each precision can do, and the constants that error bounds are made of."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from conformance.wire import dtype_named

Array = np.ndarray[Any, np.dtype[Any]]
HALF = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """The arithmetic a bound is for: rounding to nearest with unit roundoff u."""

    name: str
    #: Unit roundoff, half the distance from 1 to the next number.
    unit: float
    #: Smallest normal number: what gradual underflow or flushing to zero can cost an operation.
    tiny: float
    #: Largest finite number.
    largest: float


@functools.cache
def precision(dtype: str) -> Precision:
    """Return the precision of a dtype by name."""
    info = ml_dtypes.finfo(dtype_named(dtype))
    return Precision(
        name=dtype,
        unit=float(info.eps) / 2,
        tiny=float(info.smallest_normal),
        largest=float(info.max),
    )


def working(dtype: str) -> Precision:
    """Return the precision in which a sound implementation computes: float32 for the half precisions."""
    return precision("float32" if dtype in HALF else dtype)


def theta(count: float, unit: float) -> float:
    """Return n·u / (1 - n·u), the bound on the relative error of n roundings; infinite where n·u >= 1.

    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., Lemma 3.1.
    """
    product = count * unit
    return product / (1 - product) if product < 1 else math.inf


def storage_rounding(bound: Array, value: Array, stored: str, worked: Precision) -> Array:
    """Return `bound` widened by one rounding of the result to the dtype it is stored in.

    Nothing is added where the result is stored in the precision it was worked in: the bound holds that
    rounding already. The absolute term is half the spacing of subnormal numbers.
    """
    target = precision(stored)
    if target.unit <= worked.unit:
        return bound
    return bound + target.unit * (np.abs(value) + bound) + target.unit * target.tiny

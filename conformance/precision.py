"""Rounding: the properties of each float type, and the functions that error bounds are made from."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
HALF = ("float16", "bfloat16")
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


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


def dtype_named(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype of that name, bfloat16 included."""
    return _BFLOAT16 if name == "bfloat16" else np.dtype(name)


@functools.cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype; cached because NumPy builds the name anew at every access."""
    return dtype.name


def rounded(values: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """Return `values` rounded to `dtype`; to bfloat16 by way of float32, on every version of ml_dtypes."""
    with np.errstate(over="ignore"):
        if dtype == "bfloat16":
            return values.astype(np.float32).astype(dtype_named(dtype))
        return values.astype(dtype_named(dtype))


def in_dtype(value: float, dtype: str) -> float:
    """Return a number rounded to `dtype`."""
    return float(rounded(np.array([value]), dtype)[0])


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Extended:
    """The widest float type of this platform, in which references compute what judges float64."""

    #: Bits of the significand, the leading one among them: 64 on x86, 113 or 106 elsewhere, 53 where it is float64.
    bits: int

    @property
    def sufficient(self) -> bool:
        """Whether it can judge float64: its roundings are at most 2^-11 of float64's."""
        return self.bits >= 64

    @property
    def kind(self) -> str:
        """In which arithmetic the reference judges float64."""
        return "extended precision" if self.sufficient else "exact rationals, up to 4,096 elements a step"

    def __str__(self) -> str:
        suffix = "" if self.sufficient else ", too few to judge float64"
        return f"np.longdouble has {self.bits} bits of mantissa{suffix}"


def extended() -> Extended:
    """Return what this platform's `np.longdouble` is."""
    return Extended(bits=int(np.finfo(np.longdouble).nmant) + 1)


def wide() -> type[np.floating[Any]]:
    """Return the float type in which references judge float64; where it is only float64 itself, fractions do instead."""
    return np.longdouble if extended().sufficient else np.float64


def theta(count: float, unit: float) -> float:
    """Return n·u / (1 - n·u), the bound on the relative error of n roundings; infinite where n·u >= 1.

    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., Lemma 3.1.
    """
    product = count * unit
    return product / (1 - product) if product < 1 else math.inf


def storage_rounding(bound: Array, value: Array, stored: str, worked: Precision) -> Array:
    """Return `bound` widened by one rounding of the result to the dtype it is stored in.

    Nothing is added where the result is stored in the precision it was computed in, whose bound holds that rounding
    already, nor where the bound is 0, which demands the very bits. The absolute term is half the spacing of subnormal
    numbers.
    """
    target = precision(stored)
    if target.unit <= worked.unit:
        return bound
    widened = bound + target.unit * (np.abs(value) + bound) + target.unit * target.tiny
    return np.where(bound == 0, 0.0, widened)

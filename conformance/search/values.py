"""Drawn numbers: a byte for each value of an array, which Hypothesis draws at once and shrinks one by one.

A byte is a place in a fixed table that begins with 0, 1 and -1, so that what is shrunk is simple. The whole array is
scaled by a power of two and shifted, which is drawn once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from conformance.search.picks import Bytes, Picks

Values = np.ndarray[Any, np.dtype[np.float64]]

#: Small numbers that are exact in every dtype.
_PLAIN = [
    0,
    1,
    -1,
    2,
    -2,
    3,
    -3,
    0.5,
    -0.5,
    4,
    -4,
    1.5,
    -1.5,
    5,
    -5,
    6,
    -6,
    7,
    -7,
    8,
    -8,
    0.25,
    -0.25,
    12,
    -12,
    16,
    -16,
]
#: Numbers with full significands between -3.2 and 3.2, by the multiplicative congruence of Knuth 1998, section 6.4.
_SPREAD = [((place * 2654435761) % 2**32 / 2**31 - 1) * 3.2 for place in range(1, 257 - len(_PLAIN))]
TABLE: Values = np.array([*_PLAIN, *_SPREAD])

#: Exponent of two and shift: ordinary, then a mean beside which the deviations are small, then very large and small.
_LEVELS = (
    *[(0, 0.0)] * 8,
    (0, 3.0),
    (0, 101.7),
    (0, -1000.3),
    (0, 4099.0),
    (-6, 300.0),
    (10, 0.0),
    (-10, 0.0),
    (-24, 0.0),
    (30, 0.0),
    (-60, 0.0),
    (62, 0.0),
    (66, 0.0),
)
_ORDINARY_LEVELS = ((0, 0.0), (0, 0.0), (0, 0.0), (0, 0.5), (6, 0.0), (-12, 0.0), (30, 0.0))
_FORMS = (*["any"] * 14, "constant", "special")
_SPECIAL = (math.nan, math.inf, -math.inf)


def inputs(picks: Picks, shape: tuple[int, ...]) -> Values:
    """Draw the input of a step: any values at any level, seldom all alike or with one that is not finite."""
    count = math.prod(shape)
    form, (exponent, shift) = picks.one(_FORMS), picks.one(_LEVELS)
    special, place = picks.one(_SPECIAL), picks.one(range(max(1, count)))
    values = TABLE[picks.bytes(min(1, count))].repeat(count) if form == "constant" else TABLE[picks.bytes(count)]
    values = np.ldexp(values, exponent) + shift
    if form == "special" and count:
        values[place] = special
    return values.reshape(shape)


def plain(picks: Picks, shape: tuple[int, ...]) -> Values:
    """Draw ordinary numbers alone."""
    return TABLE[picks.bytes(math.prod(shape))].reshape(shape)


def upstreams(picks: Picks, shape: tuple[int, ...]) -> Values:
    """Draw an upstream gradient, or whatever else has the shape of the input and is finite."""
    exponent, shift = picks.one(_ORDINARY_LEVELS)
    return (np.ldexp(TABLE[picks.bytes(math.prod(shape))], exponent) + shift).reshape(shape)


def parameters(drawn: Bytes, shape: tuple[int, ...], *, positive: bool) -> Values:
    """Return a part of the initial state from its bytes; a variance or a deviation is not negative."""
    values = TABLE[drawn].reshape(shape)
    return np.abs(values) if positive else values


def whole_numbers(picks: Picks, shape: tuple[int, ...], dtype: str) -> Values:
    """Draw whole numbers that every integer type holds, or truth values."""
    values = picks.bytes(math.prod(shape)).astype(np.float64)
    return (values % (2 if dtype == "bool" else 128)).reshape(shape)


def masks(picks: Picks, shape: tuple[int, ...]) -> Values:
    """Draw which positions count; the simplest is all of them."""
    return (picks.bytes(math.prod(shape)) < 160).astype(np.float64).reshape(shape)

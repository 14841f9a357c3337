"""How well observed numbers fit expected ones: a score in units of the bound, and the worst element."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.operation import Expected
from conformance.precision import Precision, storage_rounding

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The element furthest from what it must be, in units of its bound."""

    #: Position in the flattened quantity.
    position: int
    expected: float
    observed: float
    allowed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The comparison of one quantity with one expectation."""

    #: Largest error over bound; 1 is the limit.
    score: float
    #: The same with the bounds of narrower classes, by grade, where they were asked for.
    narrower: Mapping[str, float]
    exact: bool
    #: Whether every bound says something: finite, and below the terms the quantity is made of.
    decidable: bool
    #: Whether every element beyond its bound is of a feature outside the domain.
    outside_domain: bool
    worst: Worst | None
    reason: str = ""

    @property
    def within(self) -> bool:
        """Whether every element is within its bound."""
        return self.score <= 1


def fit(observed: Array, expected: Expected, worked: Precision) -> Fit:
    """Return how `observed`, of the shape of `expected.value`, fits it.

    NaN and infinity are one class: where one is expected any will do, and nowhere else.
    """
    value, stored = expected.value, _name(observed.dtype)
    seen = observed.astype(value.dtype)
    with np.errstate(all="ignore"):
        error = np.subtract(seen, value)
        if expected.rest is not None:
            np.subtract(error, expected.rest, out=error)
        np.abs(error, out=error)
        error = error.astype(np.float64, copy=False)
        bound = storage_rounding(expected.bound, value, stored, worked)
        scores = error / bound
        said = bound < expected.magnitude
        position, score = _largest(scores)
        decidable, reason = bool(np.logical_and.reduce(said, axis=None)), ""
        # The largest is a NaN if any is: one look at it spares the rest.
        if not decidable or not math.isfinite(score):
            error, scores, said, reason = _with_exceptions(value, seen, error, bound, said)
            decidable = bool(said.all())
            position, score = _largest(scores)
        narrower = {
            grade: float(_ratio(error, storage_rounding(each, value, stored, worked)).max(initial=0.0))
            for grade, each in expected.narrower.items()
        }
    return Fit(
        score=score,
        narrower=dict.fromkeys(narrower, np.inf) if reason else narrower,
        exact=score == 0 and not reason and not error.any(),
        decidable=decidable,
        outside_domain=score > 1 and not ((scores > 1) & expected.in_domain).any(),
        worst=_worst(position, value, seen, bound),
        reason=reason,
    )


def _with_exceptions(
    value: Array, seen: Array, error: Array, bound: Array, said: Array
) -> tuple[Array, Array, Array, str]:
    """Return errors, scores, what the bounds say and what is wrong, where not everything is finite or said."""
    scores, said, reason = _ratio(error, bound), said | (error == 0), ""
    if not np.isfinite(error.sum()):
        finite = np.isfinite(value)
        pattern = np.isfinite(seen) == finite
        scores = np.where(pattern, np.where(finite, scores, 0.0), np.inf)
        said = said | ~finite | ~pattern
        error = np.where(finite, error, 0.0)
        reason = "" if pattern.all() else _pattern_reason(finite, np.isfinite(seen))
    # An element whose bound says nothing can neither pass nor fail.
    return error, scores if said.all() else np.where(said, scores, 0.0), said, reason


def _largest(scores: Array) -> tuple[int, float]:
    if not scores.size:
        return 0, 0.0
    position = int(scores.argmax())
    return position, float(scores.flat[position])


@functools.cache
def _name(dtype: np.dtype[Any]) -> str:
    return dtype.name


def _ratio(error: Array, bound: Array) -> Array:
    """Return error over bound; nothing over nothing is nothing, and a bound that is no number admits none."""
    ratio = error / bound
    if np.minimum.reduce(bound, axis=None, initial=np.inf) > 0:
        return np.asarray(ratio)
    return np.where(error == 0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))


def _worst(position: int, value: Array, seen: Array, bound: Array) -> Worst | None:
    if not value.size:
        return None
    return Worst(
        position=position,
        expected=float(value.flat[position]),
        observed=float(seen.flat[position]),
        allowed=float(bound.flat[position]),
    )


def _pattern_reason(expected: Array, observed: Array) -> str:
    lost, kept = int((expected & ~observed).sum()), int((~expected & observed).sum())
    parts = [
        f"{lost} values are NaN or infinite that must be finite" if lost else "",
        f"{kept} values are finite that must be NaN or infinite" if kept else "",
    ]
    return " and ".join(part for part in parts if part)

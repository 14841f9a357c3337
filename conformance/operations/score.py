"""How well observed numbers fit the expected ones: the largest error in units of the bound, and where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.cause import Cause, because
from conformance.operations.expected import Expected
from conformance.precision import Precision, dtype_name, precision, storage_rounding

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The element with the largest error in units of its bound."""

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
    #: Whether every bound can tell right from wrong: it is smaller than the terms that the quantity adds up.
    decidable: bool
    #: Whether every element beyond its bound is excused: NaN or infinite where an intermediate, or the result itself,
    #: could leave the range of its dtype. Where others are beyond theirs as well, only these are scored and counted.
    outside_domain: bool
    worst: Worst | None
    #: How many values are NaN or infinite that should be finite (lost), and the reverse (found).
    lost: int = 0
    found: int = 0

    @property
    def within(self) -> bool:
        """Whether every element is within its bound."""
        return self.score <= 1

    @property
    def pattern(self) -> Cause | None:
        """The cause where values are finite that should not be, or the reverse; None where there are none."""
        match bool(self.lost), bool(self.found):
            case True, True:
                return because("not-finite-and-finite", lost=self.lost, found=self.found)
            case True, False:
                return because("not-finite", count=self.lost)
            case False, True:
                return because("finite", count=self.found)
            case _:
                return None

    def at(self, position: int) -> Fit:
        """Return the fit with its worst element at another position."""
        return self if self.worst is None else replace(self, worst=replace(self.worst, position=position))


def fit(observed: Array, expected: Expected, worked: Precision) -> Fit:
    """Return how `observed`, of the shape of `expected.value`, fits it.

    NaN and the infinities count as the same: where one of them is expected any of them is right, and nowhere else.
    """
    value, stored = expected.value, dtype_name(observed.dtype)
    numbers = observed.astype(value.dtype)
    with np.errstate(all="ignore"):
        error = np.subtract(numbers, value)
        if expected.rest is not None:
            np.subtract(error, expected.rest, out=error)
        np.abs(error, out=error)
        error = error.astype(np.float64, copy=False)
        bound = storage_rounding(expected.bound, value, stored, worked)
        if not error.any():
            return _equal(value, numbers, bound, expected.narrower)
        scores = error / bound
        telling = bound < expected.magnitude
        position, score = _largest(scores)
        decidable, lost, found = bool(np.logical_and.reduce(telling, axis=None)), 0, 0
        # The largest is a NaN if any is: one look at it spares the rest.
        if not decidable or not math.isfinite(score):
            error, scores, telling, lost, found = _with_exceptions(value, numbers, error, bound, telling)
            decidable = bool(telling.all())
            position, score = _largest(scores)
        outside_domain = False
        # A number that is finite is never excused, and most that are wrong are finite.
        if score > 1 and not np.logical_and.reduce(np.isfinite(numbers), axis=None):
            beyond = scores > 1
            aside = beyond & _loud(expected, numbers, bound, stored)
            outside_domain = np.array_equal(aside, beyond)
            if aside.any() and not outside_domain:
                # What is excused of one feature must not hide a fault of another.
                scores, error = np.where(aside, 0.0, scores), np.where(aside, 0.0, error)
                lost -= int(aside.sum())
                position, score = _largest(scores)
        narrower = {
            grade: float(_ratio(error, storage_rounding(narrow, value, stored, worked)).max(initial=0.0))
            for grade, narrow in expected.narrower.items()
        }
    return Fit(
        score=score,
        narrower=dict.fromkeys(narrower, np.inf) if lost or found else narrower,
        exact=score == 0 and not lost and not found and not error.any(),
        decidable=decidable,
        outside_domain=outside_domain,
        worst=_worst(position, value, numbers, bound),
        lost=lost,
        found=found,
    )


def excused(observed: Array, expected: Expected, worked: Precision) -> Array:
    """Return where the observed number is NaN or infinite and that is no deviation, though the right one is finite."""
    stored = dtype_name(observed.dtype)
    numbers = observed.astype(expected.value.dtype)
    with np.errstate(all="ignore"):
        bound = storage_rounding(expected.bound, expected.value, stored, worked)
        return np.isfinite(expected.value) & _loud(expected, numbers, bound, stored)


def _loud(expected: Expected, numbers: Array, bound: Array, stored: str) -> Array:
    """Return where a number tells of an overflow by being NaN or infinite.

    An overflow is possible outside the domain, and where the right value is too large for the dtype that holds it.
    """
    finite = np.isfinite(numbers)
    if finite.all():
        return np.zeros(numbers.shape, dtype=np.bool_)
    inside = expected.in_domain & ~may_be_infinite(replace(expected, bound=bound), stored)
    return np.asarray(~(finite | inside))


def may_be_infinite(expected: Expected, stored: str) -> Array:
    """Return where the right value, finite, could be rounded to infinity by the dtype that holds it.

    A bound that is infinite says nothing of that.
    """
    finite = np.isfinite(expected.value) & np.isfinite(expected.bound)
    return np.asarray(finite & (np.abs(expected.value) + expected.bound >= precision(stored).largest))


def _equal(value: Array, numbers: Array, bound: Array, narrower: Mapping[str, Array]) -> Fit:
    """Return the fit of numbers that equal the expected ones exactly, whatever their bounds."""
    return Fit(
        score=0.0,
        narrower=dict.fromkeys(narrower, 0.0),
        exact=True,
        decidable=True,
        outside_domain=False,
        worst=_worst(0, value, numbers, bound),
    )


def joined(parts: Sequence[Fit]) -> Fit:
    """Return the fit of a whole quantity from the fits of its parts, whose worst positions are those in the whole.

    Of elements that are equally far off, the first counts as the worst, as it does within a part.
    """
    beyond = [part for part in parts if not part.within]
    outside_domain = bool(beyond) and all(part.outside_domain for part in beyond)
    scored = parts if outside_domain else [part for part in parts if not part.outside_domain]
    worst = min(scored, key=lambda part: (-part.score, -1 if part.worst is None else part.worst.position))
    return Fit(
        score=worst.score,
        narrower={grade: max(part.narrower[grade] for part in scored) for grade in worst.narrower},
        exact=all(part.exact for part in parts),
        decidable=all(part.decidable for part in parts),
        outside_domain=outside_domain,
        worst=worst.worst,
        lost=sum(part.lost for part in scored),
        found=sum(part.found for part in scored),
    )


def _with_exceptions(
    value: Array, numbers: Array, error: Array, bound: Array, telling: Array
) -> tuple[Array, Array, Array, int, int]:
    """Return errors, scores, whether each bound says something, and how many values are not finite or finite that must not be so."""
    scores, telling, lost, found = _ratio(error, bound), telling | (error == 0), 0, 0
    if not np.isfinite(error.sum()):
        finite = np.isfinite(value)
        got = np.isfinite(numbers)
        pattern = got == finite
        scores = np.where(pattern, np.where(finite, scores, 0.0), np.inf)
        telling = telling | ~finite | ~pattern
        error = np.where(finite, error, 0.0)
        lost, found = int((finite & ~got).sum()), int((~finite & got).sum())
    # An element whose bound cannot tell right from wrong neither passes nor fails.
    return error, scores if telling.all() else np.where(telling, scores, 0.0), telling, lost, found


def _largest(scores: Array) -> tuple[int, float]:
    """Return the first position of the largest score, in row-major order, and that score: NaN where any is."""
    if not scores.size:
        return 0, 0.0
    if scores.ndim == 2 and scores.flags.f_contiguous:
        # In memory's order, which is not that of the rows: the first of each column, then the first of those.
        rows, columns = scores.argmax(axis=0), np.arange(scores.shape[1])
        tops = scores[rows, columns]
        top = tops[tops.argmax()]
        first = (rows * len(columns) + columns)[(tops == top) | np.isnan(tops)]
        return int(first.min()), float(top)
    position = int(scores.argmax())
    return position, float(scores.flat[position])


def _ratio(error: Array, bound: Array) -> Array:
    """Return error over bound: 0 where the error is 0, whatever the bound, and infinity where the bound is NaN."""
    ratio = error / bound
    if np.minimum.reduce(bound, axis=None, initial=np.inf) > 0:
        return np.asarray(ratio)
    return np.where(error == 0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))


def _worst(position: int, value: Array, numbers: Array, bound: Array) -> Worst | None:
    if not value.size:
        return None
    return Worst(
        position=position,
        expected=float(value.flat[position]),
        observed=float(numbers.flat[position]),
        allowed=float(bound.flat[position]),
    )

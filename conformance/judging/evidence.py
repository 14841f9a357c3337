"""What one step's numbers say for and against a hypothesis: its score on each quantity, computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.operations.element import Element, farthest
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis, both
from conformance.operations.score import Fit, excused, fit
from conformance.precision import Precision, rounded
from conformance.reference.side_by_side import Column

Array = np.ndarray[Any, np.dtype[Any]]

VARIANCES = frozenset({"moving_variance", "batch_variance"})
MOVING = frozenset({"moving_mean", "moving_variance"})
#: So many hypotheses are worth computing side by side.
_SEVERAL = 3
#: A bound of more than so many times what a hypothesis changes is as wide as to admit the right numbers.
_WIDE = 4
#: Of a sum of terms that are each rounded to a narrower dtype.
_FEW_ROUNDINGS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepEvidence:
    """What one step's numbers say for and against a hypothesis."""

    #: The numbers that the implementation gave, by quantity, each in the shape of its reference.
    observed: Mapping[str, Array]
    #: The quantities whose numbers deviate and are to be explained.
    deviating: frozenset[str]
    #: The quantities that would be right if the implementation computed in a narrower dtype than it should.
    narrowed: frozenset[str]
    #: The quantities that were judged right.
    agreeing: frozenset[str]
    worked: Precision
    #: The narrower arithmetic that may have been used; None where there is none to consider.
    narrow: Precision | None = None
    #: The hypothesis that changes nothing, from which the others are made.
    base: Hypothesis
    hypotheses: tuple[Hypothesis, ...]
    #: Returns what the step would give if a hypothesis were true, in an arithmetic: at least the named quantities.
    under: Callable[[Hypothesis, Precision, frozenset[str]], Mapping[str, Expected]]
    #: Returns what a quantity would be in one feature under those of the hypotheses that can be computed side by side.
    #: None for one that gives nothing of it.
    columns: Callable[[tuple[Hypothesis, ...], str, int, Precision], Mapping[Hypothesis, Column | None]] = (
        lambda _hypotheses, _name, _feature, _worked: {}
    )
    #: How much it takes to compute a quantity, by name, as an order.
    costs: Mapping[str, int] = field(default_factory=dict)
    #: What the step should have given.
    expected: Mapping[str, Expected]
    #: Returns, for each quantity, the terms that its formula adds up.
    terms: Callable[[], Mapping[str, Mapping[str, Array]]]
    #: The hypotheses that explained an earlier step of this kind in the cell, by the quantities that they explained.
    #: Shared by the cell's steps of one kind: each explained step adds its own.
    fitted: dict[frozenset[str], tuple[Hypothesis, ...]] = field(default_factory=dict)
    _expected: dict[tuple[Hypothesis, str], Mapping[str, Expected]] = field(default_factory=dict)
    _scores: dict[tuple[Hypothesis, str, str], float] = field(default_factory=dict)
    _elements: dict[str, Element | None] = field(default_factory=dict)
    _excused: dict[str, Array | None] = field(default_factory=dict)
    _contradictions: dict[Hypothesis, int] = field(default_factory=dict)

    def score(self, hypothesis: Hypothesis, names: Iterable[str], worked: Precision | None = None) -> float:
        """Return the largest score of the named quantities if the hypothesis were true.

        It is infinite where it would not be shown to be true: it is not about one of them, or the bound of one is so
        wide that it admits anything.
        """
        arithmetic = self.worked if worked is None else worked
        return max((self._score(hypothesis, name, arithmetic) for name in names), default=math.inf)

    def explaining(
        self, hypotheses: Iterable[Hypothesis], names: Collection[str], worked: Precision | None = None
    ) -> dict[Hypothesis, float]:
        """Return the hypotheses of which each explains all of the named quantities, each with its largest score of them.

        One look at the element of each quantity that is farthest off spares the rest of most hypotheses; of several
        quantities the one that takes least to compute is looked at alone, before the others are computed.
        """
        arithmetic = self.worked if worked is None else worked
        first = min(names, key=lambda name: self.costs.get(name, 0), default="")
        left = self._not_off(tuple(hypotheses), first, arithmetic)
        scores = {
            hypothesis: self._explaining(hypothesis, names, "" if looked_at else first, arithmetic)
            for hypothesis, looked_at in left
        }
        return {hypothesis: score for hypothesis, score in scores.items() if score <= 1}

    def nearest(self, hypotheses: Iterable[Hypothesis], name: str, limit: float) -> dict[Hypothesis, float]:
        """Return the hypotheses under which the quantity's score would be below the limit, each with that score."""
        tried, element = tuple(hypotheses), self._element(name)
        # A number that is not finite may be excused under a hypothesis, and is then not scored.
        if element is not None and element.finite:
            tried = tuple(hypothesis for hypothesis, _ in self._not_off(tried, name, self.worked, limit))
        scores = {hypothesis: self.score(hypothesis, (name,)) for hypothesis in tried}
        return {hypothesis: score for hypothesis, score in scores.items() if score < limit}

    def _not_off(
        self, hypotheses: tuple[Hypothesis, ...], name: str, worked: Precision, limit: float = 1.0
    ) -> Iterator[tuple[Hypothesis, bool]]:
        """Yield the hypotheses that one element of the quantity, computed of many at once, does not rule out.

        And whether it was looked at.
        """
        about = (one for one in hypotheses if (one, worked.name) not in self._expected)
        asked = tuple(one for one in about if not one.only or name in one.only)
        element = self._element(name) if len(asked) >= _SEVERAL and name else None
        expected = {} if element is None else self.columns(asked, name, element.index[-1], worked)
        for hypothesis in hypotheses:
            if hypothesis not in expected or element is None:
                yield hypothesis, False
                continue
            column = expected[hypothesis]
            if column is not None and not element.is_off_in_column(column.expected, column.number, worked, limit):
                yield hypothesis, True

    def _explaining(self, hypothesis: Hypothesis, names: Collection[str], first: str, arithmetic: Precision) -> float:
        """Return the largest score of the named quantities if the hypothesis explains them all, else infinity."""
        # The bound of a one-pass variance may be infinite, which is judged apart.
        if hypothesis.variance != "one_pass":
            if len(names) > 1 and first and self._is_off(hypothesis, first, arithmetic, alone=True):
                return math.inf
            if any(self._is_off(hypothesis, name, arithmetic) for name in names):
                return math.inf
        score = self.score(hypothesis, names, arithmetic)
        return score if score <= 1 and not self._denied(hypothesis, names) else math.inf

    def joint(self, first: Hypothesis, second: Hypothesis) -> Hypothesis | None:
        """Return the hypothesis that both are true, None where they exclude each other."""
        return both(first, second, self.base)

    def _supposed(self, hypothesis: Hypothesis, worked: Precision) -> Mapping[str, Expected]:
        """Return what the hypothesis, if it were true, would give of the deviating quantities that it is about."""
        key = (hypothesis, worked.name)
        if key not in self._expected:
            self._expected[key] = self._of(hypothesis, worked, self.deviating)
        return self._expected[key]

    def _of(self, hypothesis: Hypothesis, worked: Precision, names: frozenset[str]) -> Mapping[str, Expected]:
        """Return what the hypothesis, if it were true, would give of those of the named quantities that it is about."""
        names = names & hypothesis.only if hypothesis.only else names
        if hypothesis.representable:
            names = frozenset(name for name in names if _representable(self.observed[name], hypothesis.representable))
        expected = self.under(hypothesis, worked, names) if names else {}
        return {name: expected[name] for name in names if name in expected}

    def _score(self, hypothesis: Hypothesis, name: str, worked: Precision) -> float:
        """Return the score of a quantity if the hypothesis were true, infinity where that would not be shown."""
        key = (hypothesis, name, worked.name)
        if key not in self._scores:
            expected = self._supposed(hypothesis, worked)
            quantity_fit = self._fit(hypothesis, name, expected[name], worked) if name in expected else None
            shown = (
                quantity_fit is not None
                and (quantity_fit.decidable or self._shows_one_pass(hypothesis, worked))
                and self._differs(hypothesis, name, expected[name], worked)
                and not self._is_as_narrow(hypothesis, name, expected[name], quantity_fit.score)
            )
            self._scores[key] = quantity_fit.score if quantity_fit is not None and shown else math.inf
        return self._scores[key]

    def _is_off(self, hypothesis: Hypothesis, name: str, worked: Precision, *, alone: bool = False) -> bool:
        """Return whether one element shows that the hypothesis does not explain the quantity.

        With `alone` nothing else is computed, unless it is known already.
        """
        key = (hypothesis, worked.name)
        if key in self._expected or not alone:
            expected = self._supposed(hypothesis, worked).get(name)
        else:
            expected = self._of(hypothesis, worked, frozenset({name})).get(name)
        if expected is None:
            return True
        element = self._element(name)
        return element is not None and element.is_off(expected, self.observed[name], worked)

    def _element(self, name: str) -> Element | None:
        if name not in self._elements:
            self._elements[name] = self._farthest(name)
        return self._elements[name]

    def _farthest(self, name: str) -> Element | None:
        """Return the element of a deviating quantity that is farthest off, None where there is none."""
        expected, observed = self.expected.get(name), self.observed[name]
        if expected is None or expected.value.shape != observed.shape:
            return None
        return farthest(observed, expected, self.worked)

    def _differs(self, hypothesis: Hypothesis, name: str, expected: Expected, worked: Precision) -> bool:
        """Return whether a hypothesis expects other numbers than are right, so that it may explain why they are not.

        One whose bound is wide beside what it changes admits the right numbers as well, and explains nothing, but for those
        that are about rounding.
        """
        if self._is_about_rounding(hypothesis) or worked.name != self.worked.name or name not in self.expected:
            return True
        right = self.expected[name].value
        if not (np.isfinite(right).all() and np.isfinite(expected.value).all()):
            return not np.array_equal(expected.value, right, equal_nan=True)
        return bool(np.any(_WIDE * np.abs(expected.value - right) > expected.bound))

    def _is_about_rounding(self, hypothesis: Hypothesis) -> bool:
        """Return whether what a hypothesis changes is as small as roundings by its nature."""
        rounds = bool(hypothesis.representable) or "rounded" in hypothesis.cause.id
        return rounds or hypothesis.variance == "one_pass" or hypothesis is self.base

    def _is_as_narrow(self, hypothesis: Hypothesis, name: str, expected: Expected, score: float) -> bool:
        """Return whether narrower arithmetic explains a quantity as well as the hypothesis does.

        So it is where the hypothesis changes no number by more than a few roundings to the narrower dtype, and leaves more than
        a quarter of what is wrong: then it fits because the bound is as wide as what it changes.
        """
        if self.narrow is None or name not in self.narrowed or self._is_about_rounding(hypothesis):
            return False
        right = self.expected[name].value
        change = np.abs(expected.value - right)
        if np.any(change > _FEW_ROUNDINGS * self.narrow.unit * np.abs(right)):
            return False
        return 4 * score > self.score(self.base, (name,))

    def _fit(self, hypothesis: Hypothesis, name: str, expected: Expected, worked: Precision) -> Fit | None:
        """Return how well one quantity fits; None where it has another shape."""
        observed = self.observed[name]
        if expected.value.shape != observed.shape:
            return None
        if hypothesis.variance == "one_pass":
            # Its variance may come out negative, and then the root is NaN.
            with np.errstate(all="ignore"):
                admitted = ~np.isfinite(observed.astype(np.float64)) & ~np.isfinite(expected.bound)
            if admitted.any():
                observed = np.where(admitted, expected.value.astype(observed.dtype), observed)
        aside = self._aside(name)
        if aside is not None:
            observed = np.where(aside, 0, observed).astype(observed.dtype)
            rest = None if expected.rest is None else np.where(aside, 0, expected.rest)
            expected = replace(expected, value=np.where(aside, 0, expected.value), rest=rest)
        return fit(observed, expected, worked)

    def _aside(self, name: str) -> Array | None:
        """Return where an observed quantity is NaN or infinite with an excuse; None where it is so nowhere.

        Of one feature that left the range nothing follows for the others, whose numbers a hypothesis is to explain.
        """
        if name not in self._excused:
            expected, observed = self.expected.get(name), self.observed[name]
            if expected is None or expected.value.shape != observed.shape:
                self._excused[name] = None
            else:
                aside = excused(observed, expected, self.worked)
                self._excused[name] = aside if aside.any() else None
        return self._excused[name]

    def _shows_one_pass(self, hypothesis: Hypothesis, worked: Precision) -> bool:
        """Return whether a one-pass variance, E[x²] - E[x]², may explain what its bound alone would not tell from any number.

        It loses so many digits that the bounds of what follows from it admit anything. So a variance must deviate, and as
        it would; or the step gave no variance to look at. Narrower arithmetic, where it explains everything, is the likelier
        cause; where it is a second cause, the variance's own bound must tell.
        """
        if hypothesis.variance != "one_pass":
            return False
        told = worked.name == self.worked.name
        if told and self.narrowed and all(name in self.narrowed or self.admits_narrow(name) for name in self.deviating):
            return False
        variances = VARIANCES & self.deviating
        if not variances:
            return not VARIANCES & set(self.observed)
        expected = self._supposed(hypothesis, worked)
        fits = {name: self._fit(hypothesis, name, expected[name], worked) for name in variances & expected.keys()}
        fitting = {name for name, one in fits.items() if one is not None and one.within and (told or one.decidable)}
        return bool(fitting) and variances - self.narrowed <= fitting

    @property
    def spoiled(self) -> frozenset[str]:
        """The deviating quantities with values that are NaN or infinite where they must be finite, or the reverse."""
        return frozenset(
            name
            for name in self.deviating & self.expected.keys()
            if self.expected[name].value.shape == self.observed[name].shape and self._is_spoiled(name)
        )

    def _is_spoiled(self, name: str) -> bool:
        differing = np.isfinite(self.observed[name].astype(np.float64)) != np.isfinite(self.expected[name].value)
        aside = self._aside(name)
        return bool(np.any(differing if aside is None else differing & ~aside))

    def admits_narrow(self, name: str) -> bool:
        """Return whether narrower arithmetic admits the quantity, be it for a bound that tells nothing."""
        if self.narrow is None or not self._is_narrow(name):
            return False
        rounding = [hypothesis for hypothesis in self.hypotheses if hypothesis.cause.id == "input-rounded"]
        for hypothesis in (self.base, *rounding):
            expected = self.under(hypothesis, self.narrow, frozenset({name})).get(name)
            quantity_fit = None if expected is None else self._fit(hypothesis, name, expected, self.narrow)
            if quantity_fit is not None and quantity_fit.within:
                return True
        return False

    def _is_narrow(self, name: str) -> bool:
        """Return whether the narrower dtype holds every number of the quantity exactly."""
        return self.narrow is not None and _representable(self.observed[name], self.narrow.name)

    def _denied(self, hypothesis: Hypothesis, names: Collection[str]) -> bool:
        """Return whether moving values that are right speak against a hypothesis about others: a decay shows in them first."""
        if hypothesis.configuration.decay == self.base.configuration.decay or not MOVING.isdisjoint(names):
            return False
        moving = MOVING & self.agreeing
        expected = self.under(hypothesis, self.worked, moving) if moving else {}
        return any(
            not fit(self.observed[name], expected[name], self.worked).within
            for name in moving & expected.keys()
            if expected[name].value.shape == self.observed[name].shape
        )

    def contradictions(self, hypothesis: Hypothesis) -> int:
        """Return how many quantities are right although they would be wrong if the hypothesis were true."""
        if hypothesis not in self._contradictions:
            agreeing = self.agreeing & hypothesis.only if hypothesis.only else self.agreeing
            expected = self.under(hypothesis, self.worked, agreeing) if agreeing else {}
            self._contradictions[hypothesis] = sum(
                expected[name].value.shape != self.observed[name].shape
                or not fit(self.observed[name], expected[name], self.worked).within
                for name in agreeing
                if name in expected
            )
        return self._contradictions[hypothesis]


def _representable(observed: Array, dtype: str) -> bool:
    """Return whether every observed number is one that `dtype` can hold exactly."""
    values = observed.astype(np.float64)
    return bool(np.array_equal(rounded(values, dtype).astype(np.float64), values, equal_nan=True))

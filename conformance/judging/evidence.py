"""What one step's numbers say for and against a hypothesis: its score on each quantity, computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.operations.operation import Expected, Hypothesis, both
from conformance.operations.score import Fit, fit
from conformance.precision import Precision, rounded

Array = np.ndarray[Any, np.dtype[Any]]

VARIANCES = frozenset({"moving_variance", "batch_variance"})


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
    #: What the step should have given.
    expected: Mapping[str, Expected]
    #: Returns, for each quantity, the terms that its formula adds up.
    terms: Callable[[], Mapping[str, Mapping[str, Array]]]
    #: The hypotheses that explained an earlier step of this kind in the cell, by the quantities that they explained.
    #: Shared by the cell's steps of one kind: each explained step adds its own.
    fitted: dict[frozenset[str], tuple[Hypothesis, ...]] = field(default_factory=dict)
    _scores: dict[tuple[Hypothesis, str], Mapping[str, float]] = field(default_factory=dict)
    _joint: dict[tuple[Hypothesis, Hypothesis], Hypothesis | None] = field(default_factory=dict)

    def score(self, hypothesis: Hypothesis, names: Iterable[str], worked: Precision | None = None) -> float:
        """Return the largest score of the named quantities if the hypothesis were true.

        It is infinite where it would not be shown to be true: it is not about one of them, or the bound of one is so
        wide that it admits anything.
        """
        scores = self._scored(hypothesis, self.worked if worked is None else worked)
        return max((scores.get(name, math.inf) for name in names), default=math.inf)

    def joint(self, first: Hypothesis, second: Hypothesis) -> Hypothesis | None:
        """Return the hypothesis that both are true, None where they exclude each other."""
        pair = (first, second)
        if pair not in self._joint:
            self._joint[pair] = both(first, second, self.base)
        return self._joint[pair]

    def _scored(self, hypothesis: Hypothesis, worked: Precision) -> Mapping[str, float]:
        """Return the score of each deviating quantity that the hypothesis is about."""
        key = (hypothesis, worked.name)
        if key not in self._scores:
            names = self.deviating & hypothesis.only if hypothesis.only else self.deviating
            if hypothesis.representable:
                names = frozenset(
                    name for name in names if _representable(self.observed[name], hypothesis.representable)
                )
            expected = self.under(hypothesis, worked, names) if names else {}
            fits = {name: self._fit(hypothesis, name, expected[name], worked) for name in names if name in expected}
            shown = hypothesis.variance == "one_pass" and self._shows_one_pass(fits, worked)
            self._scores[key] = {
                name: quantity_fit.score if quantity_fit.decidable or shown else math.inf
                for name, quantity_fit in fits.items()
                if quantity_fit is not None and self._differs(hypothesis, name, expected[name], worked)
            }
        return self._scores[key]

    def _differs(self, hypothesis: Hypothesis, name: str, expected: Expected, worked: Precision) -> bool:
        """Return whether a hypothesis expects other numbers than are right, so that it may explain why they are not.

        One that only has a wider bound about the right numbers explains nothing, but for those that are about rounding.
        """
        about_rounding = hypothesis.variance == "one_pass" or hypothesis.representable or hypothesis is self.base
        if about_rounding or worked.name != self.worked.name or name not in self.expected:
            return True
        return not np.array_equal(expected.value, self.expected[name].value, equal_nan=True)

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
        return fit(observed, expected, worked)

    def _shows_one_pass(self, fits: Mapping[str, Fit | None], worked: Precision) -> bool:
        """Return whether a one-pass variance, E[x²] - E[x]², may explain what its bound alone would not tell from any number.

        It loses so many digits that the bounds of what follows from it admit anything. So a variance must deviate, and as
        it would; or the step gave no variance to look at. Narrower arithmetic, where it explains everything, is the likelier
        cause; where it is a second cause, the variance's own bound must tell.
        """
        variances = VARIANCES & self.deviating
        if not variances:
            return not VARIANCES & set(self.observed)
        told = worked.name == self.worked.name
        if told and self.narrowed and all(name in self.narrowed or self.admits_narrow(name) for name in self.deviating):
            return False
        fitting = {
            name for name in variances if (one := fits.get(name)) is not None and one.within and (told or one.decidable)
        }
        return bool(fitting) and variances - self.narrowed <= fitting

    @property
    def spoiled(self) -> frozenset[str]:
        """The deviating quantities with values that are NaN or infinite where they must be finite, or the reverse."""
        return frozenset(
            name
            for name in self.deviating & self.expected.keys()
            if self.expected[name].value.shape == self.observed[name].shape
            and (np.isfinite(self.observed[name].astype(np.float64)) != np.isfinite(self.expected[name].value)).any()
        )

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

    def contradictions(self, hypothesis: Hypothesis) -> int:
        """Return how many quantities are right although they would be wrong if the hypothesis were true."""
        agreeing = self.agreeing & hypothesis.only if hypothesis.only else self.agreeing
        expected = self.under(hypothesis, self.worked, agreeing) if agreeing else {}
        return sum(
            expected[name].value.shape != self.observed[name].shape
            or not fit(self.observed[name], expected[name], self.worked).within
            for name in agreeing
            if name in expected
        )


def _representable(observed: Array, dtype: str) -> bool:
    """Return whether every observed number is one that `dtype` can hold exactly."""
    values = observed.astype(np.float64)
    return bool(np.array_equal(rounded(values, dtype).astype(np.float64), values, equal_nan=True))

"""Slower, faster, the same, or cannot tell: from seconds in pairs of fresh processes. Pure functions; needs SciPy.

One number a process, since calls within one share its addresses, its caches and its luck; pairs, since the machine
drifts. Of n pairs with r = ln(new/base),

    t = mean(r) / (sd(r)/√n),  Student with n - 1 degrees of freedom where nothing changed.

A rank test of five pairs cannot fall below 1/32, and so never reaches the level of 1 %; the t test can, and at ten
pairs still finds more than the signed-rank test where logarithms of seconds are near normal.
Screening admits what might have changed; what it admits is measured again, by fresh pairs alone, so that a chance of the
screening confirms nothing. The false discoveries among what is confirmed are controlled over all that was screened
(Benjamini and Hochberg 1995).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import mean, stdev
from typing import Any, ClassVar, Literal

from conformance.errors import UsageError
from conformance.files.json_text import CLOSED

#: An effect counts above this, and with its bound at this level on the right side of 0.
EFFECT, LEVEL = 0.02, 0.01
#: Screening admits an effect at this level; it lets nothing through that matters, and confirming costs time alone.
SCREENING = 0.05
#: Among all that is called slower or faster so large a part may be false.
DISCOVERIES = 0.05
#: The same: the interval of the ratio, at the level on each side, lies so near 1.
SAME = 0.05
#: Pairs that screen, and pairs that confirm.
PAIRS, CONFIRMING = 5, 10
#: A slowdown could have been seen that is found with this probability: by the screening and by the confirmation.
POWER = 0.975
#: A score grew that is at least so many times what it was, and at least so large a part of its bound.
GREW, NOTICED = 2.0, 0.1


class Pace(StrEnum):
    """How the new is to the base."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Seconds of one call in each of several pairs of fresh processes, and the scores of what it gave."""

    base: Sequence[float]
    new: Sequence[float]
    base_score: float | None = None
    new_score: float | None = None

    @property
    def ratios(self) -> tuple[float, ...]:
        """The logarithms of new over base."""
        return tuple(math.log(new / base) for base, new in zip(self.base, self.new, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one pass of one cell."""

    __pydantic_config__: ClassVar = CLOSED

    subject: str
    """Case, implementation, mode, device and pass."""
    pace: Pace
    """How the new is to the base."""
    ratio: float
    """The new seconds over the base's, by the pairs that decided."""
    low: float
    """Its 99 % lower bound."""
    high: float
    """Its 99 % upper bound."""
    pairs: int
    """Of fresh processes, that decided."""
    confirmed: bool
    """Whether the screening flagged it, so that it was measured again."""
    probability: float
    """Of so large an effect by chance, adjusted for all that was screened; 1 where the screening flagged nothing."""
    noise: float
    """Standard deviation of one process's seconds, as a part of them, by all its pairs' ratios."""
    detectable: float
    """The smallest slowdown that would have been found 19 times in 20, with this noise: 0.1 is 10 %."""
    base_score: float | None
    """The largest error of the base's outputs in units of its bound."""
    new_score: float | None
    """The least error of the new outputs."""

    @property
    def grew(self) -> bool:
        """Whether the error grew."""
        if self.base_score is None or self.new_score is None:
            return False
        return self.new_score >= max(NOTICED, GREW * self.base_score) and self.new_score > self.base_score

    @property
    def regression(self) -> bool:
        """Whether it is worse: slower, or its error grew, however fast it became."""
        return self.pace is Pace.SLOWER or self.grew


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """All that two interpreters were compared by: what `conformance compare` writes of them as JSON."""

    __pydantic_config__: ClassVar = CLOSED

    format: Literal[1] = 1
    """Of this document. Any change of its shape is another number."""
    findings: tuple[Finding, ...]
    """One for every pass of every cell that both have."""

    @property
    def regression(self) -> bool:
        """Whether anything became worse: exit code 1."""
        return any(finding.regression for finding in self.findings)


def flagged(pairs: Pairs) -> bool:
    """Return whether the screening finds a change large and likely enough to be measured again."""
    ratio, _, _ = interval(pairs.ratios)
    return abs(math.log(ratio)) > math.log1p(EFFECT) and probability(pairs.ratios) < 2 * SCREENING


def findings(screened: Mapping[str, Pairs], confirming: Mapping[str, Pairs]) -> tuple[Finding, ...]:
    """Return one finding for every subject in `screened`; `confirming` has the fresh pairs of those it flagged."""
    deciding = {name: confirming.get(name, pairs) for name, pairs in screened.items()}
    probabilities = [probability(pairs.ratios) if name in confirming else 1.0 for name, pairs in deciding.items()]
    adjusted = _stats().false_discovery_control(probabilities) if probabilities else []
    return tuple(
        _finding(name, pairs, name in confirming, float(chance))
        for (name, pairs), chance in zip(deciding.items(), adjusted, strict=True)
    )


def _finding(name: str, pairs: Pairs, confirmed: bool, adjusted: float) -> Finding:
    ratio, low, high = interval(pairs.ratios)
    pace = Pace.CANNOT_TELL
    if confirmed and adjusted <= DISCOVERIES and ratio > 1 + EFFECT and low > 1:
        pace = Pace.SLOWER
    elif confirmed and adjusted <= DISCOVERIES and 1 / ratio > 1 + EFFECT and high < 1:
        pace = Pace.FASTER
    elif low >= 1 / (1 + SAME) and high <= 1 + SAME:
        pace = Pace.SAME
    return Finding(
        subject=name,
        pace=pace,
        ratio=ratio,
        low=low,
        high=high,
        pairs=len(pairs.base),
        confirmed=confirmed,
        probability=adjusted,
        noise=stdev(pairs.ratios) / math.sqrt(2),
        detectable=detectable(pairs.ratios),
        base_score=pairs.base_score,
        new_score=pairs.new_score,
    )


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the ratio of new to base with its lower and its upper bound, each at the level of 1 %."""
    middle, error = mean(ratios), stdev(ratios) / math.sqrt(len(ratios))
    reach = float(_stats().t.ppf(1 - LEVEL, len(ratios) - 1)) * error
    return math.exp(middle), math.exp(middle - reach), math.exp(middle + reach)


def probability(ratios: Sequence[float]) -> float:
    """Return the probability of so large an effect, either way, where nothing changed."""
    error = stdev(ratios) / math.sqrt(len(ratios))
    if error == 0:
        return 1.0 if mean(ratios) == 0 else 0.0
    return float(2 * _stats().t.sf(abs(mean(ratios)) / error, len(ratios) - 1))


def detectable(ratios: Sequence[float]) -> float:
    """Return the smallest slowdown that screening and confirmation would find together 19 times in 20.

    With the standard deviation s of these ratios, the least d for which a noncentral t with d·√n/s exceeds its level
    with the power asked for, and mean(r) the effect that counts; the larger of the two stages.
    """
    noise = stdev(ratios)
    if noise == 0:
        return EFFECT
    return max(_detected(noise, PAIRS, SCREENING), _detected(noise, CONFIRMING, LEVEL))


def _detected(noise: float, count: int, level: float) -> float:
    error = noise / math.sqrt(count)
    beyond_effect = math.log1p(EFFECT) + float(_stats().norm.ppf(POWER)) * error
    return math.expm1(max(_shift(count, level) * error, beyond_effect))


@functools.cache
def _shift(count: int, level: float) -> float:
    """Return the effect, in standard errors, that `count` pairs find at that level with probability `POWER`."""
    from scipy.optimize import brentq

    stats = _stats()
    critical = float(stats.t.ppf(1 - level, count - 1))
    # The power rises from the level, at 0, to nearly 1, far beyond the critical value.
    return float(
        brentq(
            lambda noncentrality: float(stats.nct.sf(critical, count - 1, noncentrality)) - POWER,
            0.0,
            10 * critical + 20,
        )
    )


def false_alarms(alarms: int, comparisons: int) -> float:
    """Return the 95 % upper limit of the false-alarm rate (Clopper and Pearson 1934) of that many alarms in A/A runs."""
    limits = _stats().binomtest(alarms, comparisons, alternative="less").proportion_ci(0.95, method="exact")
    return float(limits.high)


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise UsageError("comparing speed needs SciPy: pip install 'batchnorm-conformance[throughput]'") from error
    return stats

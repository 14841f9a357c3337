"""Slower, faster, the same or cannot tell, on simulated seconds with planted effects."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from conformance.throughput.comparing import (
    CONFIRMING,
    LEVEL,
    PAIRS,
    Finding,
    Pace,
    Pairs,
    detectable,
    false_alarms,
    findings,
    flagged,
    interval,
    probability,
)


def pairs(rng: np.random.Generator, count: int, *, noise: float, factor: float = 1.0, tails: float = 0.0) -> Pairs:
    """Return pairs whose seconds have that relative noise, the new ones that factor; `tails`: degrees of freedom."""

    def seconds(scale: float) -> Sequence[float]:
        draws = rng.standard_t(tails, count) / math.sqrt(tails / (tails - 2)) if tails else rng.standard_normal(count)
        return [float(each) for each in scale * np.exp(noise * draws)]

    return Pairs(base=seconds(1e-3), new=seconds(1e-3 * factor))


def campaign(rng: np.random.Generator, cells: int, **other: float) -> tuple[Finding, ...]:
    """Screen so many cells and confirm what is flagged, as `compared` does."""
    screened = {str(number): pairs(rng, PAIRS, **other) for number in range(cells)}
    again = [name for name, each in screened.items() if flagged(each)]
    return findings(screened, {name: pairs(rng, CONFIRMING, **other) for name in again})


def alarms(found: Sequence[Finding]) -> int:
    return sum(each.pace in (Pace.SLOWER, Pace.FASTER) for each in found)


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.05])
def test_nothing_changed_alarms_in_less_than_two_of_a_hundred(noise: float) -> None:
    assert alarms(campaign(np.random.default_rng(1), 800, noise=noise)) <= 16


def test_heavy_tails_raise_no_more_alarms() -> None:
    assert alarms(campaign(np.random.default_rng(2), 800, noise=0.02, tails=3.0)) <= 16


@pytest.mark.parametrize("noise", [0.005, 0.01, 0.02])
def test_ten_per_cent_slower_is_found_nineteen_times_in_twenty(noise: float) -> None:
    found = campaign(np.random.default_rng(3), 400, noise=noise, factor=1.10)
    assert sum(each.pace is Pace.SLOWER for each in found) >= 380
    assert not any(each.pace is Pace.FASTER for each in found)


def test_ten_per_cent_faster_is_no_regression() -> None:
    found = campaign(np.random.default_rng(4), 100, noise=0.01, factor=1 / 1.10)
    assert sum(each.pace is Pace.FASTER for each in found) >= 95
    assert not any(each.regression for each in found)


def test_one_per_cent_does_not_count_however_sure_it_is() -> None:
    found = campaign(np.random.default_rng(5), 100, noise=0.0005, factor=1.01)
    assert alarms(found) == 0
    assert all(each.pace is Pace.SAME for each in found)


def test_noise_that_hides_anything_cannot_tell() -> None:
    found = campaign(np.random.default_rng(6), 200, noise=0.3)
    assert sum(each.pace is Pace.CANNOT_TELL for each in found) >= 195
    assert all(each.detectable > 0.2 for each in found)


def test_the_slowdown_called_detectable_is_detected() -> None:
    """At the noise of each cell, not of its luck: the median of what is told, planted, is found 19 times in 20."""
    rng = np.random.default_rng(7)
    told = float(np.median([detectable(pairs(rng, CONFIRMING, noise=0.02).ratios) for _ in range(200)]))
    found = campaign(rng, 400, noise=0.02, factor=1 + told)
    assert 0.02 < told < 0.10
    assert sum(each.pace is Pace.SLOWER for each in found) >= 372


def test_only_fresh_pairs_confirm() -> None:
    """A chance of the screening, with ten steady pairs after it, is the same."""
    lucky = Pairs(base=[1.0] * 5, new=[1.10, 1.11, 1.10, 1.09, 1.10])
    steady = Pairs(base=[1.0] * 10, new=[1.001, 0.999] * 5)
    assert flagged(lucky)
    (found,) = findings({"a": lucky}, {"a": steady})
    assert found.pace is Pace.SAME
    assert found.pairs == 10


def test_false_discoveries_are_controlled_over_all_that_was_screened() -> None:
    """What would stand alone does not stand among five hundred that the screening let pass."""
    rng = np.random.default_rng(8)
    base = np.ones(10)
    barely = Pairs(base=list(base), new=[float(each) for each in np.exp(0.022 + 0.02 * rng.standard_normal(10))])
    alone = findings({"a": barely}, {"a": barely})[0].probability
    among = findings({"a": barely, **{str(n): pairs(rng, 5, noise=0.01) for n in range(500)}}, {"a": barely})[0]
    assert among.probability == pytest.approx(min(1.0, 501 * alone))


def test_faster_with_three_times_the_error_is_one_finding_and_a_regression() -> None:
    quick = Pairs(base=[1.0] * 10, new=[0.8, 0.81] * 5, base_score=0.2, new_score=0.6)
    (found,) = findings({"a": quick}, {"a": quick})
    assert found.pace is Pace.FASTER
    assert found.grew
    assert found.regression


def test_an_error_far_below_its_bound_may_grow() -> None:
    quick = Pairs(base=[1.0] * 10, new=[0.8, 0.81] * 5, base_score=0.001, new_score=0.01)
    assert not findings({"a": quick}, {"a": quick})[0].regression


def test_a_rank_test_of_five_pairs_cannot_reach_the_level() -> None:
    """Even where all five say the same, however clearly: that is why it is not the test."""
    ratios = pairs(np.random.default_rng(9), 5, noise=0.001, factor=2.0).ratios
    assert stats.wilcoxon(ratios, alternative="greater").pvalue == pytest.approx(1 / 32)
    assert probability(ratios) / 2 < LEVEL


def test_at_ten_pairs_the_t_test_finds_more_than_the_signed_rank_test() -> None:
    """Near the smallest effect that counts, at the level of one per cent."""
    rng = np.random.default_rng(10)
    drawn = [pairs(rng, 10, noise=0.02, factor=1.035).ratios for _ in range(2000)]
    by_t = sum(interval(each)[1] > 1 for each in drawn)
    by_rank = sum(stats.wilcoxon(each, alternative="greater").pvalue < LEVEL for each in drawn)
    assert by_t > by_rank


def test_the_limit_of_the_false_alarm_rate_is_that_of_clopper_and_pearson() -> None:
    """None of n: 1 - 0.05^(1/n); eight of 400: the rate at which eight or fewer have 5 %."""
    assert false_alarms(0, 400) == pytest.approx(1 - 0.05 ** (1 / 400))
    assert stats.binom.cdf(8, 400, false_alarms(8, 400)) == pytest.approx(0.05)

"""When a pass is warm, what holding its results costs, and which bandwidth stands apart, on made-up samples."""

from __future__ import annotations

import pytest

from conformance.report.warm_up import apart, bandwidth_of, calls_until_warm, held_ratio
from conformance.runfile.throughput_structs import BatchTimes, Measurement, Shares, WarmUp
from conformance.verdict import Verdict


@pytest.mark.parametrize(
    ("calls", "cold"),
    [
        ((0.9, 0.03, 0.012, 0.01), 2),
        ((0.0124, 0.01), 0),
        ((0.0126, 0.01), 1),
        ((0.5, 0.4), None),
        ((), None),
        # What is slow once more afterwards was warm before.
        ((0.5, 0.01, 0.4), 1),
    ],
)
def test_a_pass_is_warm_at_the_first_call_that_takes_what_calls_take(
    calls: tuple[float, ...], cold: int | None
) -> None:
    assert calls_until_warm(calls, 0.01) == cold


def test_what_holding_costs_is_a_ratio_of_the_quickest_calls_of_either_way() -> None:
    assert held_ratio(WarmUp(first=1.0, freed=0.01, held=0.014)) == pytest.approx(1.4)
    assert held_ratio(WarmUp(first=1.0)) is None


def test_the_bandwidth_of_a_row_is_the_median_of_its_batches() -> None:
    batches = [BatchTimes(seconds=0.1, before=bandwidth, after=bandwidth) for bandwidth in (1e9, 2e9, 9e9)]
    assert bandwidth_of(measurement(*batches)) == pytest.approx(2e9)
    assert bandwidth_of(measurement(BatchTimes(seconds=0.1, before=1e9, after=3e9))) == pytest.approx(1.5e9)
    assert bandwidth_of(measurement()) is None


@pytest.mark.parametrize(
    ("bandwidth", "part"), [(1.09e10, None), (0.91e10, None), (1.2e10, 0.2), (0.8e10, -0.2), (None, None)]
)
def test_a_row_says_so_whose_bandwidth_is_more_than_a_tenth_from_its_table_s(
    bandwidth: float | None, part: float | None
) -> None:
    assert apart(bandwidth, 1e10) == (None if part is None else pytest.approx(part))
    assert apart(bandwidth, None) is None


def measurement(*batches: BatchTimes) -> Measurement:
    shares = Shares(compulsory=0.5, streaming=0.5)
    return Measurement(
        seconds=0.1, fractions=shares, warmed=WarmUp(first=1.0), verdict=Verdict.CONFORMS, batches=batches
    )

"""What voids a sample: each reason on a sample that is made up to have it alone."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.runfile.throughput_structs import Conditions
from conformance.throughput.contention import Bandwidths, Batch, Disturbance, disturbances, never_quiet

#: A sample of 0.2 s and 20 rounds on two cores, by one thread, beside something that used the other core.
QUIET: dict[str, Any] = {
    "seconds": 0.2, "cores": 2, "busy": 1.0, "elsewhere": 0.9, "others": 1, "switches": 3, "waited": 0.01,
    "stalled": 0.01, "stolen": 0.0,
}  # fmt: skip
#: The same by two threads on a machine of its own.
ALONE: dict[str, Any] = {**QUIET, "busy": 1.9, "elsewhere": 0.05, "others": 0}


def sample(conditions: dict[str, Any] | None = None, **other: Any) -> Batch:
    steady = Bandwidths(before=1e10, after=1e10)
    noted = None if conditions is None else Conditions(**conditions)
    return Batch(**{"seconds": 0.01, "least": 0.009, "rounds": 20, "bandwidths": steady, "conditions": noted, **other})


@pytest.mark.parametrize("conditions", [QUIET, ALONE, None])
def test_a_quiet_sample_counts(conditions: dict[str, Any] | None) -> None:
    assert disturbances(sample(conditions)) == ()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"switches": 7}, Disturbance.PREEMPTED),
        ({"waited": 0.021}, Disturbance.WAITED),
        ({"stalled": 0.021}, Disturbance.PRESSURE),
        ({"busy": 1.3}, Disturbance.QUEUE),
        ({"others": 2}, Disturbance.QUEUE),
        ({"stolen": 0.021}, Disturbance.STOLEN),
    ],
)
def test_each_count_of_the_kernel_voids_alone(changed: dict[str, Any], reason: Disturbance) -> None:
    assert disturbances(sample({**QUIET, **changed})) == (reason,)


@pytest.mark.parametrize(
    "changed",
    [
        {"switches": 5},  # a quarter of the rounds
        {"switches": 6, "seconds": 2.0},  # for less than a hundredth of the time
        {"waited": 0.03, "busy": 1.2},  # by more than one thread, each for a tenth at most
        {"others": None},
    ],
)
def test_what_cannot_move_the_median_far_voids_nothing(changed: dict[str, Any]) -> None:
    given = {**QUIET, **changed}
    allowed = {"waited": 0.023} if "waited" in changed else {}
    assert disturbances(sample({**given, **allowed})) == ()


@pytest.mark.parametrize("changed", [{"switches": 60}, {"waited": 0.3}, {"stalled": 0.19}])
def test_a_library_that_waits_for_its_own_threads_is_not_disturbed(changed: dict[str, Any]) -> None:
    """More threads than cores, and nothing else at work: every user of it waits so."""
    assert disturbances(sample({**ALONE, **changed})) == ()
    assert disturbances(sample({**ALONE, **changed, "elsewhere": 0.5})) != ()
    assert disturbances(sample({**ALONE, **changed, "elsewhere": None})) != ()


def test_a_median_far_above_the_quickest_round_voids_whatever_the_kernel_says() -> None:
    """The 7.9 ms of six different calls, whose quickest rounds took 1.3 to 5.2: a thread that was descheduled."""
    for least in (0.0013, 0.0052):
        assert disturbances(sample(ALONE, seconds=0.0079, least=least)) == (Disturbance.UNEVEN,)
    assert disturbances(sample(ALONE, seconds=0.0079, least=0.0057)) == ()


@pytest.mark.parametrize(("after", "voids"), [(11.2, True), (10.9, False), (8.8, True), (9.2, False)])
def test_a_bandwidth_that_moved_by_more_than_a_tenth_voids(after: float, voids: bool) -> None:
    moved = Bandwidths(before=1e10, after=after * 1e9)
    assert disturbances(sample(ALONE, bandwidths=moved)) == ((Disturbance.DRIFT,) if voids else ())


def test_a_bandwidth_measured_beside_something_else_voids_what_stands_beside_it() -> None:
    """It wants every core: one that another uses is missing."""
    busy = Conditions(**{**ALONE, "others": 1, "elsewhere": 0.9})
    measured = Bandwidths(before=1e10, after=1e10, conditions=(Conditions(**ALONE), busy))
    assert disturbances(sample(ALONE, bandwidths=measured)) == (Disturbance.QUEUE,)


def test_no_number_says_how_many_samples_were_void_and_why() -> None:
    voids = [(Disturbance.QUEUE, Disturbance.UNEVEN), (Disturbance.QUEUE,)]
    assert never_quiet(voids) == "this machine was never quiet: 2 of 2 samples are void (2 queue, 1 uneven)"

"""Timing through a real worker and pytest-benchmark: what is verified, and what each fault comes to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from conformance.execution.pool import Workers
from conformance.execution.survey import survey
from conformance.planning.discovery import keys
from conformance.planning.plan import Cell, Offer, Selection, plan
from conformance.runfile.numbers import number_from
from conformance.runfile.throughput_structs import Measurement, Shares, ThroughputLine
from conformance.spec.case import Case
from conformance.throughput.contention import Bandwidths, Batch, Disturbance, disturbances
from conformance.throughput.measuring import Effort, Machine, copies_of, measure
from conformance.worker.timing import rotated
from tests.cells import case, located

ADAPTER = str(Path(__file__).parents[1] / "faults" / "timed.py")
UNIFORM = {"kind": "uniform", "seed": 5, "low": -1.0, "high": 2.0}
STATE = {
    "gamma": {"kind": "constant", "value": 1.25},
    "beta": {"kind": "constant", "value": -0.5},
    "moving_mean": {"kind": "constant", "value": 0.25},
    "moving_variance": {"kind": "constant", "value": 0.75},
}
QUICK = Effort(batches=2, seconds=0.01, rounds=3, most=2)
#: So slow a memory that nothing is faster, and no cache.
SLOW, NONE = 1e15, 0


def timed(kind: str, shape: tuple[int, ...] = (512, 64)) -> Case:
    step: dict[str, Any] = {"step": kind, "input": UNIFORM}
    if kind == "train":
        step["upstream"] = {"kind": "uniform", "seed": 6, "low": -1.0, "high": 1.5}
    return case(step, id=f"throughput.{kind}", shape=list(shape), initial=STATE)


class Measuring:
    """One worker for all tests: the cells it offers, measured."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers

    def cells(self, name: str, made: Case) -> list[Cell]:
        offers = survey(keys({}, [ADAPTER]), [made.configuration], self.workers)
        found = [each for each in offers if isinstance(each, Offer)]
        return list(plan([located(made)], found, Selection(implementations=(f"timed.{name}",))))

    def lines(self, name: str, made: Case, machine: Machine | None = None) -> list[ThroughputLine]:
        return list(measure(self.cells(name, made), machine or alone(self.workers)))


def alone(workers: Workers, **other: Any) -> Machine:
    """Return a machine that nothing else uses, whatever else uses this one."""
    return Machine(
        workers,
        **{
            "bandwidth": lambda: SLOW,
            "cache": NONE,
            "effort": QUICK,
            "disturbed": lambda _: (),
            "patience": 0.0,
            **other,
        },
    )


def measured(line: ThroughputLine) -> Measurement:
    assert line.measurement is not None
    return line.measurement


def score_of(line: ThroughputLine) -> float:
    score = number_from(measured(line).score)
    assert score is not None
    return score


@pytest.fixture(name="measuring")
def _measuring(tmp_path: Path) -> Iterator[Measuring]:
    with Workers(1, tmp_path) as workers:
        yield Measuring(workers)


def test_every_pass_of_a_train_case_is_timed_and_judged(measuring: Measuring) -> None:
    lines = measuring.lines("healthy", timed("train"))
    assert [line.pass_ for line in lines] == ["train_forward", "train"]
    for line in lines:
        assert measured(line).verdict in ("conforms", "exact")
        assert 0 < score_of(line) < 1
        assert len(measured(line).batches) == 2
        assert all(each.rounds >= 3 for each in measured(line).statistics)
        warmed = measured(line).warmed
        assert (warmed.first, warmed.second) == warmed.calls[:2]
        assert warmed.freed is not None
        assert warmed.held is not None
        assert min(warmed.freed, warmed.held) > 0
    assert measured(lines[1]).traffic == Shares(compulsory=5, streaming=8)


def test_a_case_that_moves_next_to_nothing_is_launch_bound(measuring: Measuring) -> None:
    """A larger case, by the same row, is measured against it."""
    machine = alone(measuring.workers)
    (small,) = measuring.lines("healthy", timed("infer", (8, 4)), machine)
    (large,) = measuring.lines("healthy", timed("infer", (4096, 64)), machine)
    assert small.standing == "launch_bound"
    assert large.standing == "scored"


def test_a_gradient_that_was_never_given_is_invalid(measuring: Measuring) -> None:
    (line,) = measuring.lines("dropping", timed("train"))
    assert line.standing == "invalid"
    assert "grad_input" in line.why


def test_a_lazy_result_is_invalid(measuring: Measuring) -> None:
    """Its values are right, since reading them computes them."""
    (line,) = measuring.lines("lazy", timed("infer", (32768, 64)))
    assert line.standing == "invalid"
    assert "when they were read" in line.why
    assert measured(line).verdict == "conforms"


def test_a_result_of_another_call_deviates(measuring: Measuring) -> None:
    """It is right for the first input, and the inputs take turns."""
    (line,) = measuring.lines("stale", timed("infer", (48, 16)))
    assert measured(line).verdict == "deviates"
    assert score_of(line) > 1


def test_an_exception_is_why_it_was_not_measured(measuring: Measuring) -> None:
    (line,) = measuring.lines("raising", timed("infer"))
    assert line.standing == "unmeasured"
    assert line.why == "ValueError: not today"


def test_a_process_that_dies_takes_its_pass_along_and_not_the_run(measuring: Measuring) -> None:
    (line,) = measuring.lines("dying", timed("infer"))
    assert line.standing == "unmeasured"
    assert "exited with status 3" in line.why
    (healthy,) = measuring.lines("healthy", timed("infer"))
    assert measured(healthy).verdict == "conforms"


def test_an_implementation_without_calls_to_time_says_so(measuring: Measuring) -> None:
    (line,) = measuring.lines("untimed", timed("infer"))
    assert line.standing == "unmeasured"
    assert line.why == "its adapter offers no call to time"


def test_every_batch_says_under_which_conditions_it_was_measured(measuring: Measuring) -> None:
    (line,) = measuring.lines("healthy", timed("infer"))
    assert len(measured(line).conditions) == 2
    for conditions in measured(line).conditions:
        assert conditions.seconds > 0
        assert conditions.cores >= 1
        assert conditions.busy > 0
    assert line.voided == ()


def test_what_holding_results_costs_has_no_number_where_those_calls_were_disturbed(measuring: Measuring) -> None:
    """The batches that follow are quiet."""
    asked = itertools.count()
    machine = alone(measuring.workers, disturbed=lambda _: (Disturbance.WAITED,) if next(asked) == 0 else ())
    (line,) = measuring.lines("healthy", timed("infer"), machine)
    warmed = measured(line).warmed
    assert (warmed.freed, warmed.held) == (None, None)
    assert warmed.calls


def test_a_pass_that_was_never_quiet_has_no_number(measuring: Measuring) -> None:
    """Four samples, each with all that disturbed it, and no more."""
    reasons = (Disturbance.PREEMPTED, Disturbance.UNEVEN)
    (line,) = measuring.lines("healthy", timed("infer"), alone(measuring.workers, disturbed=lambda _: reasons))
    assert line.standing == "voided"
    assert line.measurement is None
    assert line.voided == (("preempted", "uneven"),) * 4
    assert line.why == "this machine was never quiet: 4 of 4 samples are void (4 preempted, 4 uneven)"


def test_what_is_void_is_tried_again_after_the_others(measuring: Measuring) -> None:
    """Of two passes the first is disturbed once: its second sample comes after the other's first."""
    asked: list[Batch] = []

    def disturbed(batch: Batch) -> tuple[Disturbance, ...]:
        if batch.bandwidths.before < SLOW:
            return ()  # of a warm-up, which has no bandwidth
        asked.append(batch)
        return (Disturbance.QUEUE,) if len(asked) == 1 else ()

    lines = measuring.lines("healthy", timed("train"), alone(measuring.workers, disturbed=disturbed))
    assert [line.voided for line in lines] == [(("queue",),), ()]
    assert [each.seconds for each in measured(lines[0]).batches] == [asked[3].seconds, asked[4].seconds]
    assert measured(lines[1]).batches[0].seconds == asked[1].seconds


def test_a_drifting_bandwidth_is_seen_by_what_judges_a_run(measuring: Measuring) -> None:
    """A machine whose bandwidth moves by 12 % from each measurement to the next."""
    bandwidths = itertools.cycle([SLOW, 1.12 * SLOW])
    machine = alone(measuring.workers, bandwidth=lambda: next(bandwidths), disturbed=disturbances)
    (line,) = measuring.lines("healthy", timed("infer"), machine)
    assert all("drift" in reasons for reasons in line.voided)
    assert line.standing == "voided"


def test_batches_that_agree_are_enough_and_others_are_not() -> None:
    effort = Effort(batches=2, most=4)
    assert not effort.enough(batches(1.0))
    assert effort.enough(batches(1.0, 1.04))
    assert not effort.enough(batches(1.0, 1.2))
    assert not effort.enough(batches(1.0, 1.2, 1.1))
    assert effort.enough(batches(1.0, 1.2, 1.1, 1.3))


def test_one_batch_is_enough_where_it_may_be_and_its_calls_agree() -> None:
    effort = Effort(batches=1, most=2)
    assert effort.enough(batches(1.0, quartiles=(0.98, 1.02)))
    assert not effort.enough(batches(1.0, quartiles=(0.9, 1.02)))
    assert effort.enough(batches(1.0, 1.2))


def batches(*seconds: float, quartiles: tuple[float, float] = (1.0, 1.0)) -> list[Batch]:
    steady = Bandwidths(before=SLOW, after=SLOW)
    return [Batch(seconds=one, quartiles=quartiles, bandwidths=steady) for one in seconds]


def test_another_device_is_measured_by_copies_of_its_own(measuring: Measuring) -> None:
    """The memory of the machine has no part in it."""
    (line,) = measuring.lines("device", timed("infer", (4096, 64)))
    assert measured(line).verdict == "conforms"
    assert all(0 < each.before < SLOW / 100 for each in measured(line).batches)


def test_a_device_without_copies_has_no_limit(measuring: Measuring) -> None:
    (line,) = measuring.lines("uncopied", timed("infer"))
    assert line.standing == "unmeasured"
    assert line.why == "KeyError: 'copy'"


def test_time_that_is_over_begins_nothing_further(measuring: Measuring) -> None:
    machine = alone(measuring.workers, end=0.0)
    (line,) = measuring.lines("healthy", timed("infer"), machine)
    assert line.standing == "unmeasured"
    assert line.why == "the time that was given was over"


@pytest.mark.parametrize(("size", "copies"), [(100 * 2**20, 2), (16 * 2**20, 4), (2**10, 32)])
def test_inputs_take_turns_until_none_is_cached(size: int, copies: int) -> None:
    assert copies_of(size, 32 * 2**20) == copies


def test_each_input_has_other_bits_and_the_same_statistics() -> None:
    x = np.arange(24, dtype=np.float32).reshape(8, 3)
    inputs = rotated(x, -x, 3)
    assert len({each.tobytes() for each, _ in inputs}) == 3
    assert all(
        np.array_equal(np.sort(each, 0), x) and upstream is not None and np.array_equal(-upstream, each)
        for each, upstream in inputs
    )

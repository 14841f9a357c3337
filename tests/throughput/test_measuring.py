"""Timing through a real worker and pytest-benchmark: what is verified, and what each fault comes to."""

from __future__ import annotations

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
QUICK = Effort(batches=2, seconds=0.01, rounds=3)
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
        machine = machine or Machine(self.workers, lambda: SLOW, NONE, QUICK)
        return list(measure(self.cells(name, made), machine))


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
        assert measured(line).warmed.first > 0
    assert measured(lines[1]).traffic == Shares(compulsory=5, streaming=8)


def test_a_case_that_moves_next_to_nothing_is_launch_bound(measuring: Measuring) -> None:
    """A larger case, by the same row, is measured against it."""
    machine = Machine(measuring.workers, lambda: SLOW, NONE, QUICK)
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
    (line,) = measuring.lines("stale", timed("infer"))
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


def test_a_bandwidth_that_never_settles_voids(measuring: Measuring) -> None:
    """Three attempts a batch, each between two bandwidths that differ by 12 %."""
    bandwidths = iter([SLOW, 1.12 * SLOW] * 50)
    asked = []

    def bandwidth() -> float:
        asked.append(next(bandwidths))
        return asked[-1]

    (line,) = measuring.lines("healthy", timed("infer"), Machine(measuring.workers, bandwidth, NONE, QUICK))
    assert line.standing == "voided"
    assert len(asked) == 1 + 2 * 3


def test_a_bandwidth_that_settles_is_measured_again(measuring: Measuring) -> None:
    bandwidths = iter([SLOW, 1.12 * SLOW, *[1.12 * SLOW] * 10])
    machine = Machine(measuring.workers, lambda: next(bandwidths), NONE, QUICK)
    machine.launch["timed.healthy-eager-cpu", "infer"] = 1e-9
    (line,) = measuring.lines("healthy", timed("infer"), machine)
    assert line.standing == "scored"


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
    machine = Machine(measuring.workers, lambda: SLOW, NONE, QUICK, end=0.0)
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
    assert all(np.array_equal(np.sort(each, 0), x) and np.array_equal(-upstream, each) for each, upstream in inputs)

"""Measuring, case by case: every implementation in turn, round after round, one call in flight on the whole machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

from conformance.errors import SuiteError
from conformance.execution.pool import Workers, converse
from conformance.outcome import Crashed, TimedOut
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell
from conformance.reference.inputs import inputs_of
from conformance.runfile.throughput_structs import ThroughputLine
from conformance.throughput.limit import Batch, Evidence, drifted, tensor_bytes
from conformance.throughput.subject import (
    Measured,
    Subject,
    can_be_timed,
    measured_line,
    passes_of,
    unmeasured_line,
)
from conformance.throughput.verifying import accuracy, features_judged

#: A batch whose bandwidths drifted is measured so many times in all before it is void.
_TRIES = 3
#: A case tells what a call costs before it moves anything where so few bytes must move.
SMALL = 2**17
#: Inputs are used in turn, so many that they fill the last-level cache so many times, but no more than that.
_FILLS, _MOST = 2, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: batches a subject, and for each at least these seconds and these rounds."""

    batches: int = 2
    seconds: float = 0.15
    rounds: int = 3


class Machine:
    """What all cases of a run share: the workers, the bandwidth, and how long the smallest case took."""

    def __init__(
        self, workers: Workers, bandwidth: Callable[[], float], cache: int, effort: Effort, end: float = math.inf
    ) -> None:
        self.workers, self.bandwidth, self.cache, self.effort = workers, bandwidth, cache, effort
        self.last = bandwidth()
        #: Of the time that was given, on the monotonic clock.
        self.end = end
        #: By row: the seconds of its smallest case.
        self.launch: dict[tuple[str, str], float] = {}

    @property
    def over(self) -> bool:
        """Whether the time that was given is over."""
        return time.monotonic() > self.end

    def ask(self, key: WorkerKey, message: Mapping[str, Any]) -> Any:
        """Send a timing request to the worker of that key, and return its answer.

        A worker that is not alive is started if the request brings the arrays of a new case; any other request
        belongs to passes that ended with the worker, and the answer is that it crashed.
        """
        limits = self.workers.limits
        if key not in self.workers.live:
            if message["step"] != "arrays":
                return Crashed(how="ended before, in another pass of this case", recurs=False, before=(), output="")
            offer = converse(self.workers.start(key), None, self.workers, limits.start)
            if not (isinstance(offer, dict) and "offer" in offer):
                return offer
        return converse(self.workers.live[key], {"do": "time", **message}, self.workers, limits.cell)


@dataclass(slots=True, kw_only=True, eq=False)
class _Progress:
    """A subject with what was measured of it so far, or why nothing is."""

    subject: Subject
    number: int
    warmed: Mapping[str, Any] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    statistics: list[Mapping[str, Any]] = field(default_factory=list)
    settled: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    def failed(self) -> bool:
        """Return whether there is a reason why it is not measured."""
        return bool(self.why)


def measure(cells: Sequence[Cell], machine: Machine) -> Iterator[ThroughputLine]:
    """Yield one line for every pass of the cells, which are of one case, and for every cell that offers none."""
    subjects: list[Subject] = []
    for cell in cells:
        if can_be_timed(cell):
            subjects.extend(Subject(cell=cell, name=name) for name in passes_of(cell))
        else:
            yield unmeasured_line(cell, "", cell.unsupported or "its adapter offers no call to time")
    yield from measure_subjects(subjects, machine)


def measure_subjects(subjects: Sequence[Subject], machine: Machine) -> Iterator[ThroughputLine]:
    """Yield the line of each of the subjects, which are of one case, when all their batches are done."""
    if not subjects:
        return
    (step,) = inputs_of(subjects[0].cell.case).steps
    assert step.input is not None
    upstream = step.input if step.upstream is None else step.upstream
    copies = copies_of(step.input.nbytes, machine.cache)
    progress = [_Progress(subject=subject, number=number) for number, subject in enumerate(subjects)]
    keys = list(dict.fromkeys(subject.cell.key for subject in subjects))
    for key in keys:
        sent = machine.ask(key, {"step": "arrays", "input": step.input, "upstream": upstream, "copies": copies})
        of_key = [timed for timed in progress if timed.subject.cell.key == key]
        _blame(of_key, sent)
        for timed in of_key:
            _prepare(timed, machine)
        machine.ask(key, {"step": "prepared"})
    for number in range(machine.effort.batches):
        if number and machine.over:
            break
        # Each round begins with another, so that none always follows the same.
        for position in range(len(progress)):
            _batch(progress[(position + number) % len(progress)], machine)
    for timed in progress:
        _settle(timed, machine)
    for key in keys:
        if key in machine.workers.live:
            machine.ask(key, {"step": "forget"})
    for timed in progress:
        yield _line(timed, step.input, upstream, machine)


def copies_of(size: int, cache: int) -> int:
    """Return how many inputs of `size` bytes to use in turn, so that none is still in the cache when its turn comes."""
    return min(_MOST, max(2, -(-_FILLS * cache // size)))


def _prepare(timed: _Progress, machine: Machine) -> None:
    if machine.over:
        timed.why = timed.why or "the time that was given was over"
    if timed.failed():
        return
    cell = timed.subject.cell
    request = {
        "step": "prepare",
        "number": timed.number,
        "implementation": cell.implementation.name,
        "mode": cell.mode,
        "device": cell.device,
        "pass": timed.subject.name,
        "configuration": asdict(cell.case.configuration),
        "initial": inputs_of(cell.case).initial,
    }
    timed.warmed = machine.ask(cell.key, request)
    _blame([timed], timed.warmed)
    if not timed.failed() and cell.mode != "eager" and timed.warmed["compilations"] == 0:
        timed.why = f"mode {cell.mode} was asked for, and nothing proves that anything was compiled"


def _batch(timed: _Progress, machine: Machine) -> None:
    """Measure one batch, with the bandwidth before and after it; repeat a few times if the two differ too much."""
    if timed.failed():
        return
    key, effort = timed.subject.cell.key, machine.effort
    request = {"step": "measure", "number": timed.number, "seconds": effort.seconds, "rounds": effort.rounds}
    before = _bandwidth(timed, machine, fresh=False)
    for attempt in range(_TRIES):
        answer = machine.ask(key, request)
        _blame([timed], answer)
        after = _bandwidth(timed, machine, fresh=True)
        if timed.failed():
            return
        if not drifted(before, after) or attempt == _TRIES - 1:
            timed.batches.append(Batch(seconds=answer["median"], before=before, after=after))
            timed.statistics.append(answer)
            return
        before = after


def _bandwidth(timed: _Progress, machine: Machine, *, fresh: bool) -> float:
    """Return the bandwidth of the subject's device.

    On the CPU that is the bandwidth of the whole machine: the last one measured, or a new one if `fresh`.
    """
    cell = timed.subject.cell
    if cell.device == "cpu":
        machine.last = machine.bandwidth() if fresh else machine.last
        return machine.last
    if timed.failed():
        return math.nan
    answer = machine.ask(cell.key, {"step": "bandwidth", "number": timed.number})
    _blame([timed], answer)
    return math.nan if timed.failed() else float(answer["bandwidth"])


def _settle(timed: _Progress, machine: Machine) -> None:
    """Have the worker make one more call, and keep its results to be judged."""
    if not timed.failed():
        cell = timed.subject.cell
        features = features_judged(cell.case.configuration.feature_count)
        timed.settled = machine.ask(cell.key, {"step": "settle", "number": timed.number, "features": features})
        _blame([timed], timed.settled)


def _blame(progress: Sequence[_Progress], answer: Any) -> None:
    """If the answer is a failure, note it with those subjects as the reason why they are not measured."""
    match answer:
        case {"refused": {"types": types, "message": message}}:
            why = f"{types[0]}: {message}"
        case {"failure": {"message": message}}:
            why = f"its worker did not start: {message}"
        case Crashed(how=how, output=output):
            why = f"its process {how}; its output ends: {output}"
        case TimedOut(limit=limit):
            why = f"no answer within {limit:g} s"
        case dict():
            return
        case unknown:
            raise SuiteError(f"a worker answered {unknown!r}")
    for timed in progress:
        timed.why = timed.why or why


def _line(timed: _Progress, x: Any, upstream: Any, machine: Machine) -> ThroughputLine:
    subject = timed.subject
    if timed.failed():
        return unmeasured_line(subject.cell, subject.name, timed.why)
    features = features_judged(subject.cell.case.configuration.feature_count)
    turn = timed.settled["turn"]
    judged = accuracy(
        subject.cell, subject.name, np.roll(x, turn, 0), np.roll(upstream, turn, 0), timed.settled, features
    )
    evidence = Evidence(
        moved=2 * tensor_bytes(subject.cell.case.configuration),
        cache=machine.cache,
        reads=[(first, second) for first, second in timed.settled["reads"]],
        missing=judged.missing,
    )
    measured = Measured(
        batches=timed.batches,
        warmed=timed.warmed,
        statistics=timed.statistics,
        accuracy=judged,
        evidence=replace(evidence, launch=_launch(timed, evidence.moved, machine)),
    )
    return measured_line(subject, measured)


def _launch(timed: _Progress, moved: int, machine: Machine) -> float | None:
    """Return the fixed cost of a call, in seconds: the time of a case so small that it moves next to no bytes.

    Cases come in the order of their size. None where no small one was measured.
    """
    if moved <= SMALL:
        seconds = median(batch.seconds for batch in timed.batches)
        machine.launch.setdefault(timed.subject.row, seconds)
    return machine.launch.get(timed.subject.row)

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
        """Return what the worker of that key answers; where it is not alive, arrays for a new case start it."""
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
    progress = [_Progress(subject=each, number=number) for number, each in enumerate(subjects)]
    keys = list(dict.fromkeys(each.cell.key for each in subjects))
    for key in keys:
        sent = machine.ask(key, {"step": "arrays", "input": step.input, "upstream": upstream, "copies": copies})
        of_key = [each for each in progress if each.subject.cell.key == key]
        _blame(of_key, sent)
        for each in of_key:
            _prepare(each, machine)
        machine.ask(key, {"step": "prepared"})
    for number in range(machine.effort.batches):
        if number and machine.over:
            break
        # Each round begins with another, so that none always follows the same.
        for position in range(len(progress)):
            _batch(progress[(position + number) % len(progress)], machine)
    for each in progress:
        _settle(each, machine)
    for key in keys:
        if key in machine.workers.live:
            machine.ask(key, {"step": "forget"})
    for each in progress:
        yield _line(each, step.input, upstream, machine)


def copies_of(size: int, cache: int) -> int:
    """Return how many inputs of that many bytes are used in turn, so that none is still cached when it is used again."""
    return min(_MOST, max(2, -(-_FILLS * cache // size)))


def _prepare(each: _Progress, machine: Machine) -> None:
    if machine.over:
        each.why = each.why or "the time that was given was over"
    if each.failed():
        return
    cell = each.subject.cell
    request = {
        "step": "prepare",
        "number": each.number,
        "implementation": cell.implementation.name,
        "mode": cell.mode,
        "device": cell.device,
        "pass": each.subject.name,
        "configuration": asdict(cell.case.configuration),
        "initial": inputs_of(cell.case).initial,
    }
    each.warmed = machine.ask(cell.key, request)
    _blame([each], each.warmed)
    if not each.failed() and cell.mode != "eager" and each.warmed["compilations"] == 0:
        each.why = f"mode {cell.mode} was asked for, and nothing proves that anything was compiled"


def _batch(each: _Progress, machine: Machine) -> None:
    """Measure one batch between two bandwidths, again while they drift."""
    if each.failed():
        return
    key, effort = each.subject.cell.key, machine.effort
    request = {"step": "measure", "number": each.number, "seconds": effort.seconds, "rounds": effort.rounds}
    before = _bandwidth(each, machine, fresh=False)
    for attempt in range(_TRIES):
        answer = machine.ask(key, request)
        _blame([each], answer)
        after = _bandwidth(each, machine, fresh=True)
        if each.failed():
            return
        if not drifted(before, after) or attempt == _TRIES - 1:
            each.batches.append(Batch(seconds=answer["median"], before=before, after=after))
            each.statistics.append(answer)
            return
        before = after


def _bandwidth(each: _Progress, machine: Machine, *, fresh: bool) -> float:
    """Return the bandwidth of the subject's device: the CPU's is that of the whole machine, and was just measured."""
    cell = each.subject.cell
    if cell.device == "cpu":
        machine.last = machine.bandwidth() if fresh else machine.last
        return machine.last
    if each.failed():
        return math.nan
    answer = machine.ask(cell.key, {"step": "bandwidth", "number": each.number})
    _blame([each], answer)
    return math.nan if each.failed() else float(answer["bandwidth"])


def _settle(each: _Progress, machine: Machine) -> None:
    """Let one more call be made, and keep what it gave."""
    if not each.failed():
        cell = each.subject.cell
        features = features_judged(cell.case.configuration.feature_count)
        each.settled = machine.ask(cell.key, {"step": "settle", "number": each.number, "features": features})
        _blame([each], each.settled)


def _blame(progress: Sequence[_Progress], answer: Any) -> None:
    """Note of those subjects why they are not measured, where the answer says that they cannot be."""
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
    for each in progress:
        each.why = each.why or why


def _line(each: _Progress, x: Any, upstream: Any, machine: Machine) -> ThroughputLine:
    subject = each.subject
    if each.failed():
        return unmeasured_line(subject.cell, subject.name, each.why)
    features = features_judged(subject.cell.case.configuration.feature_count)
    turn = each.settled["turn"]
    found = accuracy(
        subject.cell, subject.name, np.roll(x, turn, 0), np.roll(upstream, turn, 0), each.settled, features
    )
    evidence = Evidence(
        moved=2 * tensor_bytes(subject.cell.case.configuration),
        cache=machine.cache,
        reads=[(first, second) for first, second in each.settled["reads"]],
        missing=found.missing,
    )
    measured = Measured(
        batches=each.batches,
        warmed=each.warmed,
        statistics=each.statistics,
        accuracy=found,
        evidence=replace(evidence, launch=_launch(each, evidence.moved, machine)),
    )
    return measured_line(subject, measured)


def _launch(each: _Progress, moved: int, machine: Machine) -> float | None:
    """Return what a call costs before it moves anything: the seconds of a case so small that it moves next to nothing.

    Cases come in the order of their size. None where no small one was measured.
    """
    if moved <= SMALL:
        seconds = median(batch.seconds for batch in each.batches)
        machine.launch.setdefault(each.subject.row, seconds)
    return machine.launch.get(each.subject.row)

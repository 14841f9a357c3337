"""Measuring, case by case: every implementation in turn, round after round, one call in flight on the whole machine."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

import msgspec

from conformance.errors import SuiteError
from conformance.execution.conversation import converse
from conformance.execution.pool import Workers
from conformance.outcome import Crashed, TimedOut
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.runfile.throughput_structs import Conditions, ThroughputLine
from conformance.throughput.contention import Bandwidths, Batch, Disturbance, disturbances
from conformance.throughput.limit import Evidence, tensor_bytes
from conformance.throughput.subject import (
    Measured,
    Subject,
    can_be_timed,
    measured_line,
    passes_of,
    unmeasured_line,
    voided_line,
)
from conformance.throughput.verifying import accuracy, features_judged
from conformance.worker.conditions import Watch, others_ready

#: So many samples of a pass may be void; one more, and there is no number.
_VOIDS = 3
#: Batches whose medians differ by no more are enough, and one whose quartiles do: the middle is within half of that.
_STEADY = 0.05
#: Seconds between two looks at what is ready to run.
_LOOK = 0.05
#: Seconds for which a machine on which every sample was void is waited for, before they are tried again.
_PATIENCE = 3.0
#: A case tells what a call costs before it moves anything where so few bytes must move.
SMALL = 2**17
#: Inputs are used in turn, so many that they fill the last-level cache so many times, but no more than that.
_FILLS, _MOST = 2, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: batches a subject, more where they differ, and for each at least these seconds and rounds."""

    batches: int = 2
    seconds: float = 0.15
    rounds: int = 3
    most: int = 4

    def enough(self, batches: Sequence[Batch]) -> bool:
        """Return whether these batches need no other: they are enough and agree, or are too many.

        One alone is enough where its own calls agree.
        """
        if len(batches) < self.batches:
            return False
        low, high = batches[0].quartiles if len(batches) == 1 else _ends(batches)
        middle = median(batch.seconds for batch in batches)
        return high - low <= _STEADY * middle or len(batches) >= max(self.most, self.batches)


def _ends(batches: Sequence[Batch]) -> tuple[float, float]:
    seconds = [batch.seconds for batch in batches]
    return min(seconds), max(seconds)


class Machine:
    """What all cases of a run share: the workers, the bandwidth, and how long the smallest case took.

    `disturbed` says of a sample why it is void; `patience` is how long a busy machine is waited for.
    """

    def __init__(
        self,
        workers: Workers,
        bandwidth: Callable[[], float],
        cache: int,
        effort: Effort,
        *,
        end: float = math.inf,
        disturbed: Callable[[Batch], tuple[Disturbance, ...]] = disturbances,
        patience: float = _PATIENCE,
    ) -> None:
        self.workers, self.cache, self.effort = workers, cache, effort
        self.disturbed, self.patience = disturbed, patience
        self._bandwidth = bandwidth
        self.last = self.measured_bandwidth()
        #: Of the time that was given, and of what the present case may take of it, on the monotonic clock.
        self.end = self.end_of_case = end
        #: By row: the seconds of its smallest case.
        self.launch: dict[tuple[str, str, int | None], float] = {}

    def measured_bandwidth(self) -> tuple[float, Conditions | None]:
        """Measure the bandwidth of the memory by every core, and return it with the conditions meanwhile."""
        with Watch() as watch:
            bandwidth = self._bandwidth()
        self.last = bandwidth, msgspec.convert(watch.noted, Conditions)
        return self.last

    def rest(self) -> None:
        """Wait until nothing else is ready to run, but no longer than there is patience."""
        until = min(time.monotonic() + self.patience, self.end_of_case)
        while time.monotonic() < until and others_ready():
            time.sleep(_LOOK)

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
    #: Of each void sample, what disturbed it.
    voids: list[tuple[Disturbance, ...]] = field(default_factory=list)
    settled: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    def failed(self) -> bool:
        """Return whether there is a reason why it is not measured."""
        return bool(self.why)

    def wants(self, effort: Effort) -> bool:
        """Return whether another sample of it is to be taken."""
        return not self.failed() and not effort.enough(self.batches) and len(self.voids) <= _VOIDS


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
    upstream = step.upstream
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
    _sample_in_turn(progress, machine)
    for timed in progress:
        _settle(timed, machine)
    for key in keys:
        if key in machine.workers.live:
            machine.ask(key, {"step": "forget"})
    references: dict[int, References] = {}
    for timed in progress:
        yield _line(timed, step.input, upstream, machine, references)


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
    answer = machine.ask(cell.key, request)
    _blame([timed], answer)
    if not timed.failed():
        timed.warmed = _undisturbed(answer, machine)
    if not timed.failed() and cell.mode != "eager" and timed.warmed["compilations"] == 0:
        timed.why = f"mode {cell.mode} was asked for, and nothing proves that anything was compiled"


def _undisturbed(warmed: Mapping[str, Any], machine: Machine) -> Mapping[str, Any]:
    """Return what a worker told of a warm-up, without what holding results costs where anything disturbed that."""
    ways = warmed["ways"]
    batch = Batch(
        seconds=warmed["freed"],
        bandwidths=Bandwidths(before=1.0, after=1.0),
        rounds=ways["rounds"],
        conditions=msgspec.convert(ways["conditions"], Conditions),
    )
    lost = {"freed": None, "held": None} if machine.disturbed(batch) else {}
    return {**{name: value for name, value in warmed.items() if name != "ways"}, **lost}


def _sample_in_turn(progress: Sequence[_Progress], machine: Machine) -> None:
    """Take samples of each until it wants no more: all in turn, so that what is void is tried again later."""
    machine.measured_bandwidth()
    for turn in itertools.count():
        waiting = [timed for timed in progress if timed.wants(machine.effort)]
        if not waiting or (turn and time.monotonic() > machine.end_of_case):
            return
        # Each turn begins with another, so that none always follows the same.
        quiet = [_sample(waiting[(place + turn) % len(waiting)], machine) for place in range(len(waiting))]
        if not any(quiet):
            machine.rest()
            machine.measured_bandwidth()


def _sample(timed: _Progress, machine: Machine) -> bool:
    """Measure one batch, with the bandwidth before and after it, and return whether it counts or failed: not void."""
    key, effort = timed.subject.cell.key, machine.effort
    request = {"step": "measure", "number": timed.number, "seconds": effort.seconds, "rounds": effort.rounds}
    before = _bandwidth(timed, machine, fresh=False)
    answer = machine.ask(key, request)
    _blame([timed], answer)
    after = _bandwidth(timed, machine, fresh=True)
    if timed.failed():
        return True
    batch = Batch(
        seconds=answer["median"],
        least=answer["min"],
        quartiles=(answer["q1"], answer["q3"]),
        rounds=answer["rounds"],
        bandwidths=Bandwidths(
            before=before[0],
            after=after[0],
            conditions=tuple(conditions for _, conditions in (before, after) if conditions is not None),
        ),
        conditions=msgspec.convert(answer["conditions"], Conditions),
    )
    reasons = machine.disturbed(batch)
    if reasons:
        timed.voids.append(reasons)
    else:
        timed.batches.append(batch)
        timed.statistics.append(answer)
    return not reasons


def _bandwidth(timed: _Progress, machine: Machine, *, fresh: bool) -> tuple[float, Conditions | None]:
    """Return the bandwidth of the subject's device, with the conditions under which it was measured.

    On the CPU that is the bandwidth of the whole machine: the last one measured, or a new one if `fresh`.
    """
    cell = timed.subject.cell
    if cell.device == "cpu":
        return machine.measured_bandwidth() if fresh else machine.last
    if timed.failed():
        return math.nan, None
    answer = machine.ask(cell.key, {"step": "bandwidth", "number": timed.number})
    _blame([timed], answer)
    return (math.nan if timed.failed() else float(answer["bandwidth"])), None


def _settle(timed: _Progress, machine: Machine) -> None:
    """Have the worker make one more call, and keep its results to be judged, of what has a number."""
    if timed.batches and not timed.failed():
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


def _line(
    timed: _Progress, x: Any, upstream: Any, machine: Machine, references: dict[int, References]
) -> ThroughputLine:
    subject = timed.subject
    if timed.failed():
        return unmeasured_line(subject.cell, subject.name, timed.why, timed.voids)
    if not timed.batches:
        return voided_line(subject, timed.voids)
    features = features_judged(subject.cell.case.configuration.feature_count)
    judged = accuracy(subject.cell, subject.name, (x, upstream), timed.settled, features, references)
    evidence = Evidence(
        tensor=tensor_bytes(subject.cell.case.configuration),
        cache=machine.cache,
        reads=[(first, second) for first, second in timed.settled["reads"]],
        missing=judged.missing,
    )
    measured = Measured(
        batches=timed.batches,
        warmed=timed.warmed,
        statistics=timed.statistics,
        voids=timed.voids,
        accuracy=judged,
        evidence=replace(evidence, launch=_launch(timed, 2 * evidence.tensor, machine)),
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

"""Performing cells: the only way a cell ever runs.

One process per worker key, one cell in flight per process, as many processes alive as there are workers. The
end of a process's pipe is the crash of the cell in flight; the deadline is its time-out. Nothing here knows
of pytest, of verdicts, or of what a cell computes.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from conformance import wire
from conformance.case import Infer, Sgd, Train
from conformance.errors import WorkerError
from conformance.inputs import inputs_of, states_of
from conformance.outcome import Crashed, Outcome, Repeated, TimedOut, Unsupported, outcome_from
from conformance.plan import Cell, Offer, offer_from
from conformance.process import Process
from conformance.protocol import Configuration
from conformance.registry import WorkerKey

#: What happened to a cell: the start, then each step performed.
Outcomes: TypeAlias = tuple[Outcome, ...]

_TICK = 0.25
_TRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds that a worker may take."""

    start: float = 300.0
    cell: float = 180.0


class Workers:
    """The worker processes alive: at most `count`, at most one per key. A context: leaving it ends them.

    `folder` gets their output under `logs`, and under `caches` what they keep from run to run.
    """

    def __init__(self, count: int, folder: Path, limits: Limits | None = None) -> None:
        self.count = count
        self.folder = folder
        self.limits = limits or Limits()
        self.live: dict[WorkerKey, Process] = {}
        self.selector = selectors.DefaultSelector()
        self._numbers: dict[WorkerKey, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self.live):
            self.end(key)
        self.selector.close()

    def start(self, key: WorkerKey) -> Process:
        """Start the process of that key; its first answer is what it offers."""
        number = self._numbers.setdefault(key, len(self._numbers))
        process = Process(key, self.folder / "logs" / f"{key.name}-{number}.log", self.folder / "caches" / key.name)
        process.deadline = time.monotonic() + self.limits.start
        self.live[key] = process
        self.selector.register(process.answers, selectors.EVENT_READ, (process, "read"))
        return process

    def end(self, key: WorkerKey) -> None:
        """Kill the process of that key."""
        process = self.live.pop(key)
        self._stop_writing(process)
        self.selector.unregister(process.answers)
        process.kill()

    def ask(self, process: Process, message: Mapping[str, Any], seconds: float) -> None:
        """Send a request to a process, as fast as it takes it."""
        process.ask(message, seconds)
        process.write()
        if process.outbox:
            self.selector.register(process.requests, selectors.EVENT_WRITE, (process, "write"))

    def wait(self) -> list[tuple[Process, Any]]:
        """Return the answers that arrived, each with its process: a message, or how the process failed.

        Waits until something happens or a moment has passed.
        """
        happened: list[tuple[Process, Any]] = []
        ended: set[WorkerKey] = set()
        due = min((process.deadline for process in self.live.values()), default=float("inf"))
        for event, _ in self.selector.select(max(0.0, min(_TICK, due - time.monotonic()))):
            process, purpose = event.data
            if purpose == "write":
                process.write()
                if not process.outbox:
                    self._stop_writing(process)
            elif not process.read():
                ended.add(process.key)
        for key, process in self.live.items():
            while (message := wire.take(process.inbox)) is not None:
                happened.append((process, message))
            # A grandchild may hold the pipe open beyond its parent's death.
            if key in ended or (process.popen.poll() is not None and not process.inbox and not happened):
                happened.append((process, _Died()))
            elif time.monotonic() > process.deadline:
                happened.append((process, _Late()))
            process.bound_output()
        return happened

    def _stop_writing(self, process: Process) -> None:
        if process.requests in self.selector.get_map():
            self.selector.unregister(process.requests)


class _Died:
    """The process ended."""


class _Late:
    """The process did not answer in time."""


def survey(
    keys: Sequence[WorkerKey], configurations: Sequence[Configuration], workers: Workers
) -> Iterator[Offer | WorkerError]:
    """Yield what each worker offers for those configurations, or why it could not be asked.

    Processes stay alive for the cells to come, as far as the number of workers allows.
    """
    waiting = deque(keys)
    described: dict[WorkerKey, Mapping[str, Any]] = {}
    asked = [asdict(configuration) for configuration in configurations]
    open_keys: set[WorkerKey] = set()
    while waiting or open_keys:
        while waiting and len(open_keys) < workers.count:
            for idle in [key for key in workers.live if key not in open_keys][: len(workers.live) - workers.count + 1]:
                workers.end(idle)
            open_keys.add(waiting[0])
            workers.start(waiting.popleft())
        for process, answer in workers.wait():
            key = process.key
            if key not in open_keys:
                continue
            match answer:
                case {"offer": offer}:
                    described[key] = offer
                    request = {"do": "support", "configurations": asked}
                    workers.ask(process, request, workers.limits.start)
                    continue
                case {"failure": failure}:
                    yield WorkerError(worker=key.name, message=failure["trace"].strip(), missing=failure["missing"])
                case dict() as reasons:
                    process.deadline = float("inf")
                    open_keys.discard(key)
                    yield offer_from(key, described[key], reasons)
                    continue
                case _Died():
                    message = f"{process.ending()} while starting; its output ends: {process.output()}"
                    yield WorkerError(worker=key.name, message=message)
                case _:
                    message = f"did not start within {workers.limits.start:g} s; its output ends: {process.output()}"
                    yield WorkerError(worker=key.name, message=message)
            open_keys.discard(key)
            workers.end(key)


def converse(process: Process, message: Mapping[str, Any] | None, workers: Workers, seconds: float) -> Any:
    """Return what that process answers to one request, or to its start, while no other has anything to say.

    Where it ends or is late instead, it is ended, and the answer is the `Crashed` or `TimedOut` that this is.
    """
    if message is not None:
        workers.ask(process, message, seconds)
    while True:
        for one, answer in workers.wait():
            if one is not process:
                continue
            match answer:
                case _Died():
                    found: Outcome = Crashed(how=process.ending(), recurs=False, before=(), output=process.output())
                case _Late():
                    found = TimedOut(limit=seconds, output=process.output())
                case _:
                    process.deadline = float("inf")
                    return answer
            workers.end(process.key)
            return found


def execute(cells: Iterable[Cell], workers: Workers) -> Iterator[tuple[Cell, Outcomes]]:
    """Yield each cell with its outcomes, as they end.

    A cell whose process ends is tried once more, first thing in a fresh process: a crash that does not recur
    is a crash all the same, and says which cells had run before it.
    """
    queues: dict[WorkerKey, deque[_Job]] = {}
    for cell in cells:
        if cell.unsupported is None:
            queues.setdefault(cell.key, deque()).append(_Job(cell))
        else:
            yield cell, (Unsupported(reason=cell.unsupported),)
    busy: dict[WorkerKey, _Job] = {}
    while queues or busy:
        for key in _startable(queues, busy, workers):
            workers.start(key)
            busy[key] = _STARTING
        for key in [each for each in queues if each in workers.live and each not in busy]:
            _hand_over(queues[key], workers.live[key], workers, busy)
        for process, answer in workers.wait():
            if process.key not in workers.live or workers.live[process.key] is not process:
                continue
            done = _take(process, answer, busy, queues, workers)
            if done is not None:
                yield done
        for key in [key for key, queue in queues.items() if not queue and key not in busy]:
            del queues[key]


class _Job:
    """A cell on its way, with the outcomes of its steps so far."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.outcomes: list[Outcome] = []
        self.tries = 0
        self.first: tuple[str, list[str], str, list[Outcome]] | None = None


_STARTING: Any = object()


def _startable(
    queues: Mapping[WorkerKey, deque[_Job]], busy: Mapping[WorkerKey, _Job], workers: Workers
) -> list[WorkerKey]:
    """Return the keys whose process may start now, ending idle processes that have nothing left to do."""
    for key in [key for key in workers.live if key not in queues and key not in busy]:
        workers.end(key)
    free = workers.count - len(workers.live)
    return [key for key in queues if key not in workers.live and queues[key]][: max(0, free)]


def _hand_over(queue: deque[_Job], process: Process, workers: Workers, busy: dict[WorkerKey, _Job]) -> None:
    if not queue:
        return
    job = queue.popleft()
    job.tries += 1
    job.outcomes = []
    busy[process.key] = job
    workers.ask(process, request_of(job.cell), workers.limits.cell)


def _take(
    process: Process,
    answer: Any,
    busy: dict[WorkerKey, _Job],
    queues: Mapping[WorkerKey, deque[_Job]],
    workers: Workers,
) -> tuple[Cell, Outcomes] | None:
    """Return the cell that this answer ends, if it ends one."""
    key, job = process.key, busy.get(process.key)
    match answer:
        case {"offer": _}:
            process.deadline = float("inf")
            busy.pop(key, None)
        case {"done": True} if isinstance(job, _Job):
            process.deadline = float("inf")
            process.performed.append(job.cell.id)
            if "again" in answer:
                job.outcomes.append(Repeated(difference=answer["again"]))
            del busy[key]
            return _ended(job)
        case {"failure": failure}:
            return _lost(process, f"did not start again: {failure['message']}", busy, queues, workers)
        case dict() if isinstance(job, _Job):
            job.outcomes.append(outcome_from(answer))
        case _Late() if isinstance(job, _Job):
            outcome = TimedOut(limit=workers.limits.cell, output=process.output())
            del busy[key]
            workers.end(key)
            return job.cell, (*job.outcomes, outcome)
        case _:
            return _lost(process, process.ending(), busy, queues, workers)
    return None


def _lost(
    process: Process,
    how: str,
    busy: dict[WorkerKey, _Job],
    queues: Mapping[WorkerKey, deque[_Job]],
    workers: Workers,
) -> tuple[Cell, Outcomes] | None:
    """Blame the end of a process on its cell in flight; the first time, queue the cell again."""
    key, job = process.key, busy.pop(process.key, None)
    output = process.output()
    workers.end(key)
    if job is _STARTING:
        job = queues[key].popleft()
        job.tries = _TRIES
        how = f"its worker did not start again: {how}"
    if job is None:
        return None
    if job.tries < _TRIES:
        job.first = (how, process.performed, output, job.outcomes)
        queues[key].appendleft(job)
        return None
    crashed = Crashed(how=how, recurs=True, before=(), output=output)
    return job.cell, (*job.outcomes, crashed)


def _ended(job: _Job) -> tuple[Cell, Outcomes]:
    if job.first is None:
        return job.cell, tuple(job.outcomes)
    how, before, output, outcomes = job.first
    return job.cell, (*outcomes, Crashed(how=how, recurs=False, before=tuple(before), output=output))


def request_of(cell: Cell) -> dict[str, Any]:
    """Return what a worker is sent to perform the cell."""
    inputs = inputs_of(cell.case)
    steps = []
    states = () if cell.implementation.keeps_state else states_of(cell.case)
    for index, each in enumerate(inputs.steps):
        step: dict[str, Any] = {"kind": each.step.step}
        match each.step:
            case Train() | Infer():
                step |= {"input": each.input, "upstream": each.upstream}
            case Sgd(learning_rate=rate):
                step["learning_rate"] = rate
            case _:
                pass
        if states and isinstance(each.step, Infer):
            step["state"] = states[index]
        steps.append(step)
    return {
        "do": "cell",
        "implementation": cell.implementation.name,
        "mode": cell.mode,
        "device": cell.device,
        "again": cell.case.again,
        "configuration": asdict(cell.case.configuration),
        "initial": inputs.initial,
        "steps": steps,
    }

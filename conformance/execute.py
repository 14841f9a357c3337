"""Performing cells: the only way a cell ever runs.

One process per worker key, one cell in flight per process, as many processes alive as there are workers. A
process that has done all cells of one adapter goes on with another's that shares its interpreter and settings,
so that a library is imported, and what it compiled is kept, once for all of them. The
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
from conformance.errors import WorkerError
from conformance.outcome import Crashed, Outcome, Repeated, TimedOut, Unsupported, outcome_from
from conformance.plan import Cell, Offer, offer_from
from conformance.process import Process
from conformance.protocol import Configuration
from conformance.registry import WorkerKey
from conformance.request import request_of
from conformance.stages import Stages

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

    def __init__(self, count: int, folder: Path, limits: Limits | None = None, stages: Stages | None = None) -> None:
        self.stages = stages or Stages()
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
        process = Process(
            key, self.folder / "logs" / f"{key.name}-{number}.log", self.folder / "caches" / key.process[0]
        )
        process.deadline = time.monotonic() + self.limits.start
        self.live[key] = process
        self.selector.register(process.answers, selectors.EVENT_READ, (process, "read"))
        return process

    def follow(self, key: WorkerKey, following: WorkerKey) -> Process:
        """Let the process of that key go on with another adapter; its next answer is what that one offers."""
        process = self.live.pop(key)
        process.key = following
        self.live[following] = process
        request = {"do": "adapter", "adapter": following.adapter, "attribute": following.attribute}
        self.ask(process, request, self.limits.start)
        return process

    def end(self, key: WorkerKey) -> None:
        """Kill the process of that key."""
        process = self.live.pop(key)
        self._stop_writing(process)
        self.selector.unregister(process.answers)
        process.kill()

    def ask(self, process: Process, message: Mapping[str, Any], seconds: float) -> None:
        """Send a request to a process, as fast as it takes it."""
        self.send(process, wire.encode(message), seconds)

    def send(self, process: Process, frame: bytes, seconds: float) -> None:
        """Send an encoded request to a process, as fast as it takes it."""
        process.ask(frame, seconds)
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
        with self.stages.at("waiting for workers"):
            events = self.selector.select(max(0.0, min(_TICK, due - time.monotonic())))
        for event, _ in events:
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
    waiting = deque(sorted(keys, key=lambda each: each.process))
    described: dict[WorkerKey, Mapping[str, Any]] = {}
    asked = [asdict(configuration) for configuration in configurations]
    open_keys: dict[WorkerKey, Any] = {}
    while waiting or open_keys:
        while waiting and len(open_keys) < workers.count:
            key = waiting.popleft()
            open_keys[key] = _begin(key, [each for each in workers.live if each not in open_keys], workers)
        for process, answer in workers.wait():
            key = process.key
            if key not in open_keys or workers.live.get(key) is not process:
                continue
            match answer:
                case {"offer": offer, "imported": imported}:
                    workers.stages.imports.append(tuple(imported))
                    described[key] = offer
                    request = {"do": "support", "configurations": asked}
                    workers.ask(process, request, workers.limits.start)
                case {"failure": _} | _Died() | _Late() if open_keys[key] is _FOLLOWING:
                    # What was in the process before may be to blame: the adapter gets one of its own.
                    workers.end(key)
                    workers.start(key)
                    open_keys[key] = _STARTING
                case {"failure": _} | _Died() | _Late():
                    yield _not_started(process, answer, workers.limits)
                    del open_keys[key]
                    workers.end(key)
                case reasons:
                    process.deadline = float("inf")
                    del open_keys[key]
                    yield offer_from(key, described[key], reasons)


def _not_started(process: Process, answer: Any, limits: Limits) -> WorkerError:
    match answer:
        case {"failure": failure}:
            message, missing = failure["trace"].strip(), failure["missing"]
            return WorkerError(worker=process.key.name, message=message, missing=missing)
        case _Died():
            how = f"{process.ending()} while starting"
        case _:
            how = f"did not start within {limits.start:g} s"
    return WorkerError(worker=process.key.name, message=f"{how}; its output ends: {process.output()}")


def _begin(key: WorkerKey, idle: Sequence[WorkerKey], workers: Workers) -> Any:
    """Bring up the adapter of that key, in an idle process that it may share or in one of its own; return which."""
    sharing = [each for each in idle if each.process == key.process]
    if sharing:
        workers.follow(sharing[0], key)
        return _FOLLOWING
    for each in idle[: len(workers.live) - workers.count + 1]:
        workers.end(each)
    workers.start(key)
    return _STARTING


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
    done: list[tuple[Cell, Outcomes]] = []
    while queues or busy or done:
        while (key := _next(queues, busy, workers)) is not None:
            busy[key] = _begin(key, _idle(queues, busy, workers), workers)
        for key in _idle(queues, busy, workers):
            workers.end(key)
        for key in [each for each in queues if each in workers.live and each not in busy]:
            _hand_over(queues[key], workers.live[key], workers, busy)
        # The processes are at work again while what they did is judged, and their next requests are made.
        yield from _unhurried(done, workers)
        done = []
        for queue in (queue for key, queue in queues.items() if queue and key in busy):
            queue[0].prepare(workers.stages)
        for process, answer in workers.wait() if busy else ():
            if process.key not in workers.live or workers.live[process.key] is not process:
                continue
            ended = _take(process, answer, busy, queues, workers)
            if ended is not None:
                done.append(ended)
        for key in [key for key, queue in queues.items() if not queue and key not in busy]:
            del queues[key]


def _unhurried(done: Sequence[tuple[Cell, Outcomes]], workers: Workers) -> Iterator[tuple[Cell, Outcomes]]:
    """Yield what is done; what the caller makes of it is no process's time."""
    for each in done:
        began = time.monotonic()
        yield each
        for process in workers.live.values():
            process.deadline += time.monotonic() - began


class _Job:
    """A cell on its way, with the outcomes of its steps so far."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.outcomes: list[Outcome] = []
        self.tries = 0
        self.first: tuple[str, list[str], str, list[Outcome]] | None = None
        self._frame: bytes | None = None

    def prepare(self, stages: Stages) -> bytes:
        """Return the encoded request, made once."""
        if self._frame is None:
            with stages.at("making requests"):
                self._frame = wire.encode(request_of(self.cell))
        return self._frame

    def begin(self, stages: Stages) -> bytes:
        """Return the encoded request of one more try, and forget it."""
        self.tries, self.outcomes = self.tries + 1, []
        frame, self._frame = self.prepare(stages), None
        return frame


#: What a process is busy with while it brings up an adapter: in a process of its own, or after another.
_STARTING: Any = object()
_FOLLOWING: Any = object()


def _idle(queues: Mapping[WorkerKey, deque[_Job]], busy: Mapping[WorkerKey, _Job], workers: Workers) -> list[WorkerKey]:
    """Return the keys of the processes that have nothing left to do."""
    return [key for key in workers.live if key not in queues and key not in busy]


def _next(
    queues: Mapping[WorkerKey, deque[_Job]], busy: Mapping[WorkerKey, _Job], workers: Workers
) -> WorkerKey | None:
    """Return the key whose cells may begin now; None where there is none.

    One that an idle process can go on with comes first, and last what would be compiled beside a process that is
    compiling the same.
    """
    idle = {key.process for key in _idle(queues, busy, workers)}
    if len(workers.live) - len(idle) >= workers.count:
        return None
    alive = {key.process for key in workers.live} - idle
    waiting = [key for key in queues if key not in workers.live and queues[key]]
    return min(waiting, key=lambda each: (each.process not in idle, each.process in alive), default=None)


def _hand_over(queue: deque[_Job], process: Process, workers: Workers, busy: dict[WorkerKey, _Job]) -> None:
    if not queue:
        return
    job = queue.popleft()
    busy[process.key] = job
    workers.send(process, job.begin(workers.stages), workers.limits.cell)


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
        case {"offer": _, "imported": imported}:
            workers.stages.imports.append(tuple(imported))
            process.deadline = float("inf")
            busy.pop(key, None)
        case {"done": True, "calls": calls} if isinstance(job, _Job):
            workers.stages.calls.extend(calls)
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
    if job is _FOLLOWING:
        return None  # what was in the process before may be to blame: the adapter gets one of its own
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

"""Performing cells: the only way a cell ever runs.

One process per worker key, one cell in flight per process, as many processes at work as there are workers. A
process that has done all cells of one adapter goes on with another's that shares its interpreter and settings,
so that a library is imported, and what it compiled is kept, once for all of them. The
end of a process's pipe is the crash of the cell in flight; the deadline is its time-out. Nothing here knows
of pytest, of verdicts, or of what a cell computes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from conformance.execution.answer import AnswerError, compiling_of, outcome_of, stretches_of
from conformance.execution.bringing_up import FOLLOWING, STARTING, bring_up
from conformance.execution.pool import Broken, Died, Late, Workers
from conformance.execution.process import Process
from conformance.execution.request import request_of
from conformance.execution.time_profile import Stages
from conformance.execution.timeline import Lane
from conformance.operations import OPERATIONS
from conformance.outcome import Crashed, Outcome, Refused, Repeated, TimedOut, Unsupported
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell
from conformance.worker import wire

#: What happened to a cell: the start, then each step performed.
Outcomes: TypeAlias = tuple[Outcome, ...]

_TRIES = 2


def execute(cells: Iterable[Cell], workers: Workers) -> Iterator[tuple[Cell, Outcomes]]:
    """Yield each cell with its outcomes, as they end.

    A cell whose process ends is tried once more, first thing in a fresh process: a crash that does not recur
    is a crash all the same, and says which cells had run before it. Raises `SuiteError` where an adapter does not offer
    what was kept of it.
    """
    queues: dict[WorkerKey, deque[_Job]] = {}
    for cell in cells:
        if cell.unsupported is None:
            queues.setdefault(cell.key, deque()).append(_Job(cell))
        else:
            yield cell, (Unsupported(reason=cell.unsupported),)
    needed = {key.process for key in queues} | workers.awaited
    for key in [key for key in workers.asleep if key.process not in needed]:
        workers.end(key)
    busy: dict[WorkerKey, _Job] = {}
    done: list[tuple[Cell, Outcomes]] = []
    while queues or busy or done:
        _fill(queues, busy, workers)
        for key in [key for key in workers.awake if key in queues and key not in busy]:
            _hand_over(queues[key], workers.live[key], workers, busy)
        # The processes are at work again while what they did is judged, and their next requests are made.
        yield from _unhurried(done, workers)
        done = []
        # After that, since who judges may ask what else they performed.
        for key in [] if workers.kept else _idle(queues, busy, workers):
            workers.rest(key)
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
    """Yield the cells that are done, and move every deadline by the time that the caller spends on them."""
    for ended in done:
        began = time.monotonic()
        yield ended
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
        """Return the encoded request; it is made on the first call and kept."""
        if self._frame is None:
            with stages.at("making requests"):
                self._frame = wire.encode(request_of(self.cell))
        return self._frame

    def take(self, answer: Mapping[str, Any], lane: Lane) -> bool:
        """Take in an answer to the cell, and return whether it is the last. Raises `AnswerError`."""
        if "done" not in answer:
            if self._is_answered():
                raise AnswerError("more than it has steps")
            self.outcomes.append(outcome_of(answer, OPERATIONS[self.cell.case.op].quantities))
            return False
        if not self._is_answered():
            raise AnswerError("it ended before all of its steps")
        lane.calls.extend(stretches_of(answer.get("calls")))
        lane.cells += 1
        compiling = compiling_of(answer)
        if compiling is not None:
            lane.compiling = (lane.compiling or 0.0) + compiling
        if self.cell.case.again:
            if not isinstance(answer.get("again"), str):
                raise AnswerError("it does not tell whether the bits agree")
            self.outcomes.append(Repeated(difference=answer["again"]))
        return True

    def before_loss(self) -> list[Outcome]:
        """Return the outcomes before the step to blame for the loss of the process: the last, where all have one."""
        return self.outcomes[: len(self.cell.case.performed)]

    def _is_answered(self) -> bool:
        """Return whether the start and each step have an outcome; nothing follows a start that was refused."""
        refused = len(self.outcomes) == 1 and isinstance(self.outcomes[0], Refused)
        return refused or len(self.outcomes) == 1 + len(self.cell.case.performed)

    def begin(self, stages: Stages) -> bytes:
        """Count one more try, and return the encoded request without keeping it."""
        self.tries, self.outcomes = self.tries + 1, []
        frame, self._frame = self.prepare(stages), None
        return frame


def _idle(queues: Mapping[WorkerKey, deque[_Job]], busy: Mapping[WorkerKey, _Job], workers: Workers) -> list[WorkerKey]:
    """Return the keys of the processes awake that have nothing left to do."""
    return [key for key in workers.awake if key not in queues and key not in busy]


def _fill(queues: Mapping[WorkerKey, deque[_Job]], busy: dict[WorkerKey, Any], workers: Workers) -> None:
    """Wake or start processes until no adapter waits or all workers are busy."""
    while (key := _next(queues, busy, workers)) is not None:
        if not workers.wake(key):
            busy[key] = bring_up(key, _idle(queues, busy, workers), workers)


def _next(
    queues: Mapping[WorkerKey, deque[_Job]], busy: Mapping[WorkerKey, _Job], workers: Workers
) -> WorkerKey | None:
    """Return the key of the next adapter to bring up; None where none waits or all workers are busy.

    An adapter that an idle process can go on with comes first. One comes last if a busy process has the same
    interpreter and settings, since both would compile the same code.
    """
    unused, awake = _idle(queues, busy, workers), set(workers.awake)
    if len(awake) - len(unused) >= workers.count:
        return None
    idle = {key.process for key in unused}
    working = {key.process for key in awake} - idle
    waiting = [key for key in queues if key not in awake and queues[key]]
    return min(waiting, key=lambda key: (key.process not in idle, key.process in working), default=None)


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
        case dict() if isinstance(job, _Job):
            try:
                ends = job.take(answer, process.lane)
            except AnswerError as error:
                return _lost(process, f"sent what is no answer: {error}", busy, queues, workers)
            if ends:
                process.deadline = float("inf")
                process.performed.append(job.cell.id)
                del busy[key]
                return _ended(job)
        case {
            "offer": dict() as offer,
            "imported": [int() | float(), int() | float(), int() | float()] as imported,
        } if job in (STARTING, FOLLOWING):
            if workers.offers:
                workers.offers.check(key, offer)
            process.lane.imports.append(tuple(imported))
            process.deadline = float("inf")
            busy.pop(key, None)
        case {"failure": {"message": str(message)}} if job in (STARTING, FOLLOWING):
            return _lost(process, f"did not start again: {message}", busy, queues, workers)
        case Broken(how=how):
            return _lost(process, how, busy, queues, workers)
        case Late() if isinstance(job, _Job):
            outcome = TimedOut(limit=workers.limits.cell, output=process.output())
            del busy[key]
            workers.end(key)
            return job.cell, (*job.before_loss(), outcome)
        case Died() | Late():
            return _lost(process, process.ending(), busy, queues, workers)
        case _:
            return _lost(process, "sent what nobody asked for", busy, queues, workers)
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
    if job is FOLLOWING:
        # What was in the process before may be to blame: the adapter gets one of its own.
        workers.start(key)
        busy[key] = STARTING
        return None
    if job is STARTING:
        job = queues[key].popleft()
        job.tries = _TRIES
        how = f"its worker did not start again: {how}"
    if job is None:
        return None
    if job.tries < _TRIES:
        job.first = (how, process.performed, output, job.before_loss())
        queues[key].appendleft(job)
        return None
    crashed = Crashed(how=how, recurs=True, before=(), output=output)
    return job.cell, (*job.before_loss(), crashed)


def _ended(job: _Job) -> tuple[Cell, Outcomes]:
    if job.first is None:
        return job.cell, tuple(job.outcomes)
    how, before, output, outcomes = job.first
    return job.cell, (*outcomes, Crashed(how=how, recurs=False, before=tuple(before), output=output))

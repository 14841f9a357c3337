"""The worker processes alive: started, followed by other adapters, put to sleep, written to, waited for, ended."""

from __future__ import annotations

import itertools
import selectors
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from conformance.execution import strays
from conformance.execution.kept_offers import Offers
from conformance.execution.memory import free_share
from conformance.execution.process import Process
from conformance.execution.time_profile import WAITING, Stages
from conformance.planning.discovery import ProcessIdentity, WorkerKey
from conformance.worker import wire
from conformance.worker.conditions import cores

_TICK = 0.25
#: As long as this share of memory is free, processes that later cells need stay alive; asked every so many seconds, since an
#: answer takes a millisecond.
_ROOM, _ROOM_TICK = 0.5, 2.0
#: The cells before a failure that are told, and before a crash after `Workers.forget`.
_BLAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker may take: seconds to import and to answer, and bytes of resident memory."""

    start: float = 180.0
    cell: float = 180.0
    #: Resident, since JAX and TensorFlow reserve far more than they use.
    memory: int = 16 * 2**30


class Workers:
    """The worker processes alive: at most `count` at work, at most one per key. A context: leaving it ends them.

    `folder` gets their output under `logs`, and under `caches` what they keep from run to run. `kept` processes stay
    alive when they have nothing left to do, for cells that come later. `offers` are kept from earlier runs.

    A process that has nothing left to do, and that `awaited` says is needed later, falls asleep: it stays alive with its
    library imported, counts for nothing, and is ended where memory gets short.
    """

    def __init__(
        self,
        count: int,
        folder: Path,
        limits: Limits | None = None,
        stages: Stages | None = None,
        *,
        kept: bool = False,
        offers: Offers | None = None,
    ) -> None:
        self.stages = stages or Stages()
        self.kept = kept
        self.offers = offers
        self.count = count
        self.folder = folder
        self.limits = limits or Limits()
        self.live: dict[WorkerKey, Process] = {}
        self.asleep: set[WorkerKey] = set()
        #: The processes that cells to come need, as `WorkerKey.process` tells them apart.
        self.awaited: AbstractSet[ProcessIdentity] = frozenset()
        self.selector = selectors.DefaultSelector()
        #: What workers left behind and could not be ended.
        self.left: list[str] = []
        self._mark = uuid.uuid4().hex
        self._started = itertools.count()
        self._watch: subprocess.Popen[bytes] | None = None
        #: Where the processes have their temporary files: what a library forgets there goes with the last of them.
        self._temporary = ""
        self._numbers: dict[WorkerKey, int] = {}
        self._looks = self._room_looks = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_all()
        self.selector.close()
        if self._watch is not None:
            self._watch.communicate()

    def start(self, key: WorkerKey) -> Process:
        """Start the process of that key; its first answer is what it offers."""
        number = self._numbers.setdefault(key, len(self._numbers))
        if self._watch is None:
            self._temporary = tempfile.mkdtemp(prefix="conformance-")
            self._watch = _watch(self._mark, self._temporary)
        log = self.folder / "logs" / f"{key.name}-{number}.log"
        mark, lane = f"{self._mark}.{next(self._started)}.", self.stages.lane(key.process[0])
        caches = self.folder / "caches" / key.process[0]
        process = Process(key, log, caches, mark, lane, temporary=self._temporary)
        process.deadline = time.monotonic() + self.limits.start
        self.live[key] = process
        self.selector.register(process.answers, selectors.EVENT_READ, (process, "read"))
        return process

    @property
    def awake(self) -> list[WorkerKey]:
        """The keys of the processes alive that are not asleep."""
        return [key for key in self.live if key not in self.asleep]

    def rest(self, key: WorkerKey) -> None:
        """Let the process of that key, which has nothing left to do, fall asleep where it is awaited, or else end it."""
        if key.process in self.awaited and free_share() > _ROOM:
            self.asleep.add(key)
            self.live[key].lane.ended = time.monotonic()
        else:
            self.end(key)

    def wake(self, key: WorkerKey) -> bool:
        """Return whether the process of that key was asleep; it is awake then. One that ended in its sleep was not."""
        if key not in self.asleep:
            return False
        if self.live[key].popen.poll() is not None:
            self.end(key)
            return False
        self.asleep.remove(key)
        self.live[key].lane = self.stages.lane(key.process[0])
        return True

    def follow(self, key: WorkerKey, following: WorkerKey) -> Process:
        """Let the process of that key go on with another adapter; its next answer is what that one offers."""
        process = self.live.pop(key)
        process.key = following
        self.live[following] = process
        request = {"do": "adapter", "adapter": following.adapter, "attribute": following.attribute}
        self.ask(process, request, self.limits.start)
        return process

    def end(self, key: WorkerKey) -> None:
        """Kill the process of that key, and what it left behind."""
        process = self.live.pop(key)
        if key in self.asleep:
            self.asleep.remove(key)
        else:
            process.lane.ended = time.monotonic()
        self._stop_writing(process)
        self.selector.unregister(process.answers)
        # Of its children those that dropped the mark are found by their parent alone, as long as it lives.
        known = strays.strays(process.mark)
        process.kill()
        self.left += [f"{left}, left behind by {key.name}" for left in strays.end(process.mark, known)]

    def end_all(self) -> None:
        """Kill every process, whatever it is at."""
        for key in list(self.live):
            self.end(key)

    def performed_before(self, cell: str) -> tuple[str, ...]:
        """Return the last cells that a process alive performed before that one; none where no process alive did."""
        for process in self.live.values():
            if cell in process.performed:
                before = process.performed[: process.performed.index(cell)]
                return tuple(before[-_BLAMED:])
        return ()

    def forget(self) -> None:
        """Drop what is known of the cells performed so far, so that a search of hours needs no more memory."""
        self.stages = Stages()
        for process in self.live.values():
            process.lane = self.stages.lane(process.key.process[0])
            del process.performed[:-_BLAMED]

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
        began = time.monotonic()
        timeout = max(0.0, min(_TICK, due - began))
        with self.stages.at(WAITING):
            events = self.selector.select(timeout)
        self._forgive(time.monotonic() - began - timeout)
        for event, _ in events:
            process, purpose = event.data
            if purpose == "write":
                process.write()
                if not process.outbox:
                    self._stop_writing(process)
            elif not process.read():
                ended.add(process.key)
        # What shows in no pipe is looked for now and then.
        looks = time.monotonic() >= self._looks
        if looks:
            self._looks = time.monotonic() + _TICK
            self._look_after_sleepers()
        for key in [*self.awake, *(ended & self.asleep)]:
            process = self.live[key]
            heard = self._heard(process, ended=key in ended, looks=looks, quiet=not happened)
            happened += ((process, message) for message in heard)
        return happened

    def _heard(self, process: Process, *, ended: bool, looks: bool, quiet: bool) -> Iterator[Any]:
        """Yield what a process sent, and how it failed if it did; `quiet`: no other one sent anything."""
        try:
            while (message := wire.take(process.inbox)) is not None:
                quiet = False
                yield message
        except wire.FrameError as error:
            yield Broken(how=f"sent {error}")
            return
        held = process.memory() if looks else 0
        # A grandchild may hold the pipe open beyond its parent's death.
        if ended or (looks and process.popen.poll() is not None and not process.inbox and quiet):
            yield Died()
        elif held > self.limits.memory:
            limit = f"the limit of {self.limits.memory / 2**30:.3g} GiB"
            yield Broken(how=f"held {held / 2**30:.3g} GiB of memory, over {limit}")
        elif time.monotonic() > process.deadline:
            yield Late()
        if looks:
            process.bound_output()

    def _look_after_sleepers(self) -> None:
        """Bound what they print, and end the oldest of them until memory is free, now and then."""
        if not self.asleep or time.monotonic() < self._room_looks:
            return
        self._room_looks = time.monotonic() + _ROOM_TICK
        for key in self.asleep:
            self.live[key].bound_output()
        while self.asleep and free_share() <= _ROOM:
            self.end(next(key for key in self.live if key in self.asleep))

    def _forgive(self, late: float) -> None:
        """Move every deadline by the time for which this process itself was stopped, and read nothing."""
        if late > _TICK:
            for process in self.live.values():
                process.deadline += late

    def _stop_writing(self, process: Process) -> None:
        if process.requests in self.selector.get_map():
            self.selector.unregister(process.requests)


def _watch(mark: str, temporary: str) -> subprocess.Popen[bytes]:
    """Start what ends the strays of that mark and removes the folder when this process has ended, in whatever way."""
    command = [sys.executable, "-I", "-S", strays.__file__, mark, temporary]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True)


class Died:
    """The process ended."""


class Late:
    """The process did not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The process did what ends it, in words that follow its name."""

    how: str


def usual_count() -> int:
    """Return how many processes a run has at work unless a person says it: one waits while its last cell is judged."""
    return cores() + 1

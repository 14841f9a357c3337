"""The scheduler of a cluster as a run sees it: the Dask workers there, tasks that go out, and answers as they arrive."""

from __future__ import annotations

import logging
import queue
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from conformance.cluster import tasks
from conformance.cluster.suite import difference, suite
from conformance.errors import SuiteError, UsageError

#: Seconds within which a scheduler answers.
_CONNECTING = 15.0
#: Seconds after which the Dask workers are asked for again while nothing arrives.
_TICK = 1.0
_GONE = "the scheduler is gone; --resume completes the run"

Task = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What became of a task: its answer, or None where the Dask workers that had it were lost."""

    name: str
    answer: bytes | None


class Connection:
    """A connected client. Tasks are told apart by their names, which must differ."""

    def __init__(self, client: Client, address: str) -> None:
        self._client, self.address = client, address
        self._futures: dict[str, Future] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._workers: dict[str, dict[str, float]] = {}
        self._stale = 0.0

    def workers(self) -> dict[str, dict[str, float]]:
        """Return the resources of each Dask worker that there is, by its address: as of a moment ago."""
        if time.monotonic() >= self._stale:
            # Of 1,000 workers the answer has megabytes. Asked of the scheduler itself: what `Client.scheduler_info` returns
            # is replaced by an answer without workers, which the client asks for every few seconds for itself.
            try:
                listed = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"]
            except (OSError, AttributeError) as error:
                raise SuiteError(f"{self.address}: {_GONE}") from error
            self._workers = {address: dict(about.get("resources") or {}) for address, about in sorted(listed.items())}
            self._stale = time.monotonic() + _TICK
        return self._workers

    def check_suites(self) -> None:
        """Raise `UsageError` where a Dask worker has another suite than this, or none."""
        for address, theirs in sorted(self._client.run(tasks.introduce, on_error="return").items()):
            if isinstance(theirs, OSError):
                continue  # it was lost while it was asked, as it may be at any time
            if isinstance(theirs, Exception):
                raise UsageError(f"{address}: the suite does not answer there: {type(theirs).__name__}: {theirs}")
            told = difference(theirs, suite())
            if told:
                raise UsageError(f"{address}: {told}")

    def environments(self, names: Sequence[str], addresses: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return which of the environments of those names each of the Dask workers has; one that is lost has none."""
        asked = self._client.run(tasks.environments_here, list(names), workers=list(addresses), on_error="return")
        return {address: frozenset(told) for address, told in asked.items() if not isinstance(told, Exception)}

    def send(
        self,
        task: Task,
        raw: bytes,
        needs: Mapping[str, float],
        preferred: str | None = None,
        among: Collection[str] | None = None,
    ) -> str:
        """Send bytes to one of our own tasks, and return its name.

        The preferred Dask worker gets it if it lives, and where it does not, any that has what is needed. Where `among`
        names some, these alone may get it.
        """
        name = f"conformance-{task.__name__}-{uuid.uuid4().hex}"
        where: dict[str, Any] = {}
        if among is not None:
            where = {"workers": sorted(among), "allow_other_workers": False}
        elif preferred is not None:
            where = {"workers": [preferred], "allow_other_workers": True}
        future = self._client.submit(task, raw, key=name, resources=dict(needs), pure=False, **where)
        self._futures[name] = future
        future.add_done_callback(lambda _: self._ended.put(name))
        return name

    def arrived(self) -> Arrived | None:
        """Return the next answer; None where a moment passes without one. Raises `SuiteError`."""
        try:
            name = self._ended.get(timeout=_TICK)
        except queue.Empty:
            if self._client.status != "running":
                raise SuiteError(f"{self.address}: {_GONE}") from None
            return None
        future = self._futures.pop(name, None)
        if future is None:
            return Arrived(name=name, answer=None)
        if future.cancelled():
            # Not by this run, which forgets what it cancels: the client lost the scheduler.
            raise SuiteError(f"{self.address}: {_GONE}")
        try:
            return Arrived(name=name, answer=future.result())
        except KilledWorker:
            return Arrived(name=name, answer=None)
        except Exception as error:
            raise SuiteError(f"{self.address}: a task failed: {type(error).__name__}: {error}") from error

    def cancel(self) -> None:
        """Cancel every task that has not ended; one that a Dask worker has begun goes on there, and tells nobody."""
        futures, self._futures = list(self._futures.values()), {}
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)


@contextmanager
def connected(address: str) -> Iterator[Connection]:
    """Have a connection to the scheduler at that address. Raises `UsageError` where none answers.

    Whatever Dask's own configuration says of TLS is in force: `distributed.comm.tls`.
    """
    # What it logs of workers that come and go is no news to whoever runs cells; what ends a run is told in one line.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=_CONNECTING, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        first = str(error).partition("\n")[0][:200]
        raise UsageError(
            f"--scheduler {address[:80]}: no scheduler answers: {first or type(error).__name__}"
        ) from error
    with client:
        yield Connection(client, address)

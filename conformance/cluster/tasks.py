"""What a Dask worker does for a run: tells what its frameworks offer, and performs and judges batches of cells.

The frameworks run in child processes, which stay alive for the next batch, so that a crash costs one of them and never the
Dask worker. A Dask worker performs one batch at a time. Its configuration (https://docs.dask.org/en/stable/configuration.html)
names the interpreters of its groups under `conformance.python`, under `conformance.environments` the folder of those that a
regression check builds, and under `conformance.adapters` whatever it runs beside the adapters that are shipped or installed
there.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
from distributed import get_worker

from conformance.cluster.batch import Kept, performed
from conformance.cluster.messages import Answers, Bounds, Failure, Question, Reply, SentBatch, Wanted, taken, written
from conformance.cluster.suite import difference, resource_of, suite
from conformance.errors import ConformanceError, UsageError, WorkerError
from conformance.execution.kept_offers import Answered, KeptOffers
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.planning.discovery import WorkerKey, keys, limited, one_thread
from conformance.planning.plan import Offer
from conformance.reference.expected import References
from conformance.run.programs import python_of
from conformance.spec.causes import catalogue
from conformance.spec.divergences import Listed, load_divergences
from conformance.spec.locations import spec_folder
from conformance.worker.native import configuration_from

#: Processes that stay alive between batches: each holds a framework in memory.
_KEPT_PROCESSES = 4
#: Seconds without a batch after which they are ended.
_IDLE = 120.0
_MAKING = threading.Lock()
#: The key of the configuration under which the folder of environments stands.
_ENVIRONMENTS = "conformance.environments"


def introduce() -> str:
    """Return which suite this Dask worker has."""
    return suite()


def environments_here(names: Iterable[str]) -> list[str]:
    """Return which of the environments of those names this Dask worker has."""
    return [name for name in names if python_of(_home(name)).is_file()]


def describe(raw: bytes) -> bytes:
    """Answer a question as bytes, in a Dask task."""
    return answer_to(raw, bench_of_worker)


def perform(raw: bytes) -> bytes:
    """Perform and judge a batch that came as bytes, in a Dask task."""
    return reply_to(raw, bench_of_worker)


def answer_to(raw: object, bench_here: Callable[[], Bench]) -> bytes:
    """Return the answer to a question; the bench is asked for once it is one."""
    try:
        question = taken(raw, Question)
        check_suite(question.suite)
        bench = bench_here()
        with bench.at_work(question.bounds) as workers:
            return written(_answers(question, bench, workers))
    except ConformanceError as error:
        return written(Answers(refused=str(error)))


def reply_to(raw: object, bench_here: Callable[[], Bench]) -> bytes:
    """Return what becomes of a batch; the bench is asked for once it is one."""
    try:
        batch = taken(raw, SentBatch)
        check_suite(batch.suite)
        bench = bench_here()
        key = worker_of(batch.promise.worker, bench.keys)
        with bench.at_work(batch.bounds) as workers:
            kept = Kept(divergences=bench.divergences, references=bench.references, offered=bench.offered)
            cells = tuple(performed(batch, key, workers, kept))
            left = tuple(workers.left)
            workers.left.clear()
        return written(Reply(machine=socket.gethostname(), cells=cells, left=left))
    except ConformanceError as error:
        return written(Reply(refused=str(error)))


class Bench:
    """What a Dask worker keeps from batch to batch."""

    def __init__(self, folder: Path, listed: Sequence[WorkerKey]) -> None:
        self.keys = listed
        self.references = References()
        #: What each worker offered when its process started.
        self.offered: dict[WorkerKey, Mapping[str, Any]] = {}
        self._folder = folder
        self._lock = threading.Lock()
        self._workers: Workers | None = None
        self._idle: threading.Timer | None = None

    @functools.cached_property
    def divergences(self) -> Sequence[Listed]:
        """The known divergences; their witnesses may be cases that this Dask worker never sees."""
        return load_divergences(spec_folder() / "divergences.yaml", [], catalogue())

    @contextlib.contextmanager
    def at_work(self, bounds: Bounds) -> Iterator[Workers]:
        """Have the child processes for oneself."""
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            if self._workers is None:
                self._workers = Workers(_KEPT_PROCESSES, self._folder, kept=True)
            workers = self._workers
            for key in [key for key, process in workers.live.items() if process.popen.poll() is not None]:
                workers.end(key)  # it ended between two batches, for which no cell is to blame
            workers.limits = Limits(start=bounds.start, cell=bounds.cell, memory=bounds.memory)
            try:
                yield workers
            except BaseException:
                workers.end_all()  # one may be at a cell that nobody waits for any more
                raise
            finally:
                workers.offers = None
                workers.forget()
                self._idle = threading.Timer(_IDLE, self.end_idle)
                self._idle.daemon = True
                self._idle.start()

    def close(self) -> None:
        """End the child processes for good."""
        if self._idle is not None:
            self._idle.cancel()
        if self._workers is not None:
            self._workers.__exit__(None, None, None)
            self._workers = None

    def end_idle(self) -> None:
        """End the child processes, unless a batch has begun meanwhile."""
        if self._workers is not None and self._lock.acquire(blocking=False):
            try:
                self._workers.end_all()
            finally:
                self._lock.release()


class _Asked:
    """The offers of a survey: kept in a folder, and taken down for the answer."""

    def __init__(self, kept: KeptOffers, offered: dict[WorkerKey, Mapping[str, Any]]) -> None:
        self._kept, self._offered = kept, offered
        self.answered: dict[str, Answered] = {}

    def get(self, key: WorkerKey) -> Answered | None:
        answered = self._kept.get(key)
        if answered is not None:
            self.answered[key.name] = answered
        return answered

    def keep(self, key: WorkerKey, answered: Answered) -> None:
        self.answered[key.name] = answered
        if isinstance(answered.offer, dict):
            self._offered[key] = answered.offer
        self._kept.keep(key, answered)

    def check(self, key: WorkerKey, offer: Mapping[str, Any]) -> None:
        self._offered[key] = offer
        self._kept.check(key, offer)


def _answers(question: Question, bench: Bench, workers: Workers) -> Answers:
    try:
        configurations = [configuration_from(values) for values in question.configurations]
    except (TypeError, ValueError) as error:
        raise UsageError(f"question: no configuration: {error}") from error
    asked = _Asked(KeptOffers(workers.folder / "offers", configurations), bench.offered)
    workers.offers = asked
    offers, failures = {}, {}
    for answer in survey([worker_of(wanted, bench.keys) for wanted in question.workers], configurations, workers):
        match answer:
            case Offer(key=key):
                offers[key.name] = asked.answered[key.name]
            case WorkerError(worker=name, message=message, missing=missing):
                failures[name] = Failure(message=message, missing=missing)
    return Answers(offers=offers, failures=failures)


def worker_of(wanted: Wanted, listed: Sequence[WorkerKey]) -> WorkerKey:
    """Return the worker of those names. Raises `UsageError` where this Dask worker has none."""
    key = _named(wanted, listed)
    if wanted.environment is not None:
        if not environments_here([wanted.environment]):
            raise UsageError(f"has no environment {wanted.environment} in {_ENVIRONMENTS}")
        key = replace(key, interpreter=str(python_of(_home(wanted.environment))))
    return one_thread(key) if wanted.single else key


def _named(wanted: Wanted, listed: Sequence[WorkerKey]) -> WorkerKey:
    for key in listed:
        if wanted.threads is not None and not key.limits:
            continue
        candidate = key if wanted.threads is None else limited(key, wanted.threads)
        if (candidate.name, key.file_name, key.attribute) == (wanted.name, wanted.adapter, wanted.attribute):
            return candidate
    raise UsageError(f"has no worker {wanted.name!r} of {wanted.adapter}:{wanted.attribute}")


def _home(name: str) -> Path:
    """Return the folder of the environment of that name; where no folder has any, none that is."""
    return Path(dask.config.get(_ENVIRONMENTS, None) or os.devnull) / name


def check_suite(theirs: str) -> None:
    """Raise `UsageError` where what asks has another suite."""
    told = difference(suite(), theirs)
    if told:
        raise UsageError(told)


def bench_of_worker() -> Bench:
    """Return the bench of this Dask worker, which may have several threads."""
    with _MAKING:
        return _only_bench()


@functools.cache
def _only_bench() -> Bench:
    folder = dask.config.get("conformance.folder", None)
    worker = get_worker()
    bench = Bench(Path(folder or worker.local_directory), workers_of(worker.state.total_resources))
    atexit.register(bench.close)
    return bench


def workers_of(resources: Mapping[str, float]) -> list[WorkerKey]:
    """Return the workers that a Dask worker of those resources has, with the interpreters of its configuration."""
    named = {resource_of(group): path for group, path in dask.config.get("conformance.python", {}).items()}
    groups = sorted({key.group for key in keys({}) if key.group is not None})
    interpreters = {
        group: named.get(resource_of(group), sys.executable) for group in groups if resource_of(group) in resources
    }
    shipped = [key for key in keys(interpreters) if key.group is None or key.group in interpreters]
    own = dask.config.get("conformance.adapters", [])
    return [*(keys(interpreters, own) if own else ()), *shipped]

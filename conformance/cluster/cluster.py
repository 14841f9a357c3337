"""A cluster as the performer of a run: it is asked what its frameworks offer, gets batches, and tells judged cells.

Judging happens where a cell is performed: its arrays never travel, and the run itself has nothing left to do but to
write records, so that it keeps up with many workers. The divergences are the same files on both sides, which the digest of
the suite proves; which of them a cell shows is worked out again here, where their lines are needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Self

import msgspec

from conformance.cluster import tasks
from conformance.cluster.connection import Arrived, Connection, Task, connected
from conformance.cluster.environments import Environments
from conformance.cluster.lanes import Lanes, able, resources_of
from conformance.cluster.messages import (
    Answers,
    Bounds,
    Promise,
    Question,
    Reply,
    Request,
    SentBatch,
    SentCell,
    ToldEntry,
    Wanted,
    narrowed,
    taken,
    written,
)
from conformance.cluster.suite import digest_of_texts, suite
from conformance.errors import SuiteError, UsageError, WorkerError
from conformance.execution.pool import Limits
from conformance.execution.time_profile import Stages
from conformance.outcome import Unsupported
from conformance.planning.batches import Batch, batches, within
from conformance.planning.costs import Costs
from conformance.planning.discovery import WorkerKey, holding, keys
from conformance.planning.offer import offer_from
from conformance.planning.plan import Cell, Offer, Selection
from conformance.protocol import Configuration
from conformance.run.entries import Entry, Judging
from conformance.run.performers import Doubt, Tried
from conformance.runfile.cause_text import cause_of
from conformance.runfile.numbers import finite

#: Seconds for which another Dask worker is waited for when the last that could do what is left is lost.
PATIENCE = 30.0


class Cluster(AbstractContextManager["Cluster"]):
    """The Dask workers of a scheduler; a context, inside which there is a connection."""

    def __init__(self, address: str, limits: Limits, environments: Mapping[str, str] | None = None) -> None:
        #: `environments`: as `Environments` has them.
        self._address = address
        self._named = environments
        self._bounds = Bounds(start=limits.start, cell=limits.cell, memory=limits.memory)
        self._stages = Stages()
        self._left: list[str] = []
        self._costs = Costs()
        #: What each worker told of itself.
        self._described: dict[WorkerKey, Mapping[str, Any]] = {}

    def __enter__(self) -> Self:
        self._context = connected(self._address)
        self._connection: Connection = self._context.__enter__()
        self._environments = Environments(self._named, self._connection)
        self._connection.check_suites()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.cancel()
        self._context.__exit__(kind, error, trace)

    @property
    def stages(self) -> Stages:
        """Where the time of the run itself goes."""
        return self._stages

    @property
    def left(self) -> Sequence[str]:
        """What was left behind on some machine and could not be ended."""
        return self._left

    def keys(self, adapters: Sequence[str], selection: Selection) -> tuple[Sequence[WorkerKey], Mapping[str, str]]:
        """Return the workers to ask, and the groups that are selected and that no Dask worker has the resource for."""
        listed = holding(keys({}, adapters), selection.implementations, adapters)
        everyone = self.workers().values()
        asked, missing = [], {}
        for key in (key for key in listed if self._environments.takes(key.group)):
            if any(able(has, resources_of(key)) for has in everyone):
                asked.append(replace(key, asked=key.group is not None or bool(adapters)))
            elif key.group is not None:
                missing[key.group] = self._environments.lacking(key.group)
        if not everyone:
            raise UsageError(f"--scheduler {self._address}: has no workers")
        return asked, missing

    def workers(self) -> dict[str, dict[str, float]]:
        """Return the resources of each Dask worker that there is, as far as it has what the run needs."""
        return self._environments.workers()

    def survey(
        self, keys: Sequence[WorkerKey], configurations: Sequence[Configuration]
    ) -> Iterator[Offer | WorkerError]:
        """Yield what each worker offers for those configurations, or why it could not be asked.

        Of each group one Dask worker is asked; every other must offer the same when it is given a batch.
        """
        by_group: dict[str | None, list[WorkerKey]] = {}
        for key in keys:
            by_group.setdefault(key.group, []).append(key)
        asked = tuple(finite(asdict(configuration)) for configuration in configurations)
        sent = {self._ask(listed, asked): listed for listed in by_group.values()}
        while sent:
            arrived = self._connection.arrived()
            if arrived is None or arrived.name not in sent:
                if not self.workers():
                    raise SuiteError(f"{self._address}: has lost all its workers")
                continue
            listed = sent.pop(arrived.name)
            if arrived.answer is None:
                yield from (WorkerError(worker=key.name, message="its Dask workers were lost") for key in listed)
                continue
            answers = taken(arrived.answer, Answers)
            if answers.refused:
                raise UsageError(f"{self._address}: a worker {answers.refused}")
            for key in listed:
                yield self._offer(key, answers, len(asked))

    def _ask(self, listed: Sequence[WorkerKey], configurations: tuple[dict[str, Any], ...]) -> str:
        """Send the question to the Dask workers of the group, to one with an accelerator where there is one."""
        question = Question(
            suite=suite(),
            workers=tuple(map(self._wanted, listed)),
            configurations=configurations,
            bounds=self._bounds,
        )
        best = resources_of(listed[0], "gpu")
        everyone = self.workers().values()
        needs = best if any(able(has, best) for has in everyone) else resources_of(listed[0])
        return self.send(tasks.describe, question, needs)

    def send(self, task: Task, request: Request, needs: Mapping[str, float], preferred: str | None = None) -> str:
        """Send a request to one of our own tasks, and return its name: to a Dask worker that has what it needs."""
        among = None
        if self._environments:
            among = [address for address, has in self.workers().items() if able(has, needs)]
        return self._connection.send(task, written(request), needs, preferred, among)

    def arrived(self) -> Arrived | None:
        """Return the next answer; None where a moment passes without one. Raises `SuiteError`."""
        return self._connection.arrived()

    def _offer(self, key: WorkerKey, answers: Answers, asked: int) -> Offer | WorkerError:
        answered, failure = answers.offers.get(key.name), answers.failures.get(key.name)
        if answered is None:
            message, missing = (failure.message, failure.missing) if failure else ("was not told of", None)
            return WorkerError(worker=key.name, message=message, missing=missing)
        try:
            offer = offer_from(key, answered.offer, answered.reasons, asked)
        except UsageError as error:
            return WorkerError(worker=key.name, message=f"{key.file_name}: {error}")
        self._described[key] = answered.offer
        return self._without_gpu(offer)

    def _without_gpu(self, offer: Offer) -> Offer:
        """Return the offer without cells on an accelerator where no Dask worker of its group has one to itself."""
        if any(able(has, resources_of(offer.key, "gpu")) for has in self.workers().values()):
            return offer
        only = (
            replace(offered, devices=tuple(device for device in offered.devices if device != "gpu"))
            for offered in offer.implementations
        )
        return replace(offer, implementations=tuple(only))

    def begin(self, costs: Costs) -> None:
        """Take in what the cells are expected to cost."""
        self._costs = costs

    def announce(self, later: Sequence[Cell]) -> None:
        """Take in nothing: Dask's workers keep their processes anyway."""

    def perform(self, cells: Sequence[Cell], judging: Judging) -> Iterator[Tried]:
        """Yield each cell after its first try, as the batches end."""
        for cell in cells:
            if cell.unsupported is not None:
                entry = judging.entry(cell, (Unsupported(reason=cell.unsupported),))
                yield Tried(entry=entry, doubt=None)
        able_to = [cell for cell in cells if cell.unsupported is None]
        slots = len(self.workers())
        for cell, told in self._told(batches(able_to, self._costs, slots), None):
            assert told is not None
            doubt = None
            if told.doubt is not None:
                doubt = Doubt(digest=told.doubt.digest, before=told.doubt.before)
            yield Tried(entry=_entry(cell, told, judging), doubt=doubt)

    def again(
        self, rounds: Iterable[Sequence[Cell]], judging: Judging, doubts: Mapping[str, Doubt]
    ) -> Iterator[tuple[Cell, Entry | None]]:
        """Yield each cell after a second try in a fresh process, with its entry; None where it gave the same again."""
        by_column: dict[tuple[WorkerKey, str], list[Cell]] = {}
        for cell in (cell for cells in rounds for cell in cells):
            by_column.setdefault((cell.key, cell.column), []).append(cell)
        again = [
            Batch(cells=tuple(part), cost=sum(map(self._costs.cost, part)))
            for cells in by_column.values()
            for part in within(cells)
        ]
        digests = {id_: doubt.digest for id_, doubt in doubts.items()}
        for cell, told in self._told(again, digests):
            yield cell, None if told is None else _entry(cell, told, judging)

    def _told(
        self, waiting: Sequence[Batch], digests: Mapping[str, str] | None
    ) -> Iterator[tuple[Cell, ToldEntry | None]]:
        """Yield what the Dask workers tell of each cell of the batches. Raises `UsageError` and `SuiteError`."""
        lanes = Lanes(waiting)
        sent: dict[str, tuple[str, Batch]] = {}
        lost: list[Batch] = []
        since = time.monotonic()
        try:
            while lanes or sent:
                workers = self.workers()
                lanes.left(workers)
                for address, batch in lanes.given(workers):
                    needs = resources_of(batch.key, batch.device)
                    name = self.send(tasks.perform, self._sent(batch, digests), needs, address)
                    sent[name] = (address, batch)
                arrived = self.arrived()
                if arrived is None or arrived.name not in sent:
                    stuck = [*lanes.impossible(workers.values()), *_impossible(sent, workers)]
                    since = since if stuck else time.monotonic()
                    if stuck and time.monotonic() - since > PATIENCE:
                        lost += stuck
                        break
                    continue
                since = time.monotonic()
                address, batch = sent.pop(arrived.name)
                lanes.ended(address)
                if arrived.answer is None:
                    lost.append(batch)
                    continue
                yield from self._cells(batch, taken(arrived.answer, Reply), address)
        finally:
            self._connection.cancel()
        if lost:
            first, count = lost[0].cells[0].id, sum(len(batch.cells) for batch in lost)
            raise SuiteError(
                f"{self._address}: lost {count} cells with the workers that had them, {first} first; --resume runs them"
            )

    def _sent(self, batch: Batch, digests: Mapping[str, str] | None) -> SentBatch:
        names = frozenset(cell.implementation.name for cell in batch.cells)
        places: dict[str, int] = {}
        cases: list[dict[str, Any]] = []
        for cell in batch.cells:
            if cell.case.id not in places:
                places[cell.case.id] = len(cases)
                cases.append(finite(cell.case.model_dump(exclude_defaults=True)))
        return SentBatch(
            suite=suite(),
            promise=self.promise(batch.key, names),
            cases=tuple(cases),
            cells=tuple(
                SentCell(
                    case=places[cell.case.id],
                    implementation=cell.implementation.name,
                    mode=cell.mode,
                    device=cell.device,
                )
                for cell in batch.cells
            ),
            bounds=self._bounds,
            digests=None if digests is None else {cell.id: digests[cell.id] for cell in batch.cells},
        )

    def promise(self, key: WorkerKey, implementations: frozenset[str]) -> Promise:
        """Return what a worker told of itself, as far as it is about those implementations."""
        described = self._described[key]
        return Promise(
            worker=self._wanted(key),
            offer=narrowed(described, implementations),
            sources=digest_of_texts(described["sources"]),
        )

    def _wanted(self, key: WorkerKey) -> Wanted:
        return Wanted(
            name=key.name,
            adapter=key.file_name,
            attribute=key.attribute,
            threads=key.threads,
            single=key.is_single,
            environment=self._environments.of(key.group),
        )

    def _cells(self, batch: Batch, reply: Reply, address: str) -> Iterator[tuple[Cell, ToldEntry | None]]:
        """Yield the cells of a reply. Raises `UsageError` where it is a refusal, `SuiteError` where it is of others."""
        if reply.refused:
            raise UsageError(f"{address}: {reply.refused}")
        self._left += [f"{left} on {reply.machine}" for left in reply.left]
        by_id = {cell.id: cell for cell in batch.cells}
        if sorted(told.cell for told in reply.cells) != sorted(by_id):
            raise SuiteError(f"{address}: told of other cells than it was sent")
        for told in reply.cells:
            entry = told.entry
            if entry is not None:
                record = msgspec.structs.replace(entry.record, machine=reply.machine)
                entry = msgspec.structs.replace(entry, record=record)
            yield by_id[told.cell], entry


def _entry(cell: Cell, told: ToldEntry, judging: Judging) -> Entry:
    explanations = [tuple(map(cause_of, alternatives)) for alternatives in told.explanations]
    return judging.entry_of(cell, told.record, explanations, ended=told.ended)


def _impossible(sent: Mapping[str, tuple[str, Batch]], workers: Mapping[str, Mapping[str, float]]) -> list[Batch]:
    """Return the batches that were sent and that no Dask worker which is left can perform."""
    return Lanes(batch for _, batch in sent.values()).impossible(workers.values())

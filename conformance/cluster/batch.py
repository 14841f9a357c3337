"""A batch as its cells again, and what becomes of them: performed and judged as a run in one place does it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.cluster.messages import SentBatch, Told, ToldDoubt, ToldEntry, narrowed
from conformance.cluster.suite import digest_of_texts
from conformance.errors import SpecErrors, UsageError
from conformance.execution.execute import execute
from conformance.execution.kept_offers import Answered
from conformance.execution.pool import Workers
from conformance.planning.discovery import WorkerKey
from conformance.planning.offer import offer_from
from conformance.planning.plan import Cell, Offer
from conformance.reference.expected import References
from conformance.run.entries import Entry, Judging
from conformance.run.performers import digest_of, is_doubtful
from conformance.runfile.lines import recorded_causes
from conformance.runfile.numbers import not_finite
from conformance.spec.case import Case
from conformance.spec.divergences import Listed
from conformance.spec.loader import case_of, load_clauses
from conformance.spec.locations import spec_folder

#: What of an offer must be as it was when the run was planned. Devices may differ between machines.
_PROMISED = ("library", "versions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept from batch to batch."""

    divergences: Sequence[Listed]
    references: References
    #: What each worker offered when its process started.
    offered: dict[WorkerKey, Mapping[str, Any]]


def performed(batch: SentBatch, key: WorkerKey, workers: Workers, kept: Kept) -> Iterator[Told]:
    """Yield what is to be told of each cell of the batch, as they end. Raises `UsageError`."""
    offer = offer_from(key, batch.offer, {}, 0)
    cells = _cells(batch, key, offer)
    judging = Judging(kept.divergences, {key.name: offer.versions}, workers.stages, kept.references)
    workers.offers = promised = _Promised(batch, kept)
    if batch.digests is not None:
        workers.end_all()
    if key in workers.live:
        # It started for another run, which may have been planned otherwise.
        promised.check(key, kept.offered[key])
    for cell, outcomes in execute(cells, workers):
        digest = functools.partial(digest_of, outcomes)
        if batch.digests is not None and batch.digests.get(cell.id) == digest():
            yield Told(cell=cell.id, entry=None)
            continue
        entry = judging.entry(cell, outcomes)
        doubt = None
        if is_doubtful(entry.record):
            doubt = ToldDoubt(digest=digest(), before=workers.performed_before(cell.id))
        yield Told(cell=cell.id, entry=_told(entry, doubt))
    if batch.digests is not None:
        workers.end_all()


def _told(entry: Entry, doubt: ToldDoubt | None) -> ToldEntry:
    return ToldEntry(
        record=entry.record,
        explanations=tuple(map(recorded_causes, entry.explanations)),
        ended=entry.ended,
        doubt=doubt,
    )


class _Promised:
    """What the worker of a batch offered when the run was planned, which it must offer again."""

    def __init__(self, batch: SentBatch, kept: Kept) -> None:
        self._batch, self._kept = batch, kept

    def get(self, key: WorkerKey) -> Answered | None:
        raise NotImplementedError(f"{key.name}: is asked before it is given cells")

    def keep(self, key: WorkerKey, answered: Answered) -> None: ...

    def check(self, key: WorkerKey, offer: Mapping[str, Any]) -> None:
        self._kept.offered[key] = offer
        told = other_than_promised(self._batch, key, offer)
        if told:
            raise UsageError(f"{key.name} has {told}")


def other_than_promised(batch: SentBatch, key: WorkerKey, offer: Mapping[str, Any]) -> str:
    """Return what else a worker that started offers than the batch was planned by; empty where it is the same."""
    promised: Mapping[str, Any] = batch.offer
    # What ran before in a shared process may have changed its settings.
    for part in (*_PROMISED, *(() if key.shared else ("settings",))):
        for name in sorted({*_mapping(promised[part]), *_mapping(offer[part])}):
            ours, theirs = _mapping(promised[part]).get(name), _mapping(offer[part]).get(name)
            if ours != theirs:
                return f"{name} {theirs}, and the run was planned by {ours}"
    if digest_of_texts(offer["sources"]) != batch.sources:
        return "another text of its adapter than the run"
    names = frozenset(cell.implementation for cell in batch.cells)
    if _without_devices(narrowed(offer, names)) != _without_devices(promised):
        return f"another profile of {', '.join(sorted(names))} than the run"
    return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {"library": value}


def _without_devices(offer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in described.items() if name != "devices"}
        for described in offer["implementations"]
    ]


def _cells(batch: SentBatch, key: WorkerKey, offer: Offer) -> list[Cell]:
    """Return the cells that the batch names, their cases checked as a file of a stranger's is. Raises `UsageError`."""
    offered = {implementation.name: implementation for implementation in offer.implementations}
    cases = [_case(raw, number) for number, raw in enumerate(batch.cases)]
    cells = []
    for sent in batch.cells:
        implementation = offered.get(sent.implementation)
        if sent.case >= len(cases) or implementation is None:
            raise UsageError(f"batch: cell {sent.case} of {sent.implementation}: is of no case or implementation of it")
        if (
            sent.mode not in implementation.modes
            or sent.device not in implementation.devices
            or implementation.op != cases[sent.case].op
        ):
            raise UsageError(
                f"batch: {sent.implementation} offers no {sent.mode} on {sent.device} of {cases[sent.case].op}"
            )
        cells.append(
            Cell(
                case=cases[sent.case],
                implementation=implementation,
                mode=sent.mode,
                device=sent.device,
                key=key,
                unsupported=None,
            )
        )
    if len({cell.id for cell in cells}) != len(cells):
        raise UsageError("batch: has a cell twice")
    return cells


@functools.cache
def _clauses() -> Mapping[str, str]:
    return load_clauses(spec_folder() / "semantics.md")


def _case(raw: dict[str, Any], number: int) -> Case:
    try:
        return case_of(not_finite(raw), _clauses(), f"case {number} of a batch")
    except SpecErrors as error:
        raise UsageError(str(error.errors[0])) from error

"""A batch as its cells again, and what becomes of them: performed and judged as a run in one place does it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.cluster.messages import SentBatch, Told, ToldDoubt, ToldEntry
from conformance.cluster.promises import Promises
from conformance.errors import SpecErrors, UsageError
from conformance.execution.execute import execute
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept from batch to batch."""

    divergences: Sequence[Listed]
    references: References
    #: What each worker offered when its process started.
    offered: dict[WorkerKey, Mapping[str, Any]]


def performed(batch: SentBatch, key: WorkerKey, workers: Workers, kept: Kept) -> Iterator[Told]:
    """Yield what is to be told of each cell of the batch, as they end. Raises `UsageError`."""
    offer = offer_from(key, batch.promise.offer, {}, 0)
    cells = _cells(batch, key, offer)
    judging = Judging(kept.divergences, {key.name: offer.versions}, workers.stages, kept.references)
    workers.offers = promises = Promises({key: batch.promise}, kept.offered)
    if batch.digests is not None:
        workers.end_all()
    if key in workers.live:
        promises.check_live(key)
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


def _cells(batch: SentBatch, key: WorkerKey, offer: Offer) -> list[Cell]:
    """Return the cells that the batch names, their cases checked as a file of a stranger's is. Raises `UsageError`."""
    offered = {implementation.name: implementation for implementation in offer.implementations}
    cases = [case_here(raw, number) for number, raw in enumerate(batch.cases)]
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


def case_here(raw: dict[str, Any], number: int) -> Case:
    """Return a case that arrived, checked as a file of a stranger's is. Raises `UsageError`."""
    try:
        return case_of(not_finite(raw), _clauses(), f"case {number} of what was sent")
    except SpecErrors as error:
        raise UsageError(str(error.errors[0])) from error

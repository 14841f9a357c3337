"""A cell with what happened in it, judged and on its way to the run file: wherever it was performed, it is made here."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from conformance.cause import Cause
from conformance.execution.execute import Outcomes
from conformance.execution.time_profile import Stages
from conformance.judging.judge import judge
from conformance.judging.judgement import Judgement
from conformance.planning.plan import Cell
from conformance.reference.expected import References
from conformance.runfile.lines import record_line
from conformance.runfile.structs import Record
from conformance.spec.divergences import Known, Listed, Site, in_force, known_causes, of_implementation, stale


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A judged cell on its way to the run file, with what the divergences say of it."""

    cell: Cell
    record: Record
    listed: Known
    stale: Sequence[Listed]
    #: Everything that is wrong with the cell, each by the causes that may be why.
    explanations: Sequence[tuple[Cause, ...]]
    #: Whether it was judged to its end, so that a divergence may be found stale by it.
    ended: bool


class Judging:
    """Makes entries, by the known divergences and the versions in each worker; keeps references for the cells to come."""

    def __init__(
        self,
        divergences: Sequence[Listed],
        versions: Mapping[str, Mapping[str, str]],
        stages: Stages,
        references: References | None = None,
    ) -> None:
        self._versions, self._references, self._stages = versions, references or References(), stages
        self._listed_of = functools.cache(functools.partial(of_implementation, divergences))

    def entry(self, cell: Cell, outcomes: Outcomes) -> Entry:
        """Return the entry of a cell and its outcomes."""
        started = time.monotonic()
        with self._stages.at("judging"):
            judgement = judge(cell, outcomes, self._references)
        with self._stages.at("recording"):
            explanations = explanations_of(judgement)
            ended = judgement.verdict.judged and not judgement.failures
            listed, old = self._held_against(cell, explanations, ended)
            record = record_line(cell, judgement, listed, old)
        record = msgspec.structs.replace(record, judging=round(time.monotonic() - started, 6))
        return Entry(cell=cell, record=record, listed=listed, stale=old, explanations=explanations, ended=ended)

    def entry_of(self, cell: Cell, record: Record, explanations: Sequence[tuple[Cause, ...]], *, ended: bool) -> Entry:
        """Return the entry of a cell that was judged elsewhere, by the same divergences."""
        listed, old = self._held_against(cell, explanations, ended)
        return Entry(cell=cell, record=record, listed=listed, stale=old, explanations=explanations, ended=ended)

    def _held_against(
        self, cell: Cell, explanations: Sequence[tuple[Cause, ...]], ended: bool
    ) -> tuple[Known, Sequence[Listed]]:
        """Return what the divergences say of a cell, and those that it no longer shows."""
        entries = in_force(self._listed_of(cell.implementation.name), site_of(cell), self._versions[cell.key.name])
        old = stale(entries, cell.case.id, explanations) if ended else []
        return known_causes(entries, cell.case.id, explanations), old


def site_of(cell: Cell) -> Site:
    """Return what the divergences are told of a cell."""
    return Site(
        case=cell.case.id,
        implementation=cell.implementation.name,
        mode=cell.mode,
        device=cell.device,
        dtype=cell.case.dtype,
    )


def explanations_of(judgement: Judgement) -> list[tuple[Cause, ...]]:
    """Return everything that is wrong with a cell, each by the causes that may be why."""
    diagnosed = [explanation.alternatives for explanation in judgement.diagnosis]
    return [*diagnosed, *((failure,) for failure in judgement.failures)]

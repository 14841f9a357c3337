"""The cells in full, in files that a case's page fetches when it is asked for that case.

Texts and quantities that recur in a file are held once and referred to by position. Of a cell with many steps
those that decide something are kept, and the rest counted: all of them are in the run file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from conformance.report.model import Report
from conformance.report.pool import Pool
from conformance.report.wording import STANDS, stand
from conformance.runfile.cause_text import Catalogue
from conformance.runfile.notes import disturbed
from conformance.runfile.numbers import finite
from conformance.runfile.observed import RecordedCell, diagnosis_of, reason_of, severity, shortened, worst_quantity
from conformance.runfile.structs import CaseLine, ListedDivergence, QuantityRecord, Record, StepRecord, WorstElement
from conformance.verdict import Verdict

#: A file ends after the case that brings it to so many cells.
CELLS = 400
#: A cell with at most so many steps shows them all.
_STEPS = 14
#: Of more, so many that do not agree, beside the first, the last and the worst.
_DISAGREEING = 8
_CODES = {verdict: code for code, verdict in enumerate(Verdict)}
_ENCODE = msgspec.msgpack.Encoder().encode
_STANDS = {name: code for code, name in enumerate(STANDS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Some cases in the order of their ids, with every cell of theirs."""

    #: The least id in it: a case is in the last shard whose first is not beyond it.
    first: str
    value: Any


def shards(report: Report, *, in_full: int | None = None) -> Iterator[Shard]:
    """Yield the shards; the order of ids is that of their code points.

    `in_full` is of how many cells the steps are kept, the worst first; None: of all.
    """
    brief = brief_cells(report.cells, in_full)
    cells_by_case = report.cells_by_case
    columns = {column.name: position for position, column in enumerate(report.matrix.columns)}
    cases = {case.id: case for case in report.cases}
    pending: list[tuple[CaseLine, Sequence[RecordedCell]]] = []
    held = 0
    for name in sorted(cells_by_case):
        pending.append((cases[name], cells_by_case[name]))
        held += len(cells_by_case[name])
        if held >= CELLS:
            yield _shard(pending, columns, report, brief)
            pending, held = [], 0
    if pending:
        yield _shard(pending, columns, report, brief)


def brief_cells(cells: Sequence[RecordedCell], in_full: int | None) -> frozenset[str]:
    """Return the ids of the cells whose steps are left out: all but the `in_full` worst."""
    if in_full is None or len(cells) <= in_full:
        return frozenset()
    worst_first = sorted(cells, key=lambda cell: cell.rank, reverse=True)
    return frozenset(cell.id for cell in worst_first[in_full:])


def _shard(
    cases: Sequence[tuple[CaseLine, Sequence[RecordedCell]]],
    columns: Mapping[str, int],
    report: Report,
    brief: Collection[str],
) -> Shard:
    texts, quantities = Pool(), Quantities()
    cells = [
        [position, columns[cell.column.name], *_cell(cell, report, texts, quantities, brief=cell.id in brief)]
        for position, (_, cells_of_case) in enumerate(cases)
        for cell in sorted(cells_of_case, key=lambda cell: columns[cell.column.name])
    ]
    value = {
        "cases": [finite(msgspec.to_builtins(case)) for case, _ in cases],
        "cells": cells,
        "quantities": quantities.values,
        "texts": texts.values,
    }
    return Shard(first=cases[0][0].id, value=value)


def _cell(cell: RecordedCell, report: Report, texts: Pool, quantities: Quantities, *, brief: bool) -> list[Any]:
    record = cell.record
    kept = [] if brief else _kept(record.steps)
    return [
        _CODES[cell.verdict],
        _STANDS[stand(cell)],
        shortened(cell.score),
        shortened(cell.seconds or 0.0),
        texts.position(cell.what),
        texts.position(diagnosis_of(cell)),
        texts.position(report.environment(cell)),
        cell.home,
        texts.position(cell.call.text if cell.call else ""),
        [_divergence(entry, texts) for entry in cell.divergence],
        _worst(record, cell.causes, quantities),
        texts.position(disturbed(record.first, cell.verdict) if record.first else ""),
        len(record.steps) - len(kept),
        [_step(step, cell.causes, texts, quantities) for step in kept],
    ]


def _divergence(entry: ListedDivergence, texts: Pool) -> list[int]:
    return [texts.position(text) for text in (entry.reason, entry.diagnosis, entry.upstream or "")]


def _worst(record: Record, causes: Catalogue, quantities: Quantities) -> list[Any] | None:
    worst = worst_quantity(record)
    if worst is None:
        return None
    step, quantity = worst
    return [step.number, step.kind, quantities.of(quantity, causes)]


def _step(step: StepRecord, causes: Catalogue, texts: Pool, quantities: Quantities) -> list[Any]:
    return [
        step.number,
        step.kind,
        _CODES[step.verdict],
        shortened(step.seconds),
        texts.position(step.message),
        step.inputs,
        quantities.of_step(step, causes),
    ]


class Quantities:
    """Quantities by position, each held once: most are those of another mode, to the last bit."""

    def __init__(self) -> None:
        self._written = Pool()
        self._positions: dict[bytes, int] = {}
        self._of_steps: dict[bytes, list[int]] = {}

    @property
    def values(self) -> list[Any]:
        """The quantities by their positions."""
        return self._written.values

    def of_step(self, step: StepRecord, causes: Catalogue) -> list[int]:
        """Return where the quantities of a step are."""
        recorded = _ENCODE(step.quantities)
        positions = self._of_steps.get(recorded)
        if positions is None:
            positions = self._of_steps[recorded] = [self.of(quantity, causes) for quantity in step.quantities]
        return positions

    def of(self, quantity: QuantityRecord, causes: Catalogue) -> int:
        """Return where a quantity is, adding it if it is new."""
        recorded = _ENCODE(quantity)
        position = self._positions.get(recorded)
        if position is None:
            position = self._positions[recorded] = self._added(quantity, causes)
        return position

    def _added(self, quantity: QuantityRecord, causes: Catalogue) -> int:
        worst = quantity.worst
        value = (
            quantity.quantity,
            _CODES[quantity.verdict],
            shortened(quantity.score),
            shortened(quantity.by_grade.get("D")),
            worst and (worst.index, worst.expected, worst.observed, shortened(worst.allowed)),
            quantity.fields,
            reason_of(quantity, causes),
            quantity.dtype,
            quantity.shape,
        )
        return self._written.position(value, (value, worst and _zeros(worst)))


def _zeros(worst: WorstElement) -> tuple[str, str] | None:
    """Return how a zero among both numbers is written: it and its negative are equal."""
    return None if worst.expected and worst.observed else (str(worst.expected), str(worst.observed))


def _kept(steps: Sequence[StepRecord]) -> list[StepRecord]:
    """Return the steps to show: all, or the first, the last, the worst, and the first that disagree."""
    if len(steps) <= _STEPS:
        return list(steps)
    disagreeing = [position for position, step in enumerate(steps) if not step.verdict.agrees]
    worst = max(range(len(steps)), key=lambda position: _badness(steps[position]))
    shown = {0, 1, len(steps) - 2, len(steps) - 1, worst, *disagreeing[:_DISAGREEING]}
    return [steps[position] for position in sorted(shown)]


def _badness(step: StepRecord) -> tuple[int, tuple[int, float]]:
    return step.verdict.severity, max(map(severity, step.quantities), default=(-1, -1.0))

"""The cells of runs, gathered in one pass over their records: of each what every page asks, and no more."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import msgspec

from conformance.runfile.cause_text import Catalogue
from conformance.runfile.observed import Column, RecordedCell, columns_in_order, in_order, library_of, what
from conformance.runfile.run import Run
from conformance.runfile.structs import CaseLine, Record

_Value = TypeVar("_Value")
_ENCODER = msgspec.json.Encoder()
_NONE: Mapping[str, str] = {}
#: Name of a column -> kind of step -> the seconds of every such step.
SecondsByKind: TypeAlias = Mapping[str, Mapping[str, "array[float]"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Some runs with their cells."""

    #: By their start.
    runs: tuple[Run, ...]
    #: By library and implementation.
    columns: tuple[Column, ...]
    #: In the order of the files.
    cells: tuple[RecordedCell, ...]
    step_seconds: SecondsByKind


def observed(runs: Sequence[Run], *, partial: bool = False) -> Observed:
    """Return the cells of those runs. Raises `UsageError` where they do not belong together, or did not end (unless `partial`)."""
    runs = tuple(in_order(runs, partial=partial))
    gathering = _Gathering()
    cells = tuple(cell for home, run in enumerate(runs) for cell in gathering.cells(run, home))
    columns = tuple(columns_in_order(runs, gathering.columns.values()))
    return Observed(runs=runs, columns=columns, cells=cells, step_seconds=gathering.step_seconds)


def cell_of(record: Record, case: CaseLine, column: Column, causes: Catalogue | None = None) -> RecordedCell:
    """Return one cell alone."""
    return _Gathering().cell(record, case, column, (record,), 0, 0, causes or {})


class _Gathering:
    """Cells being gathered. What recurs in most of them is held once."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}
        self.step_seconds: dict[str, dict[str, array[float]]] = {}
        self._shared: dict[Hashable, Any] = {}

    def cells(self, run: Run, home: int) -> Iterable[RecordedCell]:
        """Yield the cells of a run."""
        environments = {line.id: line for line in run.environments if line.failed is None}
        for position, record in enumerate(run.records):
            column = self.columns.get(record.column)
            if column is None:
                column = self.columns[record.column] = Column(
                    name=record.column,
                    implementation=record.implementation,
                    mode=record.mode,
                    device=record.device,
                    library=library_of(environments[record.environment], record.implementation),
                )
            yield self.cell(record, run.cases[record.case], column, run.records, position, home, run.header.causes)

    def cell(
        self,
        record: Record,
        case: CaseLine,
        column: Column,
        records: Sequence[Record],
        position: int,
        home: int,
        causes: Catalogue,
    ) -> RecordedCell:
        """Return the cell of a record, with its case and its column."""
        call = record.call
        fields, told = _fields_and_causes(record)
        return RecordedCell(
            case=case,
            column=column,
            environment=self._once(record.environment, record.environment),
            home=home,
            verdict=record.verdict,
            standing=record.standing,
            score=record.score,
            seconds=self._seconds(record, column),
            rung=record.grade,
            call=call and self._once((call.path, call.function, *call.keywords.items()), call),
            diagnosis=self._once(_ENCODER.encode(record.diagnosis), record.diagnosis) if record.diagnosis else (),
            divergence=self._once(record.divergence, record.divergence) if record.divergence else (),
            fields=self._once(fields, fields) if fields else (),
            observed=record.observed or _NONE,
            again=record.again and self._once(record.again, record.again),
            what=self._what(record, causes) if told or not record.verdict.agrees else "",
            causes=causes,
            records=records,
            position=position,
        )

    def _once(self, key: Hashable, value: _Value) -> _Value:
        """Return the value that was there first under that key."""
        first: _Value = self._shared.setdefault(key, value)
        return first

    def _what(self, record: Record, causes: Catalogue) -> str:
        text = what(record, causes)
        return self._once(text, text)

    def _seconds(self, record: Record, column: Column) -> float | None:
        """Note the seconds of each step, and return those of all."""
        timed = [(step.kind, step.seconds) for step in record.steps if step.seconds is not None]
        if not timed:
            return None
        by_kind = self.step_seconds.setdefault(column.name, {})
        for kind, seconds in timed:
            by_kind.setdefault(kind, array("d")).append(seconds)
        return sum(seconds for _, seconds in timed)


def _fields_and_causes(record: Record) -> tuple[tuple[str, ...], bool]:
    """Return the fields of a dialect that some quantity needs, by name, and whether anything is said of a right one."""
    fields: set[str] = set()
    told = bool(record.diagnosis)
    for step in record.steps:
        told = told or bool(step.message)
        for quantity in step.quantities:
            if quantity.fields:
                fields.update(quantity.fields)
            elif quantity.causes:
                told = True
    return (tuple(sorted(fields)), True) if fields else ((), told)

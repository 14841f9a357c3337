"""Cells as the records of one or more runs tell of them: columns, verdicts, worst elements, what went wrong in words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from conformance.errors import UsageError
from conformance.runfile.cause_text import Catalogue, diagnosis_text, reason_text
from conformance.runfile.numbers import Number, number, number_from
from conformance.runfile.run import Run
from conformance.runfile.structs import CaseLine, EnvironmentLine, Letter, QuantityRecord, Record, StepRecord
from conformance.verdict import Standing, Verdict

_SHOWN = 240
#: Where an object lay in memory: another place in every process, which is no other message.
_ADDRESS = re.compile(r"\b0x[0-9a-f]{8,16}\b")
_MODES = ("eager", "compiled", "xla")

#: Why an environment judged nothing; empty where it did.
Fault = Literal["", "not built", "not started"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One implementation in one mode on one device."""

    name: str
    implementation: str
    mode: str
    device: str
    #: With its version.
    library: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedCell:
    """One recorded cell."""

    id: str
    case: CaseLine
    column: Column
    environment: str
    verdict: Verdict
    standing: Standing
    record: Record
    #: The words of the causes that the record names.
    causes: Catalogue

    @property
    def grade(self) -> Letter:
        """Its grade on the stability ladder; empty where it is none, or the cell did not run to its end."""
        ran = self.verdict.agrees or self.verdict is Verdict.DEVIATES
        return self.record.grade if ran else ""

    @property
    def rank(self) -> tuple[int, int, float]:
        """The key by which cells are sorted, the worst last."""
        return self.standing.severity, *severity(self.record)


def in_order(runs: Sequence[Run], *, partial: bool) -> list[Run]:
    """Return the runs by their start. Raises `UsageError` where they do not belong together.

    That is: where one did not end, unless `partial`; where they ran different specs or share a cell. Runs of
    throughput, which have no cells, are left out unless there are no others.
    """
    if not runs:
        raise UsageError("no run file to report")
    runs = sorted(runs, key=lambda run: (run.header.started, run.path.name))
    files: dict[str, Run] = {}
    judging = [run for run in runs if not run.times] or runs
    for run in runs:
        if not run.complete and not partial:
            raise UsageError(
                f"{run.path}: holds {run.progress} and is no complete run; --partial shows it, marked as that"
            )
        if run.header.spec != runs[0].header.spec:
            specs = f"spec {run.header.spec}, and {runs[0].path} spec {runs[0].header.spec}"
            raise UsageError(f"{run.path}: ran {specs}: one report shows one spec")
        for record in run.records:
            first = files.setdefault(record.cell, run)
            if first is not run:
                raise UsageError(f"{run.path}: the cell {record.cell} is in {first.path} too")
    return judging


def columns_of(runs: Sequence[Run]) -> list[Column]:
    """Return the columns of every record, by library and implementation as the environments name them."""
    libraries: dict[str, int] = {}
    implementations: dict[str, int] = {}
    columns: dict[str, Column] = {}
    for run in runs:
        by_id = {environment.id: environment for environment in run.environments if environment.failed is None}
        for environment in by_id.values():
            libraries.setdefault(library_of(environment), len(libraries))
            for offer in environment.implementations:
                implementations.setdefault(offer.name, len(implementations))
        for record in run.records:
            if record.column not in columns:
                columns[record.column] = _column(record, by_id[record.environment])

    def order(column: Column) -> tuple[int, int, int, str, str]:
        mode = _MODES.index(column.mode) if column.mode in _MODES else len(_MODES)
        implementation = implementations.get(column.implementation, len(implementations))
        return libraries[column.library], implementation, mode, column.mode, column.device

    return sorted(columns.values(), key=order)


def cells_of(runs: Sequence[Run], columns: Sequence[Column]) -> tuple[RecordedCell, ...]:
    """Return every recorded cell, in the order of the files."""
    by_name = {column.name: column for column in columns}
    return tuple(_cell(record, run, by_name) for run in runs for record in run.records)


def fault_of(environment: EnvironmentLine) -> Fault:
    """Return why an environment judged nothing: one that was not built never got as far as an adapter."""
    if environment.failed is None:
        return ""
    return "not started" if environment.adapter else "not built"


def library_of(environment: EnvironmentLine) -> str:
    """Return the library of an environment, with its version."""
    return f"{environment.library} {environment.versions.get(environment.library, '')}".strip()


def severity(judged: Record | QuantityRecord) -> tuple[int, float]:
    """Return what records and quantities are sorted by, the worst last: verdict, then score, NaN as infinite."""
    score = number_from(judged.score)
    sortable = -1.0 if score is None else math.inf if math.isnan(score) else score
    return judged.verdict.severity, sortable


def worst_quantity(cell: RecordedCell) -> tuple[StepRecord, QuantityRecord] | None:
    """Return the step and the quantity that decided the verdict: worst verdict first, then highest score."""
    judged = [(step, quantity) for step in cell.record.steps for quantity in step.quantities]
    return max(judged, key=lambda pair: severity(pair[1]), default=None)


def diagnosis_of(cell: RecordedCell) -> str:
    """Return what explains the deviating quantities; empty where none deviates or nothing does."""
    return diagnosis_text(cell.record.diagnosis, cell.causes)


def reason_of(quantity: QuantityRecord, causes: Catalogue) -> str:
    """Return why a quantity is as it is; empty where nothing is said of it."""
    return reason_text(quantity, causes)


def what(cell: RecordedCell, *, weights: bool = True) -> str:
    """Return in one line what decided the verdict: the diagnosis, a message, a reason.

    Without `weights` numbers that nothing explains are called that alone, whatever they are made of.
    """
    return on_one_line(next(_accounts(cell, weights), ""))


def on_one_line(text: str) -> str:
    """Return a text on one line of limited length, without places in memory, which differ from process to process."""
    line = " ".join(_ADDRESS.sub("0x…", text).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def shortened(value: Number | None, digits: int = 4) -> Number | None:
    """Return a number with `digits` significant digits, in full where rounding would carry it across 1."""
    if not value or isinstance(value, str):
        return value
    rounded = float(f"{value:.{digits}g}")
    return number(value if (value > 1) != (rounded > 1) else rounded)


def shown(score: Number | None) -> str:
    """Return a score as a person reads it; nothing where there is none."""
    value = shortened(score, 3)
    if value is None or isinstance(value, str):
        return {"Infinity": "∞"}.get(value or "", value or "")
    return f"{value:g}"


def _accounts(cell: RecordedCell, weights: bool) -> Iterator[str]:
    if cell.record.diagnosis:
        yield diagnosis_text(cell.record.diagnosis, cell.causes, weights=weights)
    for step in cell.record.steps:
        if step.verdict is cell.verdict and step.message:
            yield step.message
    worst = worst_quantity(cell)
    if worst is None or worst[1].verdict is not cell.verdict:
        return
    step, quantity = worst
    if quantity.causes:
        yield f"{quantity.quantity} {reason_text(quantity, cell.causes, weights=weights)}"
    if quantity.fields:
        yield f"{quantity.quantity} as documented: {', '.join(quantity.fields)}"
    if not cell.verdict.agrees:
        yield f"{quantity.quantity} at {step.kind} is beyond its bound, and no single change explains it"


def _column(record: Record, environment: EnvironmentLine) -> Column:
    return Column(
        name=record.column,
        implementation=record.implementation,
        mode=record.mode,
        device=record.device,
        library=library_of(environment),
    )


def _cell(record: Record, run: Run, columns: Mapping[str, Column]) -> RecordedCell:
    return RecordedCell(
        id=record.cell,
        case=run.cases[record.case],
        column=columns[record.column],
        environment=record.environment,
        verdict=record.verdict,
        standing=record.standing,
        record=record,
        causes=run.header.causes,
    )

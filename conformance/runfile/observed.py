"""Cells as the records of one or more runs tell of them: columns, verdicts, worst elements, what went wrong in words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from conformance.errors import UsageError
from conformance.runfile.cause_text import Catalogue, diagnosis_text, reason_text
from conformance.runfile.numbers import Number, number, number_from
from conformance.runfile.run import Run
from conformance.runfile.structs import (
    Alternatives,
    CaseLine,
    EnvironmentLine,
    Letter,
    ListedDivergence,
    NativeCall,
    QuantityRecord,
    Record,
    StepRecord,
)
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


class RecordedCell(msgspec.Struct, frozen=True, kw_only=True, eq=False, gc=False):
    """One recorded cell: what pages ask of every cell. All else is in its record, which may have to be read again."""

    case: CaseLine
    column: Column
    environment: str
    #: Position of its run among those observed together.
    home: int
    verdict: Verdict
    standing: Standing
    score: Number | None
    #: Of all its steps together; None where none was timed.
    seconds: float | None
    #: The record's own grade, whether or not the cell ran to its end.
    rung: Letter
    call: NativeCall | None
    diagnosis: tuple[Alternatives, ...]
    divergence: tuple[ListedDivergence, ...]
    #: Of the documented dialect, by name: the fields without which some quantity would not fit.
    fields: tuple[str, ...]
    #: The dialect that the numbers show, by field.
    observed: Mapping[str, str]
    again: str | None
    #: In one line, what decided the verdict.
    what: str
    #: The words of the causes that the record names.
    causes: Catalogue
    #: The records of its run, and the position of its own among them.
    records: Sequence[Record]
    position: int

    @property
    def id(self) -> str:
        """Case and column."""
        return f"{self.case.id}::{self.column.name}"

    @property
    def record(self) -> Record:
        """All that was recorded of it."""
        return self.records[self.position]

    @property
    def grade(self) -> Letter:
        """Its grade on the stability ladder; empty where it is none, or the cell did not run to its end."""
        ran = self.verdict.agrees or self.verdict is Verdict.DEVIATES
        return self.rung if ran else ""

    @property
    def rank(self) -> tuple[int, int, float]:
        """The key by which cells are sorted, the worst last."""
        return self.standing.severity, *severity(self)


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
        for record in run.records if len(judging) > 1 else ():
            first = files.setdefault(record.cell, run)
            if first is not run:
                raise UsageError(f"{run.path}: the cell {record.cell} is in {first.path} too")
    return judging


def columns_in_order(runs: Iterable[Run], columns: Iterable[Column]) -> list[Column]:
    """Return the columns by library and implementation, as the environments of the runs name them."""
    libraries: dict[str, int] = {}
    implementations: dict[str, int] = {}
    for run in runs:
        for environment in run.environments:
            if environment.failed is None:
                for offer in environment.implementations:
                    libraries.setdefault(library_of(environment, offer.name), len(libraries))
                    implementations.setdefault(offer.name, len(implementations))

    def order(column: Column) -> tuple[int, int, int, str, str]:
        mode = _MODES.index(column.mode) if column.mode in _MODES else len(_MODES)
        implementation = implementations.get(column.implementation, len(implementations))
        return libraries[column.library], implementation, mode, column.mode, column.device

    return sorted(columns, key=order)


def fault_of(environment: EnvironmentLine) -> Fault:
    """Return why an environment judged nothing: one that was not built never got as far as an adapter."""
    if environment.failed is None:
        return ""
    return "not started" if environment.adapter else "not built"


def library_of(environment: EnvironmentLine, implementation: str = "") -> str:
    """Return the library of an environment or of an implementation in it, with its version.

    That of an implementation is the one that its name begins with, where the environment tells its version: several
    libraries may be asked in one process.
    """
    first = implementation.partition(".")[0]
    library = first if first in environment.versions else environment.library
    return f"{library} {environment.versions.get(library, '')}".strip()


def severity(judged: RecordedCell | QuantityRecord) -> tuple[int, float]:
    """Return what cells and quantities are sorted by, the worst last: verdict, then score, NaN as infinite."""
    score = judged.score
    if score.__class__ is not float:
        number_of_text = number_from(score)
        score = -1.0 if number_of_text is None else number_of_text
    return judged.verdict.severity, math.inf if score != score else score  # noqa: PLR0124 - of NaN alone


def worst_quantity(record: Record) -> tuple[StepRecord, QuantityRecord] | None:
    """Return the step and the quantity that decided the verdict: worst verdict first, then highest score."""
    worst: tuple[StepRecord, QuantityRecord] | None = None
    most = -1
    for step in record.steps:
        for quantity in step.quantities:
            rank = quantity.verdict.severity
            if rank > most or (rank == most and worst is not None and severity(quantity) > severity(worst[1])):
                worst, most = (step, quantity), rank
    return worst


def diagnosis_of(cell: RecordedCell) -> str:
    """Return what explains the deviating quantities; empty where none deviates or nothing does."""
    return diagnosis_text(cell.diagnosis, cell.causes) if cell.diagnosis else ""


def reason_of(quantity: QuantityRecord, causes: Catalogue) -> str:
    """Return why a quantity is as it is; empty where nothing is said of it."""
    return reason_text(quantity, causes)


def what(record: Record, causes: Catalogue, *, weights: bool = True) -> str:
    """Return in one line what decided the verdict: the diagnosis, a message, a reason.

    Without `weights` numbers that nothing explains are called that alone, whatever they are made of.
    """
    return on_one_line(next(_accounts(record, causes, weights), ""))


def on_one_line(text: str) -> str:
    """Return a text on one line of limited length, without places in memory, which differ from process to process."""
    line = " ".join(_ADDRESS.sub("0x…", text).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def shortened(value: Number | None, digits: int = 4) -> Number | None:
    """Return a number with `digits` significant digits, in full where rounding would carry it across 1."""
    if not value or isinstance(value, str):
        return value
    rounded = float(f"{value:.4g}" if digits == 4 else f"{value:.{digits}g}")
    chosen = value if (value > 1) != (rounded > 1) else rounded
    return chosen if math.isfinite(chosen) else number(chosen)


def shown(score: Number | None) -> str:
    """Return a score as a person reads it; nothing where there is none."""
    value = shortened(score, 3)
    if value is None or isinstance(value, str):
        return {"Infinity": "∞"}.get(value or "", value or "")
    return f"{value:g}"


def _accounts(record: Record, causes: Catalogue, weights: bool) -> Iterator[str]:
    if record.diagnosis:
        yield diagnosis_text(record.diagnosis, causes, weights=weights)
    for step in record.steps:
        if step.verdict is record.verdict and step.message:
            yield step.message
    worst = worst_quantity(record)
    if worst is None or worst[1].verdict is not record.verdict:
        return
    step, quantity = worst
    if quantity.causes:
        yield f"{quantity.quantity} {reason_text(quantity, causes, weights=weights)}"
    if quantity.fields:
        yield f"{quantity.quantity} as documented: {', '.join(quantity.fields)}"
    if not record.verdict.agrees:
        yield f"{quantity.quantity} at {step.kind} is beyond its bound, and no single change explains it"

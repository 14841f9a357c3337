"""Cells as the records of one or more runs tell of them: columns, verdicts, worst elements, what went wrong in words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from conformance.errors import UsageError
from conformance.runfile.run_file import Line, Run, number, number_from
from conformance.verdict import Standing, Verdict, standing

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
class Cell:
    """One recorded cell."""

    id: str
    case: Line
    column: Column
    environment: str
    verdict: Verdict
    standing: Standing
    record: Line

    @property
    def grade(self) -> str:
        """Its grade on the stability ladder; empty where it is none, or the cell did not run to its end."""
        ran = self.verdict.agrees or self.verdict is Verdict.DEVIATES
        return str(self.record.get("grade", "")) if ran else ""

    @property
    def rank(self) -> tuple[int, int, float]:
        """What it is sorted by where the worst comes last."""
        return self.standing.severity, *severity(self.record)


def in_order(runs: Sequence[Run], *, partial: bool) -> list[Run]:
    """Return the runs by their start. Raises `UsageError` where they do not belong together.

    That is: where one did not end, unless `partial`; where they ran different specs or share a cell. Runs of
    throughput are none of them where others are, since they have no cells.
    """
    if not runs:
        raise UsageError("no run file to report")
    runs = sorted(runs, key=lambda run: (run.header.get("started", ""), run.path.name))
    files: dict[str, Run] = {}
    judging = [run for run in runs if not run.times] or runs
    for run in runs:
        if not run.complete and not partial:
            raise UsageError(
                f"{run.path}: holds {run.progress} and is no complete run; --partial shows it, marked as that"
            )
        if run.header["spec"] != runs[0].header["spec"]:
            specs = f"spec {run.header['spec']}, and {runs[0].path} spec {runs[0].header['spec']}"
            raise UsageError(f"{run.path}: ran {specs}: one report shows one spec")
        for record in run.records:
            first = files.setdefault(record["cell"], run)
            if first is not run:
                raise UsageError(f"{run.path}: the cell {record['cell']} is in {first.path} too")
    return judging


def columns_of(runs: Sequence[Run]) -> list[Column]:
    """Return the columns of every record, by library and implementation as the environments name them."""
    libraries: dict[str, int] = {}
    implementations: dict[str, int] = {}
    found: dict[str, Column] = {}
    for run in runs:
        by_id = {line["id"]: line for line in run.environments if "failed" not in line}
        for line in by_id.values():
            libraries.setdefault(library_of(line), len(libraries))
            for each in line["implementations"]:
                implementations.setdefault(each["name"], len(implementations))
        for record in run.records:
            if record["environment"] not in by_id or record["case"] not in run.cases:
                raise UsageError(f"{run.path}: the cell {record['cell']} is of no case or environment in that file")
            column = _column(record, by_id[record["environment"]])
            found.setdefault(column.name, column)

    def order(column: Column) -> tuple[int, int, int, str, str]:
        mode = _MODES.index(column.mode) if column.mode in _MODES else len(_MODES)
        implementation = implementations.get(column.implementation, len(implementations))
        return libraries[column.library], implementation, mode, column.mode, column.device

    return sorted(found.values(), key=order)


def cells_of(runs: Sequence[Run], columns: Sequence[Column]) -> tuple[Cell, ...]:
    """Return every recorded cell, in the order of the files."""
    by_name = {column.name: column for column in columns}
    return tuple(_cell(record, run, by_name) for run in runs for record in run.records)


def fault_of(environment: Line) -> Fault:
    """Return why an environment judged nothing: one that was not built never got as far as an adapter."""
    if "failed" not in environment:
        return ""
    return "not started" if environment.get("adapter") else "not built"


def library_of(environment: Line) -> str:
    """Return the library of an environment, with its version."""
    name = environment["library"]
    return f"{name} {environment['versions'].get(name, '')}".strip()


def severity(judged: Line) -> tuple[int, float]:
    """Return what records and quantities are sorted by, the worst last: verdict, then score, NaN as infinite."""
    score = number_from(judged.get("score"))
    known = -1.0 if score is None else math.inf if math.isnan(score) else score
    return Verdict(judged["verdict"]).severity, known


def worst_quantity(cell: Cell) -> tuple[Line, Line] | None:
    """Return the step and the quantity that decided the verdict: worst verdict first, then highest score."""
    judged = [(step, quantity) for step in cell.record["steps"] for quantity in step["quantities"]]
    return max(judged, key=lambda each: severity(each[1]), default=None)


def what(cell: Cell) -> str:
    """Return in one line what decided the verdict: the diagnosis, a message, a reason."""
    text = next(_accounts(cell), "")
    line = " ".join(_ADDRESS.sub("0x…", text).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def shortened(value: float | str | None, digits: int = 4) -> float | str | None:
    """Return a number with `digits` significant digits, in full where rounding would carry it across 1."""
    if value is None or isinstance(value, str):
        return value
    rounded = float(f"{value:.{digits}g}")
    return number(value if (value > 1) != (rounded > 1) else rounded)


def shown(score: float | str | None) -> str:
    """Return a score as a person reads it; nothing where there is none."""
    value = shortened(score, 3)
    if value is None or isinstance(value, str):
        return {"Infinity": "∞"}.get(value or "", value or "")
    return f"{value:g}"


def _accounts(cell: Cell) -> Iterator[str]:
    if cell.record["diagnosis"]:
        yield cell.record["diagnosis"]
    for step in cell.record["steps"]:
        if step["verdict"] == cell.verdict and step.get("message"):
            yield step["message"]
    found = worst_quantity(cell)
    if found is None or found[1]["verdict"] != cell.verdict:
        return
    quantity = found[1]
    if quantity.get("reason"):
        yield f"{quantity['quantity']} {quantity['reason']}"
    if quantity.get("fields"):
        yield f"{quantity['quantity']} as documented: {', '.join(quantity['fields'])}"
    if not cell.verdict.agrees:
        yield f"{quantity['quantity']} at {found[0]['kind']} is beyond its bound, and no single change explains it"


def _column(record: Line, environment: Line) -> Column:
    implementation, mode, device = record["implementation"], record["mode"], record["device"]
    return Column(
        name=f"{implementation}-{mode}-{device}",
        implementation=implementation,
        mode=mode,
        device=device,
        library=library_of(environment),
    )


def _cell(record: Line, run: Run, columns: Mapping[str, Column]) -> Cell:
    verdict = Verdict(record["verdict"])
    return Cell(
        id=record["cell"],
        case=run.cases[record["case"]],
        column=columns[f"{record['implementation']}-{record['mode']}-{record['device']}"],
        environment=record["environment"],
        verdict=verdict,
        standing=standing(record["status"], verdict),
        record=record,
    )

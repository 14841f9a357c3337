"""A cell as a record tells of it: its column, its verdict, its worst element, and what went wrong in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from conformance.record import Line, number, number_from
from conformance.report.wording import Standing
from conformance.verdict import Verdict

_SHOWN = 240


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
    def rank(self) -> tuple[int, int, float]:
        """What it is sorted by where the worst comes last."""
        return self.standing.severity, *severity(self.record)


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
    line = " ".join(text.split())
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

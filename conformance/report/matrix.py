"""Clauses down, implementations across: the worst verdict of the judged cells in every field."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.observed import Cell, Column
from conformance.report.wording import VERDICTS
from conformance.verdict import Standing, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One clause in one column; `verdict` None: no cell of a case that names the clause."""

    column: str
    verdict: Verdict | None
    #: Cells with that verdict.
    count: int
    #: Judged cells.
    judged: int
    standing: Standing
    text: str

    @property
    def shown(self) -> str:
        """The number in the field: of judged cells where all are right, else in how many of them it is so."""
        if self.verdict in (Verdict.EXACT, Verdict.CONFORMS):
            return str(self.judged)
        return f"{self.count}/{self.judged}" if self.judged else str(self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One clause."""

    clause: str
    title: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Columns side by side under one heading."""

    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The rows of one section of the semantics."""

    number: str
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The rows by section, the columns by library and implementation."""

    libraries: tuple[Group, ...]
    implementations: tuple[Group, ...]
    columns: tuple[Column, ...]
    #: Names of environments that failed, with what they are: their columns are unknown.
    failed: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    #: Clauses that no recorded case names.
    untested: tuple[tuple[str, str], ...]


def matrix(
    clauses: Mapping[str, str],
    titles: Mapping[str, str],
    columns: Sequence[Column],
    cells: Iterable[Cell],
    failed: Iterable[tuple[str, str]],
) -> Matrix:
    """Return the matrix of those cells; `titles` are the sections' by number."""
    fields: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        for clause in cell.case["clauses"]:
            fields.setdefault((clause, cell.column.name), []).append(cell)
    tested = {clause for clause, _ in fields}
    rows = [
        Row(
            clause=number,
            title=title,
            fields=tuple(_field(each.name, fields.get((number, each.name), [])) for each in columns),
        )
        for number, title in clauses.items()
        if number in tested
    ]
    grouped = itertools.groupby(rows, key=lambda row: row.clause.partition(".")[0])
    return Matrix(
        libraries=_groups(columns, "library"),
        implementations=_groups(columns, "implementation"),
        columns=tuple(columns),
        failed=tuple(failed),
        sections=tuple(Section(number=key, title=titles.get(key, ""), rows=tuple(found)) for key, found in grouped),
        untested=tuple((number, title) for number, title in clauses.items() if number not in tested),
    )


def _groups(columns: Sequence[Column], attribute: str) -> tuple[Group, ...]:
    grouped = itertools.groupby(columns, key=lambda column: str(getattr(column, attribute)))
    return tuple(Group(name=name, columns=tuple(each)) for name, each in grouped)


def _field(column: str, cells: Sequence[Cell]) -> Field:
    judged = [cell for cell in cells if cell.verdict.judged]
    if not cells:
        return Field(column=column, verdict=None, count=0, judged=0, standing=Standing.APART, text="no case")
    verdict = worst(cell.verdict for cell in judged or cells)
    standing = max((cell.standing for cell in judged or cells), key=lambda each: each.severity)
    return Field(
        column=column,
        verdict=verdict,
        count=sum(cell.verdict is verdict for cell in cells),
        judged=len(judged),
        standing=standing,
        text=_text(cells),
    )


def _text(cells: Sequence[Cell]) -> str:
    counts = Counter(cell.verdict for cell in cells)
    standings = Counter(cell.standing for cell in cells)
    parts = [f"{counts[each]} {VERDICTS[each].word}" for each in reversed(Verdict) if counts[each]]
    notes = [
        f"{standings[each]} {name}"
        for each, name in (
            (Standing.UNEXPECTED, "unexpected"),
            (Standing.KNOWN, "known divergence"),
            (Standing.DOCUMENTED, "documented"),
        )
        if standings[each]
    ]
    return ", ".join(parts) + (f" ({', '.join(notes)})" if notes else "")

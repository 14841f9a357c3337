"""Clauses down, implementations across: the worst verdict of the judged cells in every field."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from conformance.report.wording import ORDER, STANDS, VERDICTS, stand
from conformance.runfile.observed import Column, RecordedCell
from conformance.verdict import Verdict, worst

#: Verdict and stand, a key of `STANDS` -> how many cells.
Counts: TypeAlias = Mapping[tuple[Verdict, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One clause in one column; `verdict` None: no cell of a case that names the clause was recorded."""

    column: str
    verdict: Verdict | None
    #: Cells with that verdict.
    count: int
    #: Judged cells.
    judged: int
    #: Cells that the column offers and the run does not hold.
    missing: int
    #: The worst stand of its judged cells: a key of `STANDS`.
    stand: str
    text: str

    @property
    def shown(self) -> str:
        """The number in the field: of judged cells where all are right, else in how many of them it is so."""
        if self.verdict is None:
            return str(self.missing or "")
        if self.verdict in (Verdict.EXACT, Verdict.CONFORMS):
            return str(self.judged)
        return f"{self.count}/{self.judged}" if self.judged else str(self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One clause."""

    clause: str
    title: str
    fields: tuple[Field, ...]

    @property
    def stretches(self) -> Iterator[tuple[int, Field | None]]:
        """Yield each field that says something, after how many that say nothing stand before it; at the end None."""
        empty = 0
        for field in self.fields:
            if field.verdict is None and not field.missing:
                empty += 1
            else:
                yield empty, field
                empty = 0
        yield empty, None


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
    #: Environments that failed, each as its name and fault; what columns they would have had is not known.
    failed: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    #: Clauses that no recorded case names.
    untested: tuple[tuple[str, str], ...]


def matrix(
    clauses: Mapping[str, str],
    titles: Mapping[str, str],
    columns: Sequence[Column],
    cells: Iterable[RecordedCell],
    missing: Mapping[tuple[str, str], int],
    failed: Iterable[tuple[str, str]],
) -> Matrix:
    """Return the matrix of those cells.

    `titles` are the sections' by number, `missing` the cells that were not run by clause and column.
    """
    counts = Counter((cell.case.clauses, cell.column.name, cell.verdict, stand(cell)) for cell in cells)
    fields: dict[tuple[str, str], dict[tuple[Verdict, str], int]] = {}
    for (named, column, verdict, standing), count in counts.items():
        for clause in named:
            by_kind = fields.setdefault((clause, column), {})
            by_kind[verdict, standing] = by_kind.get((verdict, standing), 0) + count
    tested = {clause for clause, _ in fields}
    rows = [
        Row(clause=number, title=title, fields=tuple(_fields(number, columns, fields, missing)))
        for number, title in clauses.items()
        if number in tested
    ]
    grouped = itertools.groupby(rows, key=lambda row: row.clause.partition(".")[0])
    return Matrix(
        libraries=_groups(columns, "library"),
        implementations=_groups(columns, "implementation"),
        columns=tuple(columns),
        failed=tuple(failed),
        sections=tuple(
            Section(number=key, title=titles.get(key, ""), rows=tuple(section_rows)) for key, section_rows in grouped
        ),
        untested=tuple((number, title) for number, title in clauses.items() if number not in tested),
    )


def _groups(columns: Sequence[Column], attribute: str) -> tuple[Group, ...]:
    grouped = itertools.groupby(columns, key=lambda column: str(getattr(column, attribute)))
    return tuple(Group(name=name, columns=tuple(group)) for name, group in grouped)


def _fields(
    clause: str,
    columns: Iterable[Column],
    fields: Mapping[tuple[str, str], Counts],
    missing: Mapping[tuple[str, str], int],
) -> Iterable[Field]:
    for column in columns:
        key = (clause, column.name)
        yield _field(column.name, fields.get(key, {}), missing.get(key, 0))


def _field(column: str, counts: Counts, missing: int) -> Field:
    if not counts and not missing:
        return _empty(column)  # as most fields are
    judged = {kind: count for kind, count in counts.items() if kind[0].judged}
    worst_verdict = worst(verdict for verdict, _ in judged or counts) if counts else None
    return Field(
        column=column,
        verdict=worst_verdict,
        count=sum(count for (verdict, _), count in counts.items() if verdict is worst_verdict),
        judged=sum(judged.values()),
        missing=missing,
        stand=max((standing for _, standing in judged or counts), key=ORDER.__getitem__, default="apart"),
        text=_text(counts, missing),
    )


@lru_cache(maxsize=4096)
def _empty(column: str) -> Field:
    return Field(column=column, verdict=None, count=0, judged=0, missing=0, stand="apart", text=_text({}, 0))


def _text(counts: Counts, missing: int) -> str:
    if not counts:
        return f"{missing} not run" if missing else "no case"
    verdicts, stands = Counter[Verdict](), Counter[str]()
    for (verdict, standing), count in counts.items():
        verdicts[verdict] += count
        stands[standing] += count
    parts = [f"{verdicts[verdict]} {VERDICTS[verdict].word}" for verdict in reversed(Verdict) if verdicts[verdict]]
    parts += [f"{missing} not run"] if missing else []
    notes = [f"{stands[name]} {sign.word}" for name, sign in reversed(STANDS.items()) if sign.word and stands[name]]
    return ", ".join(parts or ["no case"]) + (f" ({', '.join(notes)})" if notes else "")

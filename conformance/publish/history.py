"""Every cell's verdict and score over the published runs: pure functions of their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.compare.comparison import compare
from conformance.compare.telling import headline
from conformance.compare.text import text
from conformance.compare.values import Policy
from conformance.report.frameworks import Agreement
from conformance.runfile.numbers import Number
from conformance.runfile.observed import Column
from conformance.runfile.results import Results, Row
from conformance.runfile.timeline_structs import RecordedTimeline
from conformance.verdict import Standing, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """One published run."""

    #: Date and machine.
    name: str
    results: Results
    #: What the processes did in the runs of it that judged; none where one of them does not say it.
    timelines: tuple[RecordedTimeline, ...] = ()

    @property
    def machine(self) -> str:
        """The name without its date: runs on one machine are compared with each other."""
        return self.name[11:]

    @property
    def narrowed(self) -> bool:
        """Whether a run in it was narrowed to some cells."""
        return any(run.narrowed for run in self.results.runs)

    @property
    def finished(self) -> str:
        """When its last run ended, in local time with the offset."""
        return max(run.finished for run in self.results.runs)

    @property
    def libraries(self) -> tuple[str, ...]:
        """What it judged, with versions."""
        return tuple(dict.fromkeys(column.library for column in self.results.columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One cell in one published run."""

    verdict: Verdict
    standing: Standing
    score: Number | None
    #: Whether its case is defined otherwise than in the run before: its verdict then answers another question.
    redefined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One cell over the runs."""

    case: str
    mode: str
    device: str
    #: One for each of the history's editions; None where the run has no such cell.
    moments: tuple[Moment | None, ...]

    @property
    def changed(self) -> bool:
        """Whether two runs that have it differ in its verdict."""
        return len({moment.verdict for moment in self.moments if moment}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One implementation over the runs that have it."""

    implementation: str
    #: Name and library, oldest first.
    editions: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clauses:
    """How many clauses an implementation keeps, and how many of its judged cells are right."""

    implementation: str
    edition: str
    library: str
    #: Clauses of which every judged cell agrees, documented dialects included.
    conforming: int
    #: Clauses that a judged cell names.
    applicable: int
    cells: Agreement


def histories(editions: Sequence[Edition]) -> tuple[History, ...]:
    """Return the history of every implementation, by name. `editions` are oldest first."""
    names = sorted({column.implementation for edition in editions for column in edition.results.columns})
    cells = [_by_implementation(edition.results) for edition in editions]
    return tuple(_history(name, editions, cells) for name in names)


def clauses(editions: Sequence[Edition]) -> tuple[Clauses, ...]:
    """Return by implementation how many clauses it keeps in the newest run that has it and was not narrowed."""
    newest: dict[str, Clauses] = {}
    for edition in editions:
        if not edition.narrowed:
            newest |= {kept_clauses.implementation: kept_clauses for kept_clauses in _clauses(edition)}
    return tuple(newest[name] for name in sorted(newest))


def before(editions: Sequence[Edition], position: int) -> Edition | None:
    """Return the published run that one is compared with: the last before it on the same machine."""
    machine = editions[position].machine
    return next((edition for edition in reversed(editions[:position]) if edition.machine == machine), None)


def changes(new: Edition, base: Edition) -> tuple[str, str]:
    """Return in one line, and in full, what changed from one published run to the next."""
    if not {*_keys(new.results)} & {*_keys(base.results)}:
        return "No cell in common.", ""
    comparison = compare(base.results, new.results, Policy())
    return headline(comparison), text(comparison)


def _keys(results: Results) -> Iterator[tuple[str, str, str]]:
    for row in results.cells:
        case = results.cases[row.case]
        yield case.id, case.definition, results.columns[row.column].name


_Cells = Mapping[str, Mapping[tuple[str, str, str], tuple[Row, str]]]


def _by_implementation(results: Results) -> _Cells:
    """Return by implementation, and by case, mode and device, the row and the definition of its case."""
    rows: dict[str, dict[tuple[str, str, str], tuple[Row, str]]] = {}
    for row in results.cells:
        case, column = results.cases[row.case], results.columns[row.column]
        rows.setdefault(column.implementation, {})[case.id, column.mode, column.device] = (row, case.definition)
    return rows


def _history(name: str, editions: Sequence[Edition], cells: Sequence[_Cells]) -> History:
    holding = [(edition, by_name[name]) for edition, by_name in zip(editions, cells, strict=True) if name in by_name]
    keys = dict.fromkeys(key for _, rows in holding for key in rows)
    return History(
        implementation=name,
        editions=tuple((edition.name, _library(edition.results, name)) for edition, _ in holding),
        lines=tuple(
            Line(
                case=case,
                mode=mode,
                device=device,
                moments=tuple(_moments(rows.get((case, mode, device)) for _, rows in holding)),
            )
            for case, mode, device in sorted(keys)
        ),
    )


def _library(results: Results, implementation: str) -> str:
    return ", ".join(
        dict.fromkeys(column.library for column in results.columns if column.implementation == implementation)
    )


def _moments(cells: Iterable[tuple[Row, str] | None]) -> Iterator[Moment | None]:
    last = ""
    for cell in cells:
        if cell is None:
            yield None
            continue
        row, definition = cell
        yield Moment(verdict=row.verdict, standing=row.status, score=row.score, redefined=last not in ("", definition))
        last = definition


def _clauses(edition: Edition) -> Iterator[Clauses]:
    results = edition.results
    kept: dict[str, dict[str, bool]] = {}
    columns: dict[str, Column] = {}
    verdicts: dict[str, Counter[Verdict]] = {}
    for row in results.cells:
        column = results.columns[row.column]
        columns.setdefault(column.implementation, column)
        by_clause = kept.setdefault(column.implementation, {})
        counts = verdicts.setdefault(column.implementation, Counter())
        if row.verdict.judged:
            counts[row.verdict] += 1
            for clause in results.cases[row.case].clauses:
                by_clause[clause] = by_clause.get(clause, True) and row.verdict.agrees
    for name, by_clause in kept.items():
        yield Clauses(
            implementation=name,
            edition=edition.name,
            library=columns[name].library,
            conforming=sum(by_clause.values()),
            applicable=len(by_clause),
            cells=Agreement(
                judged=verdicts[name].total(),
                right=sum(count for verdict, count in verdicts[name].items() if verdict.agrees),
                documented=verdicts[name][Verdict.DIALECT],
            ),
        )

"""Every cell's verdict and score over the published runs: pure functions of their results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.compare.comparison import compare
from conformance.compare.telling import headline
from conformance.compare.text import text
from conformance.compare.values import Policy
from conformance.runfile.numbers import Number
from conformance.runfile.observed import Column
from conformance.runfile.results import Results, Row
from conformance.verdict import Standing, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """One published run."""

    #: Date and machine.
    name: str
    results: Results

    @property
    def machine(self) -> str:
        """The name without its date: runs on one machine are compared with each other."""
        return self.name[11:]

    @property
    def narrowed(self) -> bool:
        """Whether it holds some cells alone."""
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
    #: Whether its case is defined otherwise than in the run before: it is another question.
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
        return len({each.verdict for each in self.moments if each}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One implementation over the runs that have it."""

    implementation: str
    #: Name and library, oldest first.
    editions: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clauses:
    """How many clauses an implementation keeps."""

    implementation: str
    edition: str
    library: str
    #: Clauses of which every judged cell agrees, documented dialects included.
    conforming: int
    #: Clauses that a judged cell names.
    applicable: int


def histories(editions: Sequence[Edition]) -> tuple[History, ...]:
    """Return the history of every implementation, by name. `editions` are oldest first."""
    names = sorted({column.implementation for each in editions for column in each.results.columns})
    cells = [_by_implementation(each.results) for each in editions]
    return tuple(_history(name, editions, cells) for name in names)


def clauses(editions: Sequence[Edition]) -> tuple[Clauses, ...]:
    """Return by implementation how many clauses it keeps in the newest run that has it and was not narrowed."""
    found: dict[str, Clauses] = {}
    for edition in editions:
        if not edition.narrowed:
            found |= {each.implementation: each for each in _clauses(edition)}
    return tuple(found[name] for name in sorted(found))


def before(editions: Sequence[Edition], position: int) -> Edition | None:
    """Return the published run that one is compared with: the last before it on the same machine."""
    machine = editions[position].machine
    return next((each for each in reversed(editions[:position]) if each.machine == machine), None)


def changes(new: Edition, base: Edition) -> tuple[str, str]:
    """Return in one line, and in full, what changed from one published run to the next."""
    if not {*_keys(new.results)} & {*_keys(base.results)}:
        return "No cell in common.", ""
    found = compare(base.results, new.results, Policy())
    return headline(found), text(found)


def _keys(results: Results) -> Iterator[tuple[str, str, str]]:
    for row in results.cells:
        case = results.cases[row.case]
        yield case.id, case.definition, results.columns[row.column].name


_Cells = Mapping[str, Mapping[tuple[str, str, str], tuple[Row, str]]]


def _by_implementation(results: Results) -> _Cells:
    """Return by implementation, and by case, mode and device, the row and the definition of its case."""
    found: dict[str, dict[tuple[str, str, str], tuple[Row, str]]] = {}
    for row in results.cells:
        case, column = results.cases[row.case], results.columns[row.column]
        found.setdefault(column.implementation, {})[case.id, column.mode, column.device] = (row, case.definition)
    return found


def _history(name: str, editions: Sequence[Edition], cells: Sequence[_Cells]) -> History:
    having = [(edition, of[name]) for edition, of in zip(editions, cells, strict=True) if name in of]
    keys = dict.fromkeys(key for _, of in having for key in of)
    return History(
        implementation=name,
        editions=tuple((edition.name, _library(edition.results, name)) for edition, _ in having),
        lines=tuple(
            Line(
                case=case,
                mode=mode,
                device=device,
                moments=tuple(_moments(of.get((case, mode, device)) for _, of in having)),
            )
            for case, mode, device in sorted(keys)
        ),
    )


def _library(results: Results, implementation: str) -> str:
    return ", ".join(dict.fromkeys(each.library for each in results.columns if each.implementation == implementation))


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
    for row in results.cells:
        column = results.columns[row.column]
        columns.setdefault(column.implementation, column)
        of = kept.setdefault(column.implementation, {})
        if row.verdict.judged:
            for clause in results.cases[row.case].clauses:
                of[clause] = of.get(clause, True) and row.verdict.agrees
    for name, of in kept.items():
        yield Clauses(
            implementation=name,
            edition=edition.name,
            library=columns[name].library,
            conforming=sum(of.values()),
            applicable=len(of),
        )

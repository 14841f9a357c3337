"""What a report publishes for programs: every cell's verdict in one JSON document, `results.json`.

The cells are rows of positions into the lists beside them, so that 100,000 of them stay below ten megabytes.
The document is made from run files and holds no more than they do; steps, quantities and worst elements are
in the run files alone. Field docstrings are what the published JSON Schema says of each field.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypeAlias, cast

import msgspec

from conformance.files.json_text import CLOSED
from conformance.runfile.gathering import Observed, observed
from conformance.runfile.ladder import dtypes_of, graded
from conformance.runfile.numbers import Number
from conformance.runfile.observed import (
    Column,
    Fault,
    RecordedCell,
    fault_of,
    shortened,
)
from conformance.runfile.reasons import NONE, Reason, reason_of
from conformance.runfile.run import Run
from conformance.runfile.structs import CaseLine, DeclaredField, EnvironmentLine, Letter
from conformance.verdict import Standing, Verdict

FORMAT: Literal[2] = 2
#: Formats that are read. The first says nothing of causes and dialect fields as values.
READ = (1, FORMAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run file."""

    __pydantic_config__: ClassVar = CLOSED

    file: str
    """Its name, without its folder."""
    suite: str
    """Version of the suite that judged."""
    spec: str
    """Hash of the semantics and the cases."""
    started: str
    """Local time with its offset; empty where it is not known."""
    finished: str
    """As `started`; empty where the run did not end."""
    planned: int
    """Cells that were to be recorded."""
    recorded: int
    """Cells that were."""
    complete: bool
    """Whether the run ended with all its planned cells."""
    narrowed: bool
    """Whether it was narrowed to some cells: what is absent was not asked for."""
    tier: str
    """How many of the cases were asked for in which modes; empty where the suite had no tiers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One process that ran an adapter, or why there is none."""

    __pydantic_config__: ClassVar = CLOSED

    id: str
    """Unique within its run."""
    run: int
    """Position of its run in `runs`."""
    group: str
    """The framework group whose interpreter it used; empty for the interpreter of the run itself."""
    adapter: str
    """File of the adapter; empty where it never got that far."""
    library: str
    """The library that the adapter is for; empty where it did not start."""
    versions: Mapping[str, str]
    """Version by package."""
    settings: Mapping[str, str]
    """Settings in force that can change numbers."""
    process: Mapping[str, str]
    """Environment variables that were set for the process."""
    host: Mapping[str, str]
    """The machine, as the process saw it."""
    fault: Fault
    """Why it judged nothing; empty where it did."""
    failed: str
    """The last lines of what failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case."""

    __pydantic_config__: ClassVar = CLOSED

    id: str
    """Begins with its family."""
    family: str
    """The file of the spec it stands in."""
    op: str
    """The operation."""
    dtype: str
    """Of the data."""
    shape: tuple[int, ...]
    """Of the data."""
    clauses: tuple[str, ...]
    """Clauses of the semantics that it tests."""
    title: str
    """One sentence."""
    definition: str
    """Digest of all that its numbers follow from: operation, configuration, initial state, steps with their data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """The grade of one column in one dtype: its worst on the stability ladder."""

    __pydantic_config__: ClassVar = CLOSED

    column: int
    """Position in `columns`."""
    dtype: str
    """Of the cases."""
    grade: Letter
    """From best to worst: A, D, W, O, F."""
    case: int
    """Position in `cases` of the one that set it."""


class Row(NamedTuple):
    """One cell."""

    #: Position in `cases`.
    case: int
    #: Position in `columns`.
    column: int
    #: Position in `environments`.
    environment: int
    verdict: Verdict
    #: How it stands to what was expected.
    status: Standing
    #: The largest error of any quantity in units of its bound; null where nothing was measured.
    score: Number | None
    #: Of all its steps together; null where none ran.
    seconds: float | None
    #: Position in `texts` of what decided the verdict; empty where all is right.
    diagnosis: int
    #: On the stability ladder: the cell's own grade.
    grade: Letter


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All recorded cells of one or more runs of one spec."""

    __pydantic_config__: ClassVar = CLOSED

    format: Literal[1, 2] = FORMAT
    """Of this document. Any change of its shape is another number."""
    suite: str
    """Versions of the suite that judged, the first run's first."""
    spec: str
    """Hash of the semantics and the cases."""
    runs: tuple[Ran, ...]
    """In the order in which they started."""
    environments: tuple[Environment, ...]
    """Run by run."""
    clauses: Mapping[str, str]
    """Title by number, in the order of the semantics."""
    columns: tuple[Column, ...]
    """Implementation, mode and device: what the matrix has across."""
    cases: tuple[Case, ...]
    """In the order of the runs."""
    grades: tuple[Grade, ...]
    """By column and dtype."""
    texts: tuple[str, ...]
    """What diagnoses refer to; the first is empty."""
    reasons: tuple[Reason, ...] = ()
    """What stands behind each of `texts`, as values; none in format 1."""
    cell_fields: tuple[str, ...] = Row._fields
    """Names of the places in a row of `cells`."""
    cells: tuple[Row, ...]
    """By case and column."""

    @property
    def complete(self) -> bool:
        """Whether every run ended with all its cells."""
        return all(run.complete for run in self.runs)


#: What decided verdicts, in words and as values, with their positions in `texts` and `reasons`.
_Accounts: TypeAlias = dict[tuple[str, Reason], int]


def results_of(runs: Sequence[Run], *, partial: bool = False) -> Results:
    """Return what those runs found. Raises `UsageError` where they do not belong together, or did not end."""
    return results_of_cells(observed(runs, partial=partial))


def results_of_cells(seen: Observed) -> Results:
    """Return what was found in those cells."""
    runs, columns, cells = seen.runs, seen.columns, seen.cells
    cases = {case.id: case for run in runs for case in run.cases.values()}
    column_positions = {column.name: position for position, column in enumerate(columns)}
    case_positions = {case: position for position, case in enumerate(cases)}
    environments = [(position, environment) for position, run in enumerate(runs) for environment in run.environments]
    homes = {(run, environment.id): position for position, (run, environment) in enumerate(environments)}
    accounts: _Accounts = {("", NONE): 0}
    rows = _rows(
        cells,
        homes,
        [environment for _, environment in environments],
        (column_positions, case_positions),
        accounts,
    )
    return Results(
        suite=", ".join(dict.fromkeys(run.header.suite for run in runs)),
        spec=runs[0].header.spec,
        runs=tuple(_ran(run) for run in runs),
        environments=tuple(_environment(environment, position) for position, environment in environments),
        clauses={number: title for run in runs for number, title in run.header.clauses.items()},
        columns=tuple(columns),
        cases=tuple(_case(case) for case in cases.values()),
        grades=tuple(_grades(cells, column_positions, case_positions)),
        texts=tuple(text for text, _ in accounts),
        reasons=tuple(reason for _, reason in accounts),
        cells=tuple(rows),
    )


def definition_of(case: CaseLine) -> str:
    """Return a digest of all that a case's numbers follow from.

    What a configuration leaves open is left out, so that a case is the same as in a run from before there was such a field.
    """
    configuration = msgspec.to_builtins(case.configuration)
    defining = {
        "op": case.op,
        "configuration": {name: value for name, value in configuration.items() if value not in (None, {})},
        "initial": case.initial,
        "steps": case.steps,
    }
    return hashlib.sha256(json.dumps(defining, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def _ran(run: Run) -> Ran:
    return Ran(
        file=run.path.name,
        suite=run.header.suite,
        spec=run.header.spec,
        started=run.header.started,
        finished=run.finished,
        planned=run.header.planned,
        recorded=len(run.records),
        complete=run.complete,
        narrowed=run.header.narrowed,
        tier=run.header.tier,
    )


def _environment(environment: EnvironmentLine, run: int) -> Environment:
    return Environment(
        id=environment.id,
        run=run,
        group=environment.group or "",
        adapter=environment.adapter or "",
        library=environment.library,
        versions=environment.versions,
        settings=environment.settings,
        process=environment.process,
        host=environment.host,
        fault=fault_of(environment),
        failed=environment.failed or "",
    )


def _case(case: CaseLine) -> Case:
    return Case(
        id=case.id,
        family=case.family,
        op=case.op,
        dtype=case.configuration.dtype,
        shape=case.configuration.shape,
        clauses=case.clauses,
        title=case.title,
        definition=definition_of(case),
    )


def _grades(cells: Sequence[RecordedCell], columns: Mapping[str, int], cases: Mapping[str, int]) -> Iterator[Grade]:
    dtypes = dtypes_of(cells)
    for column in graded(cells):
        for dtype, grade in zip(dtypes, column.grades, strict=True):
            if grade is not None:
                yield Grade(
                    column=columns[column.column.name],
                    dtype=dtype,
                    grade=cast("Letter", grade.letter),
                    case=cases[grade.cell.case.id],
                )


def _rows(
    cells: Sequence[RecordedCell],
    homes: Mapping[tuple[int, str], int],
    environments: Sequence[EnvironmentLine],
    positions: tuple[Mapping[str, int], Mapping[str, int]],
    accounts: _Accounts,
) -> list[Row]:
    """Return the cells as rows, by case and column; `accounts` grows.

    `homes` are the positions of environments by run and id, `positions` those of columns by name and of cases by id.
    """
    columns, cases = positions
    profiles = {
        (home, offer.name): offer.profile
        for home, environment in enumerate(environments)
        for offer in environment.implementations
    }
    rows = []
    for cell in sorted(cells, key=lambda cell: (cases[cell.case.id], columns[cell.column.name])):
        home = homes[cell.home, cell.environment]
        account = _account(cell, profiles.get((home, cell.column.implementation), ()), accounts)
        rows.append(_row(cases[cell.case.id], columns[cell.column.name], home, cell, account))
    return rows


def _account(cell: RecordedCell, profile: Sequence[DeclaredField], accounts: _Accounts) -> int:
    """Return the position of what decided the cell's verdict among `accounts`, which grow."""
    if cell.verdict in (Verdict.EXACT, Verdict.CONFORMS):
        return 0
    return accounts.setdefault((cell.what, reason_of(cell, profile)), len(accounts))


def _row(case: int, column: int, environment: int, cell: RecordedCell, diagnosis: int) -> Row:
    return Row(
        case=case,
        column=column,
        environment=environment,
        verdict=cell.verdict,
        status=cell.standing,
        score=shortened(cell.score),
        seconds=None if cell.seconds is None else float(f"{cell.seconds:.3g}"),
        diagnosis=diagnosis,
        grade=cell.grade,
    )

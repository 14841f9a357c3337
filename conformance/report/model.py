"""From run files to what the pages show, as values: pure functions, no HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.report.determinism import Bits, determinism
from conformance.report.dialects import Dialect, dialects
from conformance.report.families import Families, families
from conformance.report.findings import Finding, findings
from conformance.report.links import slugs
from conformance.report.matrix import Matrix, matrix
from conformance.report.missing import Missing, by_field, missing
from conformance.report.probes import Probed, probed
from conformance.report.ranked import RankedFinding, ranked
from conformance.report.searched import Largest, Searched, largest
from conformance.report.timeline import timeline_drawing
from conformance.report.wording import STANDS, stand
from conformance.runfile.gathering import Observed, SecondsByKind, observed
from conformance.runfile.ladder import Graded, LadderGrade, dtypes_of, graded
from conformance.runfile.observed import (
    Column,
    RecordedCell,
    fault_of,
    library_of,
)
from conformance.runfile.run import Run
from conformance.runfile.structs import CaseLine
from conformance.runfile.throughput_structs import ThroughputLine
from conformance.runfile.timeline_structs import RecordedTimeline
from conformance.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One process that ran an adapter, or why there is none."""

    id: str
    group: str
    adapter: str
    #: What it runs, with the version; empty where it failed.
    library: str
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    process: Mapping[str, str]
    host: Mapping[str, str]
    #: "not built", "not started", or empty.
    fault: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run file."""

    file: str
    suite: str
    spec: str
    started: str
    finished: str
    planned: int
    recorded: int
    #: What the run was narrowed to, by option; `pytest` holds the arguments given to pytest.
    selection: Mapping[str, str]
    narrowed: bool
    complete: bool
    host: Mapping[str, str]
    #: What each process did and when, and its drawing; none where the run did not end or times were not kept.
    timeline: RecordedTimeline | None
    timeline_drawing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedLine:
    """One line of a run of throughput, with the library of its environment."""

    framework: str
    line: ThroughputLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything the pages show."""

    runs: tuple[RunSummary, ...]
    environments: tuple[Environment, ...]
    libraries: tuple[str, ...]
    counts: Mapping[Verdict, int]
    #: By the keys of `STANDS`.
    stands: Mapping[str, int]
    unexpected: tuple[Finding, ...]
    stale: tuple[Finding, ...]
    known: tuple[Finding, ...]
    documented: tuple[Finding, ...]
    #: What is wrong, once for each implementation and cause, what harms most people first.
    ranked: tuple[RankedFinding, ...]
    matrix: Matrix
    #: The dtypes that were graded, and each column's grades in their order.
    dtypes: tuple[str, ...]
    grades: tuple[Graded, ...]
    bits: tuple[Bits, ...]
    families: Families
    dialects: tuple[Dialect, ...]
    probed: tuple[Probed, ...]
    clauses: Mapping[str, str]
    cases: tuple[CaseLine, ...]
    cells: tuple[RecordedCell, ...]
    #: By case, in the order of `cases`.
    cells_by_case: Mapping[str, Sequence[RecordedCell]]
    #: Of steps, by column and kind.
    step_seconds: SecondsByKind
    #: What the columns offer and no run holds.
    missing: tuple[Missing, ...]
    #: What was timed, by runs of throughput, each with its framework.
    timed: tuple[TimedLine, ...]
    #: By implementation, where it is right.
    largest: Mapping[str, Largest]
    #: Implementation -> the name of its page.
    slugs: Mapping[str, str]

    def environment(self, cell: RecordedCell) -> str:
        """Return the name of the environment that ran the cell."""
        return _environment_name(cell.environment, self.runs[cell.home].file, several=len(self.runs) > 1)

    def run_of(self, cell: RecordedCell) -> str:
        """Return the name of the run file that holds the cell."""
        return self.runs[cell.home].file

    def grade(self, column: Column, dtype: str) -> LadderGrade | None:
        """Return the grade of a column in a dtype; None where no rung of the ladder was judged."""
        graded_column = next((row for row in self.grades if row.column.name == column.name), None)
        return graded_column.grades[self.dtypes.index(dtype)] if graded_column else None

    @property
    def planned(self) -> int:
        """The number of cells that were to be recorded."""
        return sum(run.planned for run in self.runs)

    @property
    def judged(self) -> int:
        """The number of cells that say something about an implementation."""
        return sum(count for verdict, count in self.counts.items() if verdict.judged)

    @property
    def complete(self) -> bool:
        """Whether every run ended with all its cells."""
        return all(run.complete for run in self.runs)

    @property
    def failed(self) -> tuple[Environment, ...]:
        """The environments that were not built or not started."""
        return tuple(environment for environment in self.environments if environment.fault)


def build(runs: Sequence[Run], *, partial: bool, searches: Mapping[str, Searched] | None = None) -> Report:
    """Return the report of the run files, and of what searches found by implementation.

    Raises `UsageError` where the runs cannot be shown (together).
    """
    return report_of(observed(runs, partial=partial), runs, searches or {})


def report_of(seen: Observed, all_runs: Iterable[Run], searches: Mapping[str, Searched]) -> Report:
    """Return the report of those cells, and of what was timed in any of the runs."""
    runs, columns, cells = seen.runs, seen.columns, seen.cells
    timed = tuple(timed_line for run in all_runs for timed_line in _timed(run))
    environments = [environment for run in runs for environment in _environments(run, several=len(runs) > 1)]
    by_stand: dict[str, list[RecordedCell]] = {name: [] for name in STANDS}
    for cell in cells:
        by_stand[stand(cell)].append(cell)
    cases = {case.id: case for run in runs for case in run.cases.values()}
    counted = Counter(cell.verdict for cell in cells)
    failed = [(environment.id, environment.fault) for environment in environments if environment.fault]
    clauses = {number: title for run in runs for number, title in run.header.clauses.items()}
    lines = [line for run in runs for line in run.environments]
    probes = probed(lines, cells, {op: dialect for run in runs for op, dialect in run.header.dialects.items()})
    sections = {number: title for run in runs for number, title in run.header.sections.items()}
    cells_by_case: dict[str, list[RecordedCell]] = {case: [] for case in cases}
    for cell in cells:
        cells_by_case[cell.case.id].append(cell)
    absent = tuple(cell for run in runs for cell in missing(run, columns, cells_by_case))
    return Report(
        runs=tuple(_summary(run) for run in runs),
        environments=tuple(environments),
        libraries=tuple(_libraries(columns, environments)),
        counts={verdict: counted[verdict] for verdict in Verdict},
        stands={name: len(cells_there) for name, cells_there in by_stand.items()},
        unexpected=findings(by_stand["unexpected"]),
        stale=findings(by_stand["stale"]),
        known=findings(by_stand["known"]),
        documented=findings(by_stand["documented"]),
        ranked=ranked(cells, {glob: kind for run in runs for glob, kind in run.header.data_kinds.items()}),
        matrix=matrix(clauses, sections, columns, cells, by_field(absent), failed),
        dtypes=dtypes_of(cells),
        grades=graded(cells),
        bits=determinism(lines, cells),
        families=families(cells),
        dialects=dialects(lines, cells, probes),
        probed=probes,
        clauses=clauses,
        cases=tuple(cases.values()),
        cells=cells,
        cells_by_case=cells_by_case,
        step_seconds=seen.step_seconds,
        missing=absent,
        timed=timed,
        largest=largest(cells, searches),
        slugs=slugs(list(dict.fromkeys(column.implementation for column in columns))),
    )


def _libraries(columns: Iterable[Column], environments: Iterable[Environment]) -> Iterable[str]:
    """Return the libraries of the columns, of which one process may have several; without any, those of the processes."""
    of_columns = dict.fromkeys(column.library for column in columns)
    return of_columns or dict.fromkeys(each.library for each in environments if each.library)


def _timed(run: Run) -> Iterator[TimedLine]:
    libraries = {line.id: line.library for line in run.environments}
    for line in run.throughput:
        yield TimedLine(framework=libraries[line.environment], line=line)


def framework_of(column: Column) -> str:
    """Return the library of a column, without its version."""
    return column.library.partition(" ")[0]


def _environments(run: Run, *, several: bool) -> Iterator[Environment]:
    for line in run.environments:
        yield Environment(
            id=_environment_name(line.id, run.path.name, several=several),
            group=line.group or "",
            adapter=line.adapter or "",
            library="" if line.failed else library_of(line),
            versions=line.versions,
            settings=line.settings,
            process=line.process,
            host=line.host,
            fault=fault_of(line),
            reason=line.failed or "",
        )


def _environment_name(name: str, file: str, *, several: bool) -> str:
    return f"{name} ({file})" if several else name


def _summary(run: Run) -> RunSummary:
    header = run.header
    timeline = None if run.footer is None else run.footer.timeline
    selection = {name: " ".join(getattr(header.selection, name)) for name in header.selection.__struct_fields__}
    return RunSummary(
        file=run.path.name,
        suite=header.suite,
        spec=header.spec,
        started=header.started,
        finished=run.finished,
        planned=header.planned,
        recorded=len(run.records),
        selection={name: words for name, words in selection.items() if words},
        narrowed=header.narrowed,
        complete=run.complete,
        host={name: str(value) for name, value in header.host.items()},
        timeline=timeline,
        timeline_drawing="" if timeline is None else timeline_drawing(timeline),
    )

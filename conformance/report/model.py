"""From run files to what the page shows, as values: pure functions, no HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.errors import UsageError
from conformance.record import Line, Run
from conformance.report.determinism import Bits, determinism
from conformance.report.dialects import Dialect, dialects
from conformance.report.families import Families, families
from conformance.report.findings import Finding, findings
from conformance.report.grades import Graded, dtypes_of, graded
from conformance.report.matrix import Matrix, matrix
from conformance.report.observed import Cell, Column
from conformance.report.probes import Probed, probed
from conformance.report.wording import Standing, standing
from conformance.verdict import Verdict

_MODES = ("eager", "compiled", "xla")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything the page shows."""

    runs: tuple[RunSummary, ...]
    environments: tuple[Environment, ...]
    libraries: tuple[str, ...]
    counts: Mapping[Verdict, int]
    standings: Mapping[Standing, int]
    unexpected: tuple[Finding, ...]
    known: tuple[Finding, ...]
    documented: tuple[Finding, ...]
    matrix: Matrix
    #: The dtypes that were graded, and each column's grades in their order.
    dtypes: tuple[str, ...]
    grades: tuple[Graded, ...]
    bits: tuple[Bits, ...]
    families: Families
    dialects: tuple[Dialect, ...]
    probed: tuple[Probed, ...]
    clauses: Mapping[str, str]
    cases: tuple[Line, ...]
    cells: tuple[Cell, ...]

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
        return tuple(each for each in self.environments if each.fault)


def build(runs: Sequence[Run], *, partial: bool) -> Page:
    """Return the page of the run files. Raises `UsageError` where they cannot be shown (together)."""
    runs = sorted(runs, key=lambda run: (run.header.get("started", ""), run.path.name))
    _check(runs, partial)
    environments = [each for run in runs for each in _environments(run, several=len(runs) > 1)]
    columns = {column.name: column for column in _columns(runs)}
    cells = tuple(_cell(record, run, columns) for run in runs for record in run.records)
    seen = {cell.column.name for cell in cells}
    by_standing = {each: [cell for cell in cells if cell.standing is each] for each in Standing}
    cases = {case["id"]: case for run in runs for case in run.cases.values()}
    counted = Counter(cell.verdict for cell in cells)
    failed = [(each.id, each.fault) for each in environments if each.fault]
    clauses = {number: title for run in runs for number, title in run.header["clauses"].items()}
    lines = [each for run in runs for each in run.environments]
    found = probed(lines, cells, {op: each for run in runs for op, each in run.header.get("dialects", {}).items()})
    sections = {number: title for run in runs for number, title in run.header.get("sections", {}).items()}
    return Page(
        runs=tuple(_summary(run) for run in runs),
        environments=tuple(environments),
        libraries=tuple(dict.fromkeys(each.library for each in environments if each.library)),
        counts={verdict: counted[verdict] for verdict in Verdict},
        standings={each: len(of) for each, of in by_standing.items()},
        unexpected=findings(by_standing[Standing.UNEXPECTED]),
        known=findings(by_standing[Standing.KNOWN]),
        documented=findings(by_standing[Standing.DOCUMENTED]),
        matrix=matrix(clauses, sections, [each for each in columns.values() if each.name in seen], cells, failed),
        dtypes=dtypes_of(cells),
        grades=graded(cells),
        bits=determinism(lines, cells),
        families=families(cells),
        dialects=dialects(lines, cells, found),
        probed=found,
        clauses=clauses,
        cases=tuple(cases.values()),
        cells=cells,
    )


def _check(runs: Sequence[Run], partial: bool) -> None:
    if not runs:
        raise UsageError("no run file to report")
    for run in runs:
        if not run.complete and not partial:
            count = f"{len(run.records)} of {run.header['planned']} planned cells"
            raise UsageError(f"{run.path}: holds {count} and is no complete run; --partial shows it, marked as that")
        if run.header["spec"] != runs[0].header["spec"]:
            specs = f"spec {run.header['spec']}, and {runs[0].path} spec {runs[0].header['spec']}"
            raise UsageError(f"{run.path}: ran {specs}: one report shows one spec")
    files: dict[str, Run] = {}
    for run in runs:
        for record in run.records:
            first = files.setdefault(record["cell"], run)
            if first is not run:
                raise UsageError(f"{run.path}: the cell {record['cell']} is in {first.path} too")


def _environments(run: Run, *, several: bool) -> Iterator[Environment]:
    for line in run.environments:
        reason = line.get("failed", "")
        # An environment that was not built never got as far as an adapter.
        fault = "" if not reason else "not started" if line.get("adapter") else "not built"
        yield Environment(
            id=f"{line['id']} ({run.path.name})" if several else line["id"],
            group=line.get("group") or "",
            adapter=line.get("adapter") or "",
            library="" if reason else _library(line),
            versions=line.get("versions", {}),
            settings=line.get("settings", {}),
            process=line.get("process", {}),
            host=line.get("host", {}),
            fault=fault,
            reason=reason,
        )


def _columns(runs: Sequence[Run]) -> list[Column]:
    """Return the columns of every record, by library and implementation as the environments name them."""
    libraries: dict[str, int] = {}
    implementations: dict[str, int] = {}
    found: dict[str, Column] = {}
    for run in runs:
        by_id = {line["id"]: line for line in run.environments if "failed" not in line}
        for line in by_id.values():
            libraries.setdefault(_library(line), len(libraries))
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


def _column(record: Line, environment: Line) -> Column:
    implementation, mode, device = record["implementation"], record["mode"], record["device"]
    return Column(
        name=f"{implementation}-{mode}-{device}",
        implementation=implementation,
        mode=mode,
        device=device,
        library=_library(environment),
    )


def _library(environment: Line) -> str:
    name = environment["library"]
    return f"{name} {environment['versions'].get(name, '')}".strip()


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


def _summary(run: Run) -> RunSummary:
    footer: Mapping[str, Any] = run.footer or {}
    selection = run.header["selection"]
    return RunSummary(
        file=run.path.name,
        suite=run.header["suite"],
        spec=run.header["spec"],
        started=run.header.get("started", ""),
        finished=footer.get("finished", ""),
        planned=run.header["planned"],
        recorded=len(run.records),
        selection={name: " ".join(values) for name, values in selection.items() if values},
        narrowed=bool(run.header["narrowed"]),
        complete=run.complete,
        host={name: str(value) for name, value in run.header["host"].items()},
    )

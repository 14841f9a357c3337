"""From run files to what the page shows, as values: pure functions, no HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.ladder import Graded, dtypes_of, graded
from conformance.observed import Cell, cells_of, columns_of, fault_of, in_order, library_of
from conformance.record import Line, Run
from conformance.report.dialects import Dialect, dialects
from conformance.report.findings import Finding, findings
from conformance.report.matrix import Matrix, matrix
from conformance.report.probes import Probed, probed
from conformance.verdict import Standing, Verdict


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
    runs = in_order(runs, partial=partial)
    environments = [each for run in runs for each in _environments(run, several=len(runs) > 1)]
    columns = columns_of(runs)
    cells = cells_of(runs, columns)
    by_standing = {each: [cell for cell in cells if cell.standing is each] for each in Standing}
    cases = {case["id"]: case for run in runs for case in run.cases.values()}
    counted = Counter(cell.verdict for cell in cells)
    failed = [(each.id, each.fault) for each in environments if each.fault]
    clauses = {number: title for run in runs for number, title in run.header["clauses"].items()}
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
        matrix=matrix(clauses, sections, columns, cells, failed),
        dtypes=dtypes_of(cells),
        grades=graded(cells),
        dialects=dialects([each for run in runs for each in run.environments], cells),
        probed=probed([each for run in runs for each in run.environments], cells),
        clauses=clauses,
        cases=tuple(cases.values()),
        cells=cells,
    )


def _environments(run: Run, *, several: bool) -> Iterator[Environment]:
    for line in run.environments:
        reason = line.get("failed", "")
        yield Environment(
            id=f"{line['id']} ({run.path.name})" if several else line["id"],
            group=line.get("group") or "",
            adapter=line.get("adapter") or "",
            library="" if reason else library_of(line),
            versions=line.get("versions", {}),
            settings=line.get("settings", {}),
            process=line.get("process", {}),
            host=line.get("host", {}),
            fault=fault_of(line),
            reason=reason,
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

"""A run file as read: its lines by kind, and what must hold between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.errors import UsageError
from conformance.runfile.named import Named
from conformance.runfile.structs import AnyLine, CaseLine, EnvironmentLine, Footer, Header, Record
from conformance.runfile.throughput_structs import ThroughputLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run file as read."""

    path: Path
    header: Header
    environments: tuple[EnvironmentLine, ...] = ()
    cases: Mapping[str, CaseLine] = field(default_factory=dict)
    #: Those of a large file are read again whenever they are asked for: go through them once.
    records: Sequence[Record] = ()
    throughput: tuple[ThroughputLine, ...] = ()
    footer: Footer | None = None

    @property
    def complete(self) -> bool:
        """Whether every planned cell and every planned timing was recorded and the run ended."""
        timings = self.header.throughput.planned if self.header.throughput else 0
        recorded = (len(self.records), len(self.throughput))
        return self.footer is not None and recorded == (self.header.planned, timings)

    @property
    def progress(self) -> str:
        """How much of what was planned it holds, in words."""
        if self.header.throughput is not None:
            return f"{len(self.throughput)} of {self.header.throughput.planned} planned timings"
        return f"{len(self.records)} of {self.header.planned} planned cells"

    @property
    def times(self) -> bool:
        """Whether it is a run of throughput, which judges no cell."""
        return self.header.throughput is not None

    @property
    def finished(self) -> str:
        """When it ended, in local time with the offset; empty where it did not."""
        return self.footer.finished if self.footer else ""


def run_of_lines(path: Path, lines: Iterable[AnyLine], stored: Sequence[Record] | None = None) -> Run:
    """Return the run that those lines make, the header among them. Raises `UsageError` where they contradict one another.

    `stored` are its records where they are kept elsewhere; None: they are held.
    """
    headers: list[Header] = []
    footers: list[Footer] = []
    environments: list[EnvironmentLine] = []
    cases: list[CaseLine] = []
    records: list[Record] = []
    timings: list[ThroughputLine] = []
    named = Named(path)
    for line in lines:
        match line:
            case Record():
                named.add(line)
                if stored is None:
                    records.append(line)
            case CaseLine():
                cases.append(line)
            case EnvironmentLine():
                environments.append(line)
            case ThroughputLine():
                timings.append(line)
            case Header():
                headers.append(line)
            case Footer():
                footers.append(line)
    if len(headers) != 1 or len(footers) > 1:
        raise UsageError(f"{path}: has {len(headers)} headers and {len(footers)} footers: expected one run")
    run = Run(
        path=path,
        header=headers[0],
        environments=tuple(environments),
        cases={case.id: case for case in cases},
        records=tuple(records) if stored is None else stored,
        throughput=tuple(timings),
        footer=footers[0] if footers else None,
    )
    _check_unique(path, "environment", [environment.id for environment in environments])
    _check_unique(path, "case", [case.id for case in cases])
    _check_unique(path, "timing", [timing.timed for timing in timings])
    named.check(run.cases, _working(run), run.header.causes)
    _check_timings(run)
    return run


def _working(run: Run) -> set[str]:
    return {environment.id for environment in run.environments if environment.failed is None}


def _check_unique(path: Path, noun: str, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise UsageError(f"{path}: the {noun} {twice} is recorded twice")


def _has_what_it_says(timing: ThroughputLine) -> bool:
    """Return whether a line has numbers where it is measured, and either those or void samples where it is void."""
    match timing.standing:
        case "unmeasured":
            return timing.measurement is None
        case "voided":
            return timing.measurement is not None or bool(timing.voided)
        case _:
            return timing.measurement is not None


def _check_timings(run: Run) -> None:
    """Raise `UsageError` where a timing is of no environment or denies its numbers, or the run does both."""
    working = _working(run)
    for timing in run.throughput:
        if timing.environment not in working:
            raise UsageError(f"{run.path}: the timing {timing.timed} is of no environment in that file")
        if not _has_what_it_says(timing):
            raise UsageError(f"{run.path}: the timing {timing.timed} is {timing.standing}, which its numbers deny")
        if timing.measurement is not None and not timing.pass_:
            raise UsageError(f"{run.path}: the timing {timing.timed} names no pass")
    for environment in run.environments:
        if environment.failed is None and not environment.library:
            raise UsageError(f"{run.path}: the environment {environment.id} has no library and did not fail")
    if run.times and (run.records or run.header.planned):
        raise UsageError(f"{run.path}: times, and judges {len(run.records)} cells: a run does one of the two")

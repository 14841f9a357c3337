"""pytest as the runner: collects the spec's YAML files, reports each cell as its outcome arrives.

Passed to pytest by `conformance run`, never loaded from an entry point. The loop takes outcomes from
`execute` in whatever order they end; the items serve selection, reporting, `-x`, `--lf` and JUnit XML.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import pytest

from conformance.cause import text_of
from conformance.errors import Place, StorageError
from conformance.planning.order import in_order
from conformance.planning.plan import Cell
from conformance.run.entries import Entry, Judging
from conformance.run.items import PREPARED, CellItem, FailedItem, SpecFile
from conformance.run.prepared import Prepared
from conformance.run.second_try import settled
from conformance.runfile.lines import recorded_catalogue, timeline_part
from conformance.runfile.notes import describe, disturbed
from conformance.runfile.structs import Record
from conformance.runfile.terminal import plain
from conformance.runfile.writing import RunWriter
from conformance.spec.divergences import Known, Listed
from conformance.verdict import Standing

Status = Literal["passed", "failed", "skipped", "xfailed"]


class Plugin:
    """The hooks of one run."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.deselected = False

    def pytest_configure(self, config: pytest.Config) -> None:
        if config.get_verbosity() or config.option.collectonly:
            self.prepared.live = None  # a person asked for a line each, for less, or for no run
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("cells run in parallel by --workers; pytest-xdist (-n) cannot drive them")
        config.stash[PREPARED] = self.prepared

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return SpecFile.from_parent(parent, path=file_path) if file_path in self.prepared.cells else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        if self.prepared.recorded:
            items[:] = [
                item for item in items if not isinstance(item, CellItem) or item.cell.id not in self.prepared.recorded
            ]
        for name, why in self.prepared.failures.items():
            node = FailedItem.from_parent(
                session, name=f"environment::{name}", nodeid=f"environment::{name}", message=why
            )
            items.append(node)
        for entry in self.prepared.unmatched:
            name = f"spec/divergences.yaml::{entry.place.line}"
            message = f"{entry.place}: no witness is a cell of the whole matrix"
            items.append(FailedItem.from_parent(session, name=name, nodeid=name, message=message))

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self.prepared.live is not None:
            reporter.showfspath = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count what is shown by the lines of progress under pytest's own word, and show nothing more of it."""
        if self.prepared.live is None or report.when != "call":
            return None
        return ("xfailed" if hasattr(report, "wasxfail") else report.outcome), "", ""

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.deselected = self.deselected or any(isinstance(item, CellItem) for item in items)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        if session.config.option.collectonly:
            return True
        items = {item.cell.id: item for item in session.items if isinstance(item, CellItem)}
        planned = len(items) + len(self.prepared.recorded)
        # What is loaded by now lives to the end: looking for garbage among it takes a tenth of our own time.
        gc.freeze()
        try:
            self._record(session, items, planned)
        except StorageError as error:
            self.prepared.unwritten = error
            pytest.exit(str(error), returncode=pytest.ExitCode.INTERNAL_ERROR)
        return True

    def _record(self, session: pytest.Session, items: Mapping[str, CellItem], planned: int) -> None:
        """Run the cells into the run file. Raises `StorageError`."""
        with self.prepared.open_run(planned, self.deselected) as writer, self.prepared.live or nullcontext():
            if self.prepared.live is not None:
                self.prepared.live.begin(self.prepared.libraries[item.cell.key.name] for item in items.values())
            self._report_failures(session)
            ended = False
            try:
                matched = self._loop(session, items, writer)
                self._report_unmatched(session, matched)
                ended = True
            finally:
                timeline = self.prepared.performer.stages.timeline()
                writer.close_run(
                    ended=ended, finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"), timeline=timeline_part(timeline)
                )
        if writer.recorded != planned:
            self.prepared.mismatch = (planned, writer.recorded)

    def _loop(self, session: pytest.Session, items: Mapping[str, CellItem], writer: RunWriter) -> set[Place]:
        """Run the cells, and return the places of the entries that list something of one."""
        matched: set[Place] = set()
        stages = self.prepared.performer.stages
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        # Whoever wants to stop at a failure does not want to wait for all other cells first.
        patience = session.config.getoption("maxfail")
        cells = [item.cell for item in items.values()]
        for entry in self._settled(cells, patience):
            record = entry.record
            matched |= {listed.place for _, listed in entry.listed.listed}
            status, message = status_of(record, entry.listed, entry.stale)
            with stages.at("recording"):
                writer.add(record)
            if record.first is not None:
                self.prepared.disturbed.append(f"{record.cell}: {disturbed(record.first, record.verdict)}")
            seconds = sum(step.seconds or 0.0 for step in record.steps)
            with stages.at("telling pytest"):
                if self.prepared.live is not None:
                    library = self.prepared.libraries[entry.cell.key.name]
                    self.prepared.live.ended(library, record.verdict, record.standing)
                _report(items[entry.cell.id], status, message, seconds)
                if reporter is not None:
                    # What it keeps of setups and teardowns it shows nowhere, and of 100,000 cells that is much.
                    reporter.stats.pop("", None)
            _obey(session)
        return matched

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell which cells were disturbed by others; the verdicts of the run are without that."""
        if self.prepared.disturbed:
            terminalreporter.section("disturbed by what ran before in the same process")
            for line in self.prepared.disturbed:
                terminalreporter.line(plain(line))

    def _settled(self, cells: Sequence[Cell], patience: int) -> Iterator[Entry]:
        """Perform the cells, those first that are to be first, and among them the longest process first."""
        cells, performer = in_order(cells, self.prepared.costs), self.prepared.performer
        judging = Judging(self.prepared.divergences, self.prepared.versions, performer.stages)
        first = [cell for cell in cells if cell.id in self.prepared.first]
        rest = [cell for cell in cells if cell.id not in self.prepared.first]
        performer.announce(rest)
        yield from settled(first, performer, judging, patience)
        if 0 < len(first) < len(cells):
            self.prepared.after_first()
        performer.announce([])
        yield from settled(rest, performer, judging, patience)

    def _report_unmatched(self, session: pytest.Session, matched: set[Place]) -> None:
        """Report the entries that must list some cell of this run and list none."""
        if self.deselected:
            return
        shown = {(listed.reason, listed.diagnosis, listed.upstream) for listed in self.prepared.shown}
        for entry in self.prepared.matching:
            listed = entry.divergence
            if entry.place not in matched and (listed.reason, listed.diagnosis, listed.upstream) not in shown:
                name = f"spec/divergences.yaml::{entry.place.line}"
                message = f"{entry.place}: lists no cell of a run of everything"
                item = FailedItem.from_parent(session, name=name, nodeid=name, message=message)
                _report(item, "failed", message, 0.0)
                _obey(session)

    def _report_failures(self, session: pytest.Session) -> None:
        for item in session.items:
            if isinstance(item, FailedItem):
                _report(item, "failed", item.message, 0.0)
                _obey(session)


def status_of(record: Record, listed: Known, stale_entries: Sequence[Listed]) -> tuple[Status, str]:
    """Return how pytest counts a record, and what it says of it."""
    words = recorded_catalogue()
    message = describe(record, words)
    match record.standing:
        case Standing.AGREES | Standing.DOCUMENTED:
            return "passed", message
        case Standing.APART:
            return "skipped", message
        case Standing.KNOWN:
            return "xfailed", listed.by_entry[0][1].divergence.reason
        case Standing.UNEXPECTED if stale_entries:
            stale_text = f"stale: {record.cell} is {record.verdict}, and a witness that no longer shows it"
            return "failed", f"{stale_entries[0].place}: {stale_text}\n{message}"
        case Standing.UNEXPECTED:
            unlisted = "; ".join(text_of(alternatives, words) for alternatives in listed.unlisted)
            return "failed", f"{message}\n  beside what is listed: {unlisted}" if listed.listed else message


def _report(item: pytest.Item, status: Status, message: str, seconds: float) -> None:
    """Tell pytest of an item's three phases; the middle one carries the verdict."""
    message = plain(message)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    now = time.time()
    for when in ("setup", "call", "teardown"):
        outcome = status if when == "call" else "passed"
        longrepr: Any = None
        if outcome == "skipped":
            longrepr = (str(item.path), 0, message.partition("\n")[2].strip() or message)
        elif outcome == "failed":
            longrepr = message
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={item.name: 1},
            outcome="skipped" if outcome == "xfailed" else outcome,
            longrepr=longrepr,
            when=when,
            duration=seconds if when == "call" else 0.0,
            start=now,
            stop=now,
        )
        if outcome == "xfailed":
            report.wasxfail = message
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def _obey(session: pytest.Session) -> None:
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


def arguments(prepared: Prepared, cache: Path, extra: Iterable[str]) -> list[str]:
    """Return pytest's command line: our configuration, the files that have cells, and the person's own words."""
    extra = list(extra)
    files = [] if any("::" in argument for argument in extra) else [str(file) for file in prepared.cells]
    return [
        "-c",
        str(Path(__file__).with_name("pytest.ini")),
        f"--rootdir={prepared.root}",
        "-o",
        f"cache_dir={cache}",
        # Case files may lie in a project with tests of its own.
        "--noconftest",
        # Nothing here is a test module to rewrite, nor a property to search: both would import and compile much.
        "--assert=plain",
        "-p",
        "no:hypothesispytest",
        # Nor a function to time: it would leave a folder of its own.
        "-p",
        "no:benchmark",
        *(["-o", "console_output_style=classic"] if prepared.live else []),
        *files,
        *extra,
    ]

"""`conformance run`: from a command line to a run file, by way of pytest."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from conformance.errors import Place, SuiteError, UsageError, WorkerError
from conformance.execution.kept_offers import KeptOffers
from conformance.execution.pool import Workers
from conformance.execution.time_profile import Stages
from conformance.planning.costs import FILE as COSTS
from conformance.planning.costs import load_costs
from conformance.planning.discovery import WorkerKey, keys
from conformance.planning.offer import check_unique
from conformance.planning.plan import Cell, Offer, Selection, nothing_planned, plan, thread_keys
from conformance.planning.shards import share
from conformance.run.entries import site_of
from conformance.run.first_report import FirstReport, smoke_cells
from conformance.run.live import live_on_terminal
from conformance.run.performers import Performer, Processes
from conformance.run.plugin import Plugin, arguments
from conformance.run.prepared import Prepared
from conformance.run.programs import check_interpreters
from conformance.run.resumption import resumed
from conformance.run.run_options import FOLDER, RunOptions, check_out, out_path
from conformance.runfile import lines
from conformance.runfile.run import Run
from conformance.runfile.structs import EnvironmentLine, RecordedShard
from conformance.runfile.terminal import plain
from conformance.runfile.writing import RunWriter
from conformance.spec.causes import catalogue
from conformance.spec.divergences import Listed, in_force, load_divergences, unmatched
from conformance.spec.loader import Spec, load
from conformance.spec.locations import root, spec_folder
from conformance.spec.tiers import Tier, Tiers, load_tiers
from conformance.verdict import Standing

_LOG_TAIL = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a run ended."""

    exit_code: int
    #: Its run file; None where none was written.
    file: Path | None


def run(options: RunOptions, elsewhere: AbstractContextManager[Performer] | None = None) -> Ran:
    """Run the selected cells in processes of this machine, or `elsewhere`. Raises `SpecErrors`, `UsageError`, `SuiteError`."""
    stages = Stages()
    check_out(options)
    with stages.at("loading the spec"):
        spec, divergences, tiers = _loaded(options.files, options.selection)
    check_interpreters(options.interpreters, options.adapters, options.unbuilt)
    with elsewhere or _here(options, spec, stages) as performer:
        failures = {group: _unbuilt(group, log) for group, log in options.unbuilt.items()}
        asked, missing = performer.keys(options.adapters, options.selection)
        failures |= {group: (why, lines.absent_line(group, why)) for group, why in missing.items()}
        offers = _survey(asked, spec, performer, failures)
        offers += _survey(thread_keys(spec.cases, offers, options.selection, tiers), spec, performer, failures)
        with stages.at("planning"):
            everything = list(plan(spec.cases, offers, options.selection, tiers))
            costs = load_costs(spec_folder() / COSTS)
        if not everything and not failures:
            raise UsageError(nothing_planned(options.selection, offers))
        cells = share(everything, options.shard, costs) if options.shard else everything
        performer.begin(costs)
        narrowed = options.narrowed or bool(failures)
        old = resumed(options, spec, offers) if options.resume else None
        partial = narrowed or options.shard is not None
        unmatched_entries, matching = ([], []) if partial else _matching(divergences, spec, offers, cells)
        prepared = Prepared(
            root=_root(options.files),
            cells=_by_file(cells, spec),
            divergences=divergences,
            versions={offer.key.name: offer.versions for offer in offers},
            libraries={offer.key.name: offer.library for offer in offers},
            live=live_on_terminal(),
            failures={name: why for name, (why, _) in failures.items()},
            performer=performer,
            costs=costs,
            open_run=lambda planned, deselected: _open(
                options, spec, offers, failures, everything, planned, narrowed or deselected, old
            ),
            unmatched=unmatched_entries,
            matching=matching,
        )
        if old is not None:
            _remember(prepared, old)
        first_report = FirstReport(options.first_report, out_path(options, narrowed))
        if options.first_report is not None and options.selection.tier is not Tier.SMOKE:
            prepared.first = smoke_cells(spec, offers, options.selection, tiers, cells)
            prepared.after_first = first_report.begin
        plugin = Plugin(prepared)
        code = int(pytest.main(arguments(prepared, FOLDER.absolute(), options.pytest_arguments), plugins=[plugin]))
        first_report.end()
    _tell(performer, stages if options.profile else None)
    file = out_path(options, narrowed or plugin.deselected)
    return Ran(exit_code=_exit_code(code, prepared), file=file if file.is_file() else None)


@contextlib.contextmanager
def _here(options: RunOptions, spec: Spec, stages: Stages) -> Iterator[Performer]:
    """Have the processes of this machine."""
    kept = KeptOffers(FOLDER / "offers", [entry.case.configuration for entry in spec.cases])
    with Workers(options.workers, FOLDER, options.limits, stages, offers=kept) as workers:
        yield Processes(workers, options.interpreters, grouped=options.grouped)


def _tell(performer: Performer, stages: Stages | None) -> None:
    """Print which processes could not be ended, and where the time went."""
    for left in performer.left:
        print(plain(f"could not be ended: {left}"))
    if stages is not None:
        print(stages.profile())


def _loaded(files: Sequence[Path], selection: Selection) -> tuple[Spec, Sequence[Listed], Tiers]:
    """Return the spec, shipped or of one's own files, with the divergences and the tiers. Raises `UsageError`."""
    spec = load(spec_folder(), files)
    if not any(selection.takes_case(entry.case) for entry in spec.cases):
        raise UsageError(f"nothing selected: no case matches {', '.join(selection.cases) or 'a file'}")
    # What names shipped cases is not held against one's own, which run in every mode.
    ids = [] if files else [entry.case.id for entry in spec.cases]
    divergences = load_divergences(spec_folder() / "divergences.yaml", ids, catalogue())
    return spec, divergences, Tiers() if files else load_tiers(spec_folder() / "tiers.yaml", ids)


def _remember(prepared: Prepared, old: Run) -> None:
    """Let a run that goes on know what was recorded before."""
    prepared.recorded = frozenset(record.cell for record in old.records)
    prepared.failed = any(record.standing is Standing.UNEXPECTED for record in old.records)
    prepared.shown = frozenset(listed for record in old.records for listed in record.divergence)


def _unbuilt(group: str, log: Path) -> tuple[str, EnvironmentLine]:
    """Return a group whose environment was not built as what does not work."""
    tail = log.read_text(errors="replace")[-_LOG_TAIL:] if log.is_file() else f"(no log at {log})"
    line = lines.unbuilt_line(group, tail)
    return line.failed or "", line


def _survey(
    wanted: Sequence[WorkerKey], spec: Spec, performer: Performer, failures: dict[str, tuple[str, EnvironmentLine]]
) -> list[Offer]:
    """Return the offers in the order of the keys; what was asked for and does not work joins `failures`."""
    by_name = {key.name: key for key in wanted}
    offers: dict[str, Offer] = {}
    absent: set[str] = set()
    for answer in performer.survey(wanted, [entry.case.configuration for entry in spec.cases]):
        match answer:
            case Offer():
                try:
                    check_unique(offers.values(), answer)
                except UsageError as error:
                    refused = WorkerError(worker=answer.key.name, message=str(error))
                    failures[answer.key.name] = (str(refused), lines.failure_line(refused, answer.key))
                else:
                    offers[answer.key.name] = answer
            case WorkerError(worker=name, missing=missing):
                key = by_name[name]
                if missing is not None and not key.asked:
                    absent.add(missing)
                else:
                    failures[name] = (str(answer), lines.failure_line(answer, key))
    if absent:
        print(f"not judged, for want of it in this environment: what needs {', '.join(sorted(absent))}")
    return [offers[key.name] for key in wanted if key.name in offers]


def _root(own: Sequence[Path]) -> Path:
    """Return the folder from which pytest names the files: of one's own, the present one where it holds them all."""
    if not own:
        return root()
    folders = [file.parent for file in own]
    here = Path.cwd()
    return here if all(folder.is_relative_to(here) for folder in folders) else Path(os.path.commonpath(folders))


def _by_file(cells: Sequence[Cell], spec: Spec) -> dict[Path, dict[str, list[Cell]]]:
    files = {located.case.id: located.file for located in spec.cases}
    result: dict[Path, dict[str, list[Cell]]] = {}
    for case, group in itertools.groupby(cells, key=lambda cell: cell.case.id):
        result.setdefault(files[case], {})[case] = list(group)
    return result


def _matching(
    divergences: Sequence[Listed], spec: Spec, offers: Sequence[Offer], planned: Sequence[Cell]
) -> tuple[list[Listed], list[Listed]]:
    """Return the entries no witness of which is a cell of the whole matrix, and those that list something planned.

    None where not every adapter took part. The latter have a witness among the cells planned, at its versions, of an
    implementation that supports anything here: one that needs a processor's instructions may support nothing.
    """
    shipped = {key.file_name for key in keys({})}
    if not shipped <= {offer.key.file_name for offer in offers}:
        return [], []
    everything = list(plan(spec.cases, offers, Selection(tier=Tier.FULL)))
    supported = {cell.implementation.name for cell in everything if cell.unsupported is None}
    without = unmatched(divergences, (site_of(cell) for cell in everything))
    versions = {offer.key.name: offer.versions for offer in offers}
    by_witness: dict[str, list[Listed]] = {}
    for entry in divergences:
        for witness in entry.divergence.witnesses:
            by_witness.setdefault(witness, []).append(entry)
    matching: dict[Place, Listed] = {}
    for cell in (cell for cell in planned if cell.implementation.name in supported):
        entries = in_force(by_witness.get(cell.case.id, ()), site_of(cell), versions[cell.key.name])
        matching |= {entry.place: entry for entry in entries}
    return without, list(matching.values())


def _open(
    options: RunOptions,
    spec: Spec,
    offers: Sequence[Offer],
    failures: Mapping[str, tuple[str, EnvironmentLine]],
    everything: Sequence[Cell],
    planned: int,
    narrowed: bool,
    old: Run | None,
) -> RunWriter:
    """Open the run file and write what comes before the records, or complete it. Raises `pytest.UsageError`."""
    header = lines.header_line(spec, options.selection, options.pytest_arguments, planned, narrowed)
    if options.shard is not None:
        recorded = RecordedShard(number=options.shard.number, count=options.shard.count, narrowed=narrowed)
        header = msgspec.structs.replace(header, narrowed=True, shard=recorded)
    # Shards have the cases of all of them, so that each tells their order.
    used = {cell.case.id for cell in everything}
    environments = [*map(lines.environment_line, offers), *(line for _, line in failures.values())]
    cases = [lines.case_line(located) for located in spec.cases if located.case.id in used]
    try:
        writer = RunWriter(out_path(options, narrowed), narrowed=header.narrowed, resumed=old)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    if old is None:
        started = msgspec.structs.replace(header, started=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        writer.add(started, *environments, *cases)
    elif not old.records:
        there = {environment.id for environment in old.environments}
        missing = [line for line in environments if line.id not in there]
        writer.add(*missing, *(line for line in cases if line.id not in old.cases))
    return writer


def _exit_code(code: int, prepared: Prepared) -> int:
    """Return our exit code for pytest's: 2 is the user's mistake here, and an interruption there.

    Raises `StorageError` and `SuiteError`.
    """
    if prepared.unwritten is not None:
        raise prepared.unwritten
    if code == pytest.ExitCode.INTERRUPTED:
        return 130
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and prepared.recorded:
        code = pytest.ExitCode.OK  # everything was recorded before
    if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return 2
    if code == pytest.ExitCode.OK and prepared.mismatch is not None:
        planned, recorded = prepared.mismatch
        raise SuiteError(f"planned {planned} cells and recorded {recorded}")
    return pytest.ExitCode.TESTS_FAILED if code == pytest.ExitCode.OK and prepared.failed else code

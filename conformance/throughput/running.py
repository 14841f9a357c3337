"""`conformance throughput`: from a command line to a run file of what was timed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from conformance.errors import UsageError, WorkerError
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.planning.discovery import WorkerKey, holding, keys
from conformance.planning.plan import Cell, Offer, Selection, nothing_planned, plan
from conformance.run.programs import check_interpreters
from conformance.run.run_options import FOLDER
from conformance.runfile import lines
from conformance.runfile.throughput_structs import RecordedEffort, ThroughputLine, ThroughputPlan
from conformance.runfile.writing import Judges, RunWriter, check_replaceable
from conformance.spec.loader import Spec, load
from conformance.spec.locations import spec_folder
from conformance.spec.tiers import Tiers, load_tiers
from conformance.throughput.bandwidth import Bandwidth, last_level_cache
from conformance.throughput.limit import tensor_bytes
from conformance.throughput.measuring import Effort, Machine, measure
from conformance.throughput.sizing import Room, load_sizes, memory, sized
from conformance.throughput.subject import can_be_timed, passes_of
from conformance.throughput.threads import with_as_many_as_cores, with_threads
from conformance.worker.conditions import cores

#: The cases that are timed, in a folder of the spec of their own: no run judges all of their values.
CASES = "throughput"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingOptions:
    """What a person asked to be timed."""

    selection: Selection
    adapters: tuple[str, ...] = ()
    interpreters: Mapping[str, str]
    out: Path
    effort: Effort
    limits: Limits
    #: Seconds after which nothing further is begun; None: none.
    within: float | None = None


#: The number of the way in which this suite measures, `ThroughputPlan.method`.
METHOD = 3
#: What stands beside the cases and is none.
_BESIDE = ("sizes", "tiers")


def load_timed(room: Room | None = None) -> Spec:
    """Return the spec with the cases that are timed alone, in the shapes for that room. Raises `SpecErrors`.

    Without a room, in those of the machine at hand.
    """
    room = room or Room(cache=last_level_cache(), memory=memory())
    folder = spec_folder()
    files = sorted(path for path in (folder / CASES).glob("*.yaml") if path.stem not in _BESIDE)
    spec = load(folder, files)
    sizes = load_sizes(folder / CASES / "sizes.yaml", [entry.case.id for entry in spec.cases])
    return replace(spec, cases=tuple(replace(entry, case=sized(entry.case, sizes, room)) for entry in spec.cases))


def check_timed() -> None:
    """Check the cases that are timed, their sizes and their tiers. Raises `SpecErrors`."""
    spec = load_timed()
    load_tiers(spec_folder() / CASES / "tiers.yaml", [entry.case.id for entry in spec.cases])


def planned(
    spec: Spec, wanted: Sequence[WorkerKey], selection: Selection, workers: Workers
) -> tuple[list[Cell], list[Offer], list[tuple[WorkerError, WorkerKey]]]:
    """Return the cells to be timed, the offers they come from, and the workers that did not start.

    Of the processes those live on that have a cell to time.
    """
    offers, failures = _asked(spec, wanted, workers)
    cells = list(plan(spec.cases, offers, selection, _tiers(spec)))
    _end_idle(wanted, cells, workers)
    return cells, offers, failures


def planned_with_threads(
    spec: Spec, offers: Sequence[Offer], selection: Selection, workers: Workers
) -> tuple[list[Cell], list[Offer], list[tuple[WorkerError, WorkerKey]]]:
    """Return the same of what takes another number of threads than there are cores: with as many as these."""
    if "cpu" not in (selection.devices or ("cpu",)):
        return [], [], []
    wanted = with_as_many_as_cores(offers, cores())
    threaded, failures = _asked(spec, wanted, workers)
    on_cpu = replace(selection, devices=("cpu",))
    cells = list(plan(with_threads(spec, cores()), threaded, on_cpu, _tiers(spec)))
    _end_idle(wanted, cells, workers)
    return cells, threaded, failures


def _end_idle(wanted: Iterable[WorkerKey], cells: Iterable[Cell], workers: Workers) -> None:
    """End those processes that have no cell to time."""
    timed = {cell.key for cell in cells if can_be_timed(cell)}
    for key in wanted:
        if key in workers.live and key not in timed:
            workers.end(key)


def _tiers(spec: Spec) -> Tiers:
    return load_tiers(spec_folder() / CASES / "tiers.yaml", [entry.case.id for entry in spec.cases])


def _asked(
    spec: Spec, wanted: Sequence[WorkerKey], workers: Workers
) -> tuple[list[Offer], list[tuple[WorkerError, WorkerKey]]]:
    """Return what those workers offer, in their order, and those that did not start."""
    by_name = {key.name: key for key in wanted}
    offers, failures = [], []
    for answer in survey(wanted, [entry.case.configuration for entry in spec.cases], workers):
        match answer:
            case Offer():
                offers.append(answer)
            case WorkerError(worker=name, missing=missing) if missing is None or by_name[name].asked:
                failures.append((answer, by_name[name]))
            case WorkerError():
                pass
    order = {name: position for position, name in enumerate(by_name)}
    offers.sort(key=lambda offer: order[offer.key.name])
    return offers, failures


def run(options: TimingOptions) -> int:
    """Time the selected passes, write the run file, and return the exit code. Raises `SpecErrors`, `UsageError`."""
    spec = load_timed()
    check_replaceable(options.out, Judges.TIMINGS, narrowed=False)
    check_interpreters(options.interpreters, options.adapters)
    offered = keys(options.interpreters, options.adapters)
    wanted = holding(offered, options.selection.implementations, options.adapters)
    with Workers(len(wanted), FOLDER, options.limits) as workers:
        cells, offers, failures = planned(spec, wanted, options.selection, workers)
        if not cells:
            raise UsageError(nothing_planned(options.selection, offers))
        further = planned_with_threads(spec, offers, options.selection, workers)
        cells, offers, failures = [*cells, *further[0]], [*offers, *further[1]], [*failures, *further[2]]
        with RunWriter(options.out, Judges.TIMINGS) as writer:
            _open(writer, options, cells, offers, failures)
            bandwidth = Bandwidth()
            end = math.inf if options.within is None else time.monotonic() + options.within
            machine = Machine(workers, bandwidth, last_level_cache(), options.effort, end=end)
            timed = 0
            for line in _timed(cells, machine):
                writer.add(line)
                timed += 1
            writer.close_run(ended=True, timed=timed, finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    print(f"{timed} lines: {options.out}")
    return 0


def _open(
    writer: RunWriter,
    options: TimingOptions,
    cells: Sequence[Cell],
    offers: Sequence[Offer],
    failures: Sequence[tuple[WorkerError, WorkerKey]],
) -> None:
    """Write what comes before the lines; a run of throughput alone plans no cell."""
    header = lines.header_line(load(spec_folder()), options.selection, (), 0, narrowed=False)
    subjects = sum(len(passes_of(cell)) if can_be_timed(cell) else 1 for cell in cells)
    effort = options.effort
    about = ThroughputPlan(
        planned=subjects,
        effort=RecordedEffort(batches=effort.batches, seconds=effort.seconds, rounds=effort.rounds, most=effort.most),
        cache=last_level_cache(),
        memory=memory(),
        method=METHOD,
    )
    writer.add(msgspec.structs.replace(header, throughput=about, started=time.strftime("%Y-%m-%dT%H:%M:%S%z")))
    for offer in offers:
        writer.add(lines.environment_line(offer))
    for error, key in failures:
        writer.add(lines.failure_line(error, key))


def _timed(cells: Sequence[Cell], machine: Machine) -> Iterator[ThroughputLine]:
    """Yield the lines of the cells, case by case, and say on a terminal how far it is."""
    groups = ordered(cells)
    started = time.monotonic()
    left = sum(map(len, groups))
    for number, group in enumerate(groups, 1):
        # Each case may take its part of the time that is left; what it leaves is the others'.
        machine.end_of_case = time.monotonic() + (machine.end - time.monotonic()) * len(group) / left
        left -= len(group)
        yield from measure(group, machine)
        print(f"{number} of {len(groups)} cases: {group[0].case.id}, {time.monotonic() - started:.0f} s", flush=True)


def ordered(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells case by case: those of the smallest tensors first, and of equal ones what trains first.

    What the smallest takes tells what a call costs before it moves anything; training has most to measure, and is what
    a limit of time must not cut off.
    """
    by_case: dict[str, list[Cell]] = {}
    for cell in cells:
        by_case.setdefault(cell.case.id, []).append(cell)

    def order(group: Sequence[Cell]) -> tuple[int, bool]:
        case = group[0].case
        # As powers of two: tensors that were grown to one size differ by a part of a row.
        return round(math.log2(tensor_bytes(case.configuration))), case.performed[0].step != "train"

    return sorted(by_case.values(), key=order)

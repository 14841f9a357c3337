"""How a run grows with the workers of a cluster: `python benchmarks/cluster.py RUN [--measure]`.

A simulation of one run: its batches are those that `conformance run --scheduler` would send, and a batch costs what its cells took in
the run file named. Three things are serial: the run itself, which sends batches and records cells; the scheduler,
which handles a task at a time; and each worker, which imports a framework before its first batch. `--measure` measures
the first two here, on a cluster of one worker whose tasks do nothing; without it, `PARAMETERS` are taken.
"""

from __future__ import annotations

import heapq
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from conformance.cluster import tasks
from conformance.cluster.connection import connected
from conformance.cluster.local import LocalCluster
from conformance.cluster.messages import Reply, Told, ToldEntry, taken, written
from conformance.planning.batches import _LONGEST, _SHORTEST, _TO_A_SLOT
from conformance.runfile.reading import read
from conformance.runfile.run import Run
from conformance.runfile.structs import Record
from conformance.runfile.writing import encoded
from conformance.verdict import Verdict

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Seconds that things take."""

    #: Of the run itself: to send a batch, and to take in, record and tell pytest of a cell.
    batch: float = 0.004
    cell: float = 0.0015
    #: Of the scheduler, for each task.
    task: float = 0.002
    #: Of a worker, to import the framework of a process.
    importing: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A batch: its process, its seconds and its cells."""

    process: str
    seconds: float
    cells: int


def signatures(run: Run) -> list[Work]:
    """Return the cells of each signature that were performed, in the row that is cut."""
    seconds: defaultdict[tuple[str, ...], float] = defaultdict(float)
    cells: Counter[tuple[str, ...]] = Counter()
    for record in run.records:
        if record.verdict is Verdict.UNSUPPORTED:
            continue
        configuration = run.cases[record.case].configuration
        signature = (configuration.op, configuration.shape, configuration.dtype, configuration.feature_axes)
        place = (record.environment, record.implementation, record.mode, record.device, repr(signature))
        seconds[place] += sum(step.seconds or 0.0 for step in record.steps) + (record.judging or 0.0)
        cells[place] += 1
    return [Work(process=place[0], seconds=seconds[place], cells=cells[place]) for place in sorted(seconds)]


def cut(row: Sequence[Work], workers: int) -> list[Work]:
    """Return the batches for so many workers, as `conformance.planning.batches` cuts them."""
    whole = sum(work.seconds for work in row)
    target = min(max(whole / (workers * _TO_A_SLOT), _SHORTEST), _LONGEST)
    batches: list[Work] = []
    for work in row:
        last = batches[-1] if batches else None
        if last is None or last.process != work.process or last.seconds + work.seconds / 2 > target:
            batches.append(work)
        else:
            joined = replace(work, seconds=last.seconds + work.seconds, cells=last.cells + work.cells)
            batches[-1] = joined
    return batches


def simulated(row: Sequence[Work], workers: int, parameters: Parameters) -> tuple[float, float, float]:
    """Return the seconds of the run, and those that the run itself and the workers' imports took of them."""
    waiting: defaultdict[str, list[Work]] = defaultdict(list)
    for work in cut(row, workers):
        waiting[work.process].append(work)
    warm: dict[int, set[str]] = {worker: set() for worker in range(workers)}
    everywhere: Counter[str] = Counter()
    free = [(0.0, worker) for worker in range(workers)]
    run, scheduler, end, imports, used = 0.0, 0.0, 0.0, 0.0, 0.0
    while waiting:
        moment, worker = heapq.heappop(free)
        process = min(
            waiting,
            key=lambda name: (
                name not in warm[worker] and (1 + (everywhere[name] > 0)),
                -sum(work.seconds for work in waiting[name]) if workers <= 50 else -len(waiting[name]),
            ),
        )
        work = waiting[process].pop()
        if not waiting[process]:
            del waiting[process]
        # Sent by the run, passed on by the scheduler, worked on, told back through it, recorded by the run.
        run = max(run, moment) + parameters.batch
        scheduler = max(scheduler, run) + parameters.task
        start = scheduler
        if process not in warm[worker]:
            warm[worker].add(process)
            everywhere[process] += 1
            start += parameters.importing
            imports += parameters.importing
        done = start + work.seconds
        recorded = work.cells * parameters.cell
        run += recorded  # whenever it comes to it; it is busy for so long
        used += parameters.batch + recorded
        end = max(end, done, run)
        heapq.heappush(free, (done, worker))
    return end, used, imports


def measured(run: Run) -> Parameters:
    """Return the parameters as they are on this machine."""
    records = list(run.records)[:2_000]
    replies = [_reply(records[first : first + 50]) for first in range(0, len(records), 50)]
    began = time.perf_counter()
    for reply in replies:
        for told in taken(reply, Reply).cells:
            assert told.entry is not None
            encoded(told.entry.record)
    cell = (time.perf_counter() - began) / len(records)
    count = 500
    with LocalCluster(1, {}, []) as cluster, connected(cluster.address) as connection:
        processor = time.process_time()
        began = time.perf_counter()
        for _ in range(count):
            connection.send(tasks.perform, b"{}", {})
        left = count
        while left:
            left -= connection.arrived() is not None
        task = (time.perf_counter() - began) / count
        batch = (time.process_time() - processor) / count
    # What pytest is told of a cell: three reports.
    return Parameters(batch=batch, cell=cell + 0.001, task=task)


def _reply(records: Sequence[Record]) -> bytes:
    entries = (ToldEntry(record=record, explanations=record.diagnosis, ended=True) for record in records)
    cells = tuple(Told(cell=entry.record.cell, entry=entry) for entry in entries)
    return written(Reply(machine="here", cells=cells))


def main() -> None:
    """Print the curve."""
    run = read(Path(sys.argv[1]))
    parameters = measured(run) if "--measure" in sys.argv else Parameters()
    print(msgspec.json.encode(parameters).decode())
    row = signatures(run)
    whole = sum(work.seconds for work in row)
    longest = max(row, key=lambda work: work.seconds)
    cells = sum(work.cells for work in row)
    print(f"{cells:,} cells performed in {whole:,.0f} s; the longest signature takes {longest.seconds:,.0f} s")
    print("workers   seconds   times as fast   share of the ideal   the run itself   importing")
    for workers in WORKERS:
        end, used, imports = simulated(row, workers, parameters)
        fast = whole / end
        print(
            f"{workers:7,} {end:9,.0f} {fast:15.1f} {fast / workers:20.0%} {used / end:16.0%} {imports / workers / end:11.0%}"
        )


if __name__ == "__main__":
    main()

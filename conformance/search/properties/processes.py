"""`conformance properties`: every process in turn, and what was checked there as a run file like any other."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import msgspec

from conformance.errors import Place, UsageError, WorkerError
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.files.whole import write_whole
from conformance.planning.discovery import holding, keys, one_thread
from conformance.planning.plan import Offer, Selection
from conformance.run.programs import check_interpreters
from conformance.runfile import lines
from conformance.runfile.notes import describe
from conformance.runfile.structs import Record
from conformance.runfile.writing import Judges, RunWriter, check_replaceable
from conformance.search.bench import Bench
from conformance.search.properties.check import Checked, check, check_one
from conformance.search.properties.recorded import record_of
from conformance.search.written import yaml_of
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.spec.divergences import Listed, load_divergences
from conformance.spec.loader import Located, load
from conformance.spec.locations import spec_folder
from conformance.verdict import Standing

#: What was checked of a property of an implementation, and its record.
Row: TypeAlias = tuple[Checked, Record]

_UNSAFE = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyOptions:
    """What a person asked of a check of properties."""

    selection: Selection
    interpreters: Mapping[str, str]
    adapters: tuple[str, ...]
    examples: int
    #: None for the same examples in every run.
    seed: int | None
    out: Path
    limits: Limits
    folder: Path
    #: Seconds after which no further property is begun, divided among the processes; None for as long as it takes.
    within: float | None = None


def properties(options: PropertyOptions) -> int:
    """Check, write the run file, and return the exit code. Raises `UsageError`."""
    check_interpreters(options.interpreters, options.adapters)
    check_replaceable(options.out, Judges.CELLS, narrowed=True)
    offers: list[Offer] = []
    worst: dict[str, Row] = {}
    missed: dict[str, list[str]] = {}
    for offer, rows, unbegun in _by_process(options):
        missed[offer.key.name] = unbegun
        if rows:
            offers.append(offer)
        for row in rows:
            cell = row[1].cell
            worst[cell] = max(worst.get(cell, row), row, key=_weight)
    checked = list(worst.values())
    if not checked:
        raise UsageError("nothing selected: no implementation that matches has properties to check")
    _write(options.out, offers, checked, options.selection)
    left = ", ".join(f"{len(ids)} of {process}" for process, ids in missed.items() if ids)
    if left:
        print(f"properties not begun within {options.within:g} s: {left}")
    print(_told(checked, options.out))
    return 1 if any(record.standing is Standing.UNEXPECTED for _, record in checked) else 0


def _weight(row: Row) -> tuple[bool, float]:
    """Return by what the worst row of a cell is chosen: an implementation may have a process for some dtypes alone."""
    checked, record = row
    return record.standing is Standing.UNEXPECTED, checked.score


def _by_process(options: PropertyOptions) -> Iterator[tuple[Offer, list[Row], list[str]]]:
    """Yield what each process offers, its rows, and the properties for which its share of the time was over.

    Processes that may follow one another in one are asked one after another, so that a library is imported once.
    Raises `UsageError` where one that was asked for does not start.
    """
    divergences = load_divergences(spec_folder() / "divergences.yaml", [], catalogue())
    offered = keys(options.interpreters, options.adapters)
    wanted = [one_thread(key) for key in holding(offered, options.selection.implementations, options.adapters)]
    wanted.sort(key=lambda key: key.process)
    end = math.inf if options.within is None else time.monotonic() + options.within
    with Workers(1, options.folder, options.limits, kept=True) as workers:
        for number, key in enumerate(wanted):
            (answer,) = survey([key], [], workers)
            if isinstance(answer, WorkerError):
                if key.asked:
                    raise UsageError(str(answer))
                continue
            bench = Bench(offer=answer, selection=options.selection, workers=workers, divergences=divergences)
            until = time.monotonic() + (end - time.monotonic()) / (len(wanted) - number)
            missed: list[str] = []
            yield answer, list(_rows(bench, options, divergences, until, missed)), missed


def _rows(
    bench: Bench, options: PropertyOptions, divergences: Sequence[Listed], until: float, missed: list[str]
) -> Iterator[Row]:
    for first in check(bench, options.examples, number=options.seed, until=until, missed=missed):
        checked, record = first, record_of(first, bench, divergences)
        if record.standing is Standing.UNEXPECTED:
            checked, record = _alone(first, bench, options, divergences) or (checked, record)
        yield checked, record
        if record.standing is Standing.UNEXPECTED:
            written = _write_broken(options.out, checked)
            print(f"{describe(record, lines.recorded_catalogue())}\n  {written}")


def _alone(checked: Checked, bench: Bench, options: PropertyOptions, divergences: Sequence[Listed]) -> Row | None:
    """Check a property of one implementation again in a fresh process, so that nothing left behind there decides it."""
    name, key = checked.cell.implementation.name, bench.offer.key
    if key in bench.workers.live:
        bench.workers.end(key)
    one = replace(bench, selection=replace(bench.selection, implementations=(name,)))
    operation = checked.cell.case.op
    for again in check_one(one, operation, checked.identity, options.examples, number=options.seed):
        return again, record_of(again, one, divergences)
    return None


def _write(path: Path, offers: Sequence[Offer], checked: Sequence[Row], selection: Selection) -> None:
    cases: dict[str, Case] = {}
    for one, _ in checked:
        cases.setdefault(one.cases[0].id, one.cases[0])
    with RunWriter(path, narrowed=True) as writer:
        header = lines.header_line(load(spec_folder()), selection, (), len(checked), True)
        writer.add(msgspec.structs.replace(header, started=time.strftime("%Y-%m-%dT%H:%M:%S%z")))
        for offer in offers:
            writer.add(lines.environment_line(offer))
        for case in cases.values():
            writer.add(lines.case_line(Located(case=case, file=Path("properties"), place=Place(file="properties"))))
        for _, record in checked:
            writer.add(record)
        writer.close_run(ended=True, finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"))


def _write_broken(out: Path, checked: Checked) -> Path:
    """Write the related cases of an identity that does not hold, ready to be run."""
    name = _UNSAFE.sub("-", f"broken-{checked.identity.id}-{checked.cell.implementation.name}".lower()).strip("-")
    arms = [
        case.model_copy(update={"id": f"{name}.{number}", "title": f"{checked.identity.title} (case {number})"})
        for number, case in enumerate(checked.cases, 1)
    ]
    path = out.parent / f"{name}.yaml"
    write_whole(path, yaml_of(*arms).encode())
    return path


def _told(checked: Sequence[Row], out: Path) -> str:
    identities = {one.identity.id for one, _ in checked}
    names = {one.cell.implementation.name for one, _ in checked}
    broken = sum(record.standing is Standing.UNEXPECTED for _, record in checked)
    known = sum(record.standing is Standing.KNOWN for _, record in checked)
    return (
        f"{len(checked)} rows: {len(identities)} properties of {len(names)} implementations; "
        f"{broken} broken, {known} where what is known deviates\n{out}"
    )

"""`conformance fuzz`: a hunt in each process that offers something selected, one process after another."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis.database import DirectoryBasedExampleDatabase

from conformance.errors import UsageError, WorkerError
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.planning.discovery import WorkerKey, keys
from conformance.planning.plan import Offer, Offered, Selection
from conformance.run.programs import check_interpreters
from conformance.run.session import FOLDER
from conformance.search.bench import Bench
from conformance.search.exercised import Exercised
from conformance.search.finding import Suspicion, Trial
from conformance.search.hunt import Effort, Find, Hunt
from conformance.search.written import named, write_find, yaml_of
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.spec.divergences import Listed, load_divergences
from conformance.spec.loader import load_clauses, load_file
from conformance.spec.locations import spec_folder
from conformance.whole import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzOptions:
    """What a person asked of a search."""

    selection: Selection
    interpreters: Mapping[str, str]
    adapters: tuple[str, ...]
    effort: Effort
    out: Path
    limits: Limits


@dataclass(slots=True, kw_only=True)
class Searched:
    """What the search of one process came to."""

    worker: str
    implementations: tuple[str, ...]
    exercised: Exercised
    declared: dict[str, list[str]]
    seconds: float = 0.0
    finds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Cells judged a second, while nothing was shrunk."""
        return self.exercised.cells / self.seconds if self.seconds else 0.0


def fuzz(options: FuzzOptions) -> int:
    """Search, write what is found to the folder, and return the exit code. Raises `UsageError`."""
    check_interpreters(options.interpreters, options.adapters)
    divergences = load_divergences(spec_folder() / "divergences.yaml", [], catalogue())
    wanted = keys(options.interpreters, options.adapters)
    searched: list[Searched] = []
    offers = _offers(wanted, options)
    # What starting the processes takes is not searched: a short search would end before its first case.
    end = None if options.effort.seconds is None else time.monotonic() + options.effort.seconds
    for position, offer in enumerate(offers):
        left = None if end is None else max(0.0, end - time.monotonic()) / (len(offers) - position)
        effort = replace(options.effort, seconds=left)
        searched.append(_searched(offer, replace(options, effort=effort), divergences))
    if not searched:
        raise UsageError("nothing selected: no implementation matches, or none of what matches could be started")
    clauses = load_clauses(spec_folder() / "semantics.md")
    write_whole(
        options.out / "search.json",
        f"{json.dumps(_summary(searched, clauses), indent=1, ensure_ascii=False)}\n".encode(),
    )
    worst = [case for result in searched for case in _worst_cases(result)]
    if worst:
        write_whole(options.out / "worst-found.yaml", yaml_of(*worst).encode())
    finds = sum(len(result.finds) for result in searched)
    print(
        f"{finds} find{'' if finds == 1 else 's'}; {options.out / 'search.json'} tells what was exercised and what was not"
    )
    return 1 if finds else 0


def _offers(wanted: Sequence[WorkerKey], options: FuzzOptions) -> list[Offer]:
    """Return the offers of which something is selected. Raises `UsageError` where what was asked for does not start."""
    offers = []
    asked = {key.name for key in wanted if key.asked}
    with Workers(1, FOLDER, options.limits) as workers:
        for answer in survey(wanted, [], workers):
            match answer:
                case WorkerError() if answer.worker in asked:
                    raise UsageError(str(answer))
                case WorkerError():
                    pass
                case Offer(implementations=implementations):
                    if any(_takes(options.selection, offered) for offered in implementations):
                        offers.append(answer)
    return offers


def _takes(selection: Selection, offered: Offered) -> bool:
    mode, device = selection.modes[0], selection.devices[0]
    return mode in offered.modes and device in offered.devices and selection.takes(offered.name, mode, device)


def _searched(offer: Offer, options: FuzzOptions, divergences: Sequence[Listed]) -> Searched:
    """Search one process."""
    with Workers(1, FOLDER, options.limits, kept=True) as workers:
        bench = Bench(offer=offer, selection=options.selection, workers=workers, divergences=divergences)
        result = Searched(
            worker=offer.key.name,
            implementations=bench.implementations,
            exercised=Exercised(),
            declared={
                offered.name: [declared.field for declared in offered.profile]
                for offered in offer.implementations
                if offered.name in bench.implementations
            },
        )
        hunt = Hunt(
            bench=bench,
            effort=options.effort,
            exercised=result.exercised,
            database=DirectoryBasedExampleDatabase(options.out / "examples" / offer.key.name),
        )
        hunt.done |= {suspicion for suspicion, _ in _earlier(options.out, bench, result)}
        for find in hunt.finds():
            result.finds.append(_reported(find, bench, options.out))
        result.seconds = hunt.searching
        print(_told(result, hunt.drawn))
        return result


def _earlier(out: Path, bench: Bench, result: Searched) -> Iterator[tuple[Suspicion, Trial]]:
    """Yield what earlier searches found here and is still so: it is told again, and not searched for again."""
    clauses = load_clauses(spec_folder() / "semantics.md")
    for file in sorted(out.glob("found-*.yaml")):
        for located in load_file(file, clauses):
            for trial in bench.trials(located.case) if located.case.op in bench.operations else ():
                for suspicion in trial.suspicions:
                    if located.case.family == named(located.case, suspicion, trial).family:
                        result.finds.append(_line(suspicion, located.case, replays=True, path=file, script=None))
                        print(f"still found: {located.case.title}\n  {file}")
                        yield suspicion, trial


def _reported(find: Find, bench: Bench, out: Path) -> dict[str, Any]:
    """Write a find, perform it once more as it was written, and tell of it."""
    case = named(find.trial.cell.case, find.suspicion, find.trial)
    again = [trial for trial in bench.trials(case, find.suspicion.implementation) if find.suspicion in trial.suspicions]
    trial = again[0] if again else replace(find.trial, cell=replace(find.trial.cell, case=case))
    path, script = write_find(out, case, trial, bench.offer)
    told = "" if again else " (performed again, it did not show)"
    print(f"found after {find.examples} examples, {find.seconds:.1f} s: {case.title}{told}\n  {path}")
    return _line(find.suspicion, case, replays=bool(again), path=path, script=script) | {
        "examples": find.examples,
        "seconds": round(find.seconds, 2),
    }


def _line(suspicion: Suspicion, case: Case, *, replays: bool, path: Path, script: Path | str | None) -> dict[str, Any]:
    return {
        "implementation": suspicion.implementation,
        "cause": suspicion.cause,
        "parameters": list(suspicion.parameters),
        "title": case.title,
        "case": path.name,
        "script": script.name if isinstance(script, Path) else None,
        "replays": replays,
    }


def _told(result: Searched, drawn: int) -> str:
    finds = len(result.finds)
    return (
        f"{result.worker}: {drawn} cases, {result.exercised.cells} cells, {result.rate:.0f} cells a second, "
        f"{finds} find{'' if finds == 1 else 's'}"
    )


def _worst_cases(result: Searched) -> Iterator[Case]:
    for name, (score, case) in sorted(result.exercised.worst.items()):
        title = f"The largest score of {name} that search has found among cells that agree is {score:.3g}."
        slug = name.replace("+", "-")
        yield case.model_copy(update={"id": f"worst-found.{result.worker}/{slug}", "title": title})


def _summary(searched: Sequence[Searched], clauses: Mapping[str, str]) -> dict[str, Any]:
    return {
        "format": 1,
        "processes": [
            {
                "worker": result.worker,
                "implementations": list(result.implementations),
                "cases": result.exercised.cases,
                "cells": result.exercised.cells,
                "input_values": result.exercised.values,
                "seconds": round(result.seconds, 2),
                "cells_per_second": round(result.rate, 1),
                "finds": result.finds,
                "worst_scores": {name: score for name, (score, _) in sorted(result.exercised.worst.items())},
                "verdicts": {name: dict(counter) for name, counter in sorted(result.exercised.verdicts.items())},
                "exercised": {
                    kind: dict(sorted(counter.items())) for kind, counter in sorted(result.exercised.counts.items())
                },
                "not_exercised": result.exercised.not_exercised(result.declared, clauses),
            }
            for result in searched
        ],
    }

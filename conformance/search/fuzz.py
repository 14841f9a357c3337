"""`conformance fuzz`: a hunt in each process that offers something selected, one process after another."""

from __future__ import annotations

import contextlib
import difflib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis.database import DirectoryBasedExampleDatabase

from conformance.errors import UsageError, WorkerError
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.planning.discovery import WorkerKey, holding, keys
from conformance.planning.plan import Offer, Offered, Selection
from conformance.run.programs import check_interpreters
from conformance.run.session import FOLDER
from conformance.search.bench import Bench, one_thread
from conformance.search.exercised import Exercised
from conformance.search.finding import Suspicion
from conformance.search.hunt import Effort, Find, Hunt, Performs
from conformance.search.pair import PairBench
from conformance.search.summary import Searched, summary, told, worst_cases
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
    #: The implementation that the selected ones are held against, in the place of the reference.
    against: str | None = None
    #: Whether a difference that is documented or listed is a find as well.
    every: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The process that is searched, and where implementations are held against another, the process of that one."""

    offer: Offer
    selection: Selection
    against: Offer | None = None


def fuzz(options: FuzzOptions) -> int:
    """Search, write what is found to the folder, and return the exit code. Raises `UsageError`."""
    check_interpreters(options.interpreters, options.adapters)
    divergences = load_divergences(spec_folder() / "divergences.yaml", [], catalogue())
    searched: list[Searched] = []
    globs = options.selection.implementations
    named = (*globs, *([options.against] if globs and options.against else []))
    wanted = [one_thread(key) for key in holding(keys(options.interpreters, options.adapters), named, options.adapters)]
    grounds = _grounds(_offers(wanted, options), options)
    # What starting the processes takes is not searched: a short search would end before its first case.
    end = None if options.effort.seconds is None else time.monotonic() + options.effort.seconds
    for position, ground in enumerate(grounds):
        left = None if end is None else max(0.0, end - time.monotonic()) / (len(grounds) - position)
        effort = replace(options.effort, seconds=left)
        searched.append(_searched(ground, replace(options, effort=effort), divergences))
    clauses = load_clauses(spec_folder() / "semantics.md")
    text = json.dumps(summary(searched, clauses), indent=1, ensure_ascii=False)
    write_whole(options.out / "search.json", f"{text}\n".encode())
    worst = [case for result in searched for case in worst_cases(result)]
    if worst and options.against is None:
        write_whole(options.out / "worst-found.yaml", yaml_of(*worst).encode())
    finds = sum(len(result.finds) for result in searched)
    print(
        f"{finds} find{'' if finds == 1 else 's'}; {options.out / 'search.json'} tells what was exercised and what was not"
    )
    return 1 if finds else 0


def _offers(wanted: Sequence[WorkerKey], options: FuzzOptions) -> list[Offer]:
    """Return what the processes offer. Raises `UsageError` where what was asked for does not start."""
    offers = []
    asked = {key.name for key in wanted if key.asked}
    with Workers(1, FOLDER, options.limits) as workers:
        for answer in survey(wanted, [], workers):
            match answer:
                case WorkerError() if answer.worker in asked:
                    raise UsageError(str(answer))
                case WorkerError():
                    pass
                case Offer():
                    offers.append(answer)
    return offers


def _grounds(offers: Sequence[Offer], options: FuzzOptions) -> list[Ground]:
    """Return the processes to search. Raises `UsageError` where there are none."""
    against = None if options.against is None else _against(offers, options)
    grounds = []
    for offer in offers:
        names = [
            offered.name
            for offered in offer.implementations
            if _takes(options.selection, offered) and (against is None or _comparable(offered, against, options))
        ]
        if names:
            selection = replace(options.selection, implementations=tuple(names))
            grounds.append(Ground(offer=offer, selection=selection, against=against))
    if not grounds and against is not None:
        raise UsageError(f"nothing to compare: none of what is selected computes what {options.against} computes")
    if not grounds:
        raise UsageError("nothing selected: no implementation matches, or none of what matches could be started")
    return grounds


def _against(offers: Sequence[Offer], options: FuzzOptions) -> Offer:
    """Return the offer with the implementation to hold others against. Raises `UsageError` where there is none."""
    anything = replace(options.selection, implementations=())
    names = {one.name: offer for offer in offers for one in offer.implementations if _takes(anything, one)}
    if options.against not in names:
        near = difflib.get_close_matches(str(options.against), names, n=1)
        hint = f"; the nearest name is {near[0]}" if near else ""
        wanted = "expected the name of one implementation that could be started, in that mode and on that device"
        raise UsageError(f"--against {options.against}: {wanted}{hint}")
    return names[options.against]


def _comparable(offered: Offered, against: Offer, options: FuzzOptions) -> bool:
    other = next(one for one in against.implementations if one.name == options.against)
    return offered.name != other.name and offered.op == other.op and not set(offered.dtypes).isdisjoint(other.dtypes)


def _takes(selection: Selection, offered: Offered) -> bool:
    mode, device = selection.modes[0], selection.devices[0]
    return mode in offered.modes and device in offered.devices and selection.takes(offered.name, mode, device)


@contextlib.contextmanager
def _bench(ground: Ground, options: FuzzOptions, divergences: Sequence[Listed]) -> Iterator[Performs]:
    """Yield a bench with the processes that it needs; an implementation of the same process is held against it there."""
    against = ground.against
    apart = against is not None and against.key != ground.offer.key
    with Workers(2 if apart else 1, FOLDER, options.limits, kept=True) as workers:
        one = Bench(offer=ground.offer, selection=ground.selection, workers=workers, divergences=divergences)
        if against is None or options.against is None:
            yield one
            return
        selection = replace(ground.selection, implementations=(options.against,))
        other = Bench(offer=against, selection=selection, workers=workers, divergences=divergences)
        yield PairBench(one=one, other=other, every=options.every)


def _searched(ground: Ground, options: FuzzOptions, divergences: Sequence[Listed]) -> Searched:
    """Search one process."""
    with _bench(ground, options, divergences) as bench:
        result = Searched(
            worker=ground.offer.key.name,
            implementations=bench.implementations,
            exercised=Exercised(),
            declared={
                offered.name: [declared.field for declared in offered.profile]
                for offered in ground.offer.implementations
                if offered.name in bench.implementations
            },
        )
        hunt = Hunt(
            bench=bench,
            effort=options.effort,
            exercised=result.exercised,
            database=DirectoryBasedExampleDatabase(options.out / "examples" / ground.offer.key.name),
        )
        hunt.done |= set(_earlier(options.out, bench, result))
        for find in hunt.finds():
            result.finds.append(_reported(find, bench, options.out))
        result.seconds = hunt.searching
        print(told(result, hunt.drawn))
        return result


def _earlier(out: Path, bench: Performs, result: Searched) -> Iterator[Suspicion]:
    """Yield what earlier searches found here and is still so: it is told again, and not searched for again."""
    clauses = load_clauses(spec_folder() / "semantics.md")
    for file in sorted(out.glob("found-*.yaml")):
        for located in load_file(file, clauses):
            for trial in bench.trials(located.case) if located.case.op in bench.operations else ():
                for suspicion in trial.suspicions:
                    if located.case.family == named(located.case, suspicion, trial).family:
                        result.finds.append(_line(suspicion, located.case, replays=True, path=file, scripts={}))
                        print(f"still found: {located.case.title}\n  {file}")
                        yield suspicion


def _reported(find: Find, bench: Performs, out: Path) -> dict[str, Any]:
    """Write a find, perform it once more as it was written, and tell of it."""
    case = named(find.trial.cell.case, find.suspicion, find.trial)
    again = [trial for trial in bench.trials(case, find.suspicion.implementation) if find.suspicion in trial.suspicions]
    path, scripts = write_find(out, case, again[0] if again else find.trial)
    remark = "" if again else " (performed again, it did not show)"
    print(f"found after {find.examples} examples, {find.seconds:.1f} s: {case.title}{remark}\n  {path}")
    return _line(find.suspicion, case, replays=bool(again), path=path, scripts=scripts) | {
        "examples": find.examples,
        "seconds": round(find.seconds, 2),
    }


def _line(suspicion: Suspicion, case: Case, *, replays: bool, path: Path, scripts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "implementation": suspicion.implementation,
        "against": suspicion.against or None,
        "cause": suspicion.cause,
        "parameters": list(suspicion.parameters),
        "title": case.title,
        "case": path.name,
        "scripts": [name for name in scripts.values() if name.endswith(".py")],
        "replays": replays,
    }

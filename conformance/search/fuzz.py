"""`conformance fuzz`: a hunt in each process that offers something selected, here or on the workers of a cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from hypothesis.database import DirectoryBasedExampleDatabase

from conformance.errors import UsageError, WorkerError
from conformance.execution.kept_offers import KeptOffers
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.files.whole import write_whole
from conformance.planning.discovery import WorkerKey, holding, keys, one_thread
from conformance.planning.plan import Offer, Selection
from conformance.run.programs import check_interpreters
from conformance.run.run_options import FOLDER
from conformance.search.finds import Finds, earlier_cases
from conformance.search.grounds import Ground, bench_of, grounds_of
from conformance.search.hunt import Effort, Hunt
from conformance.search.summary import Searched, begun, summary, told, worst_cases
from conformance.search.written import reported, still_found, yaml_of
from conformance.spec.causes import catalogue
from conformance.spec.divergences import Listed, load_divergences
from conformance.spec.loader import load_clauses
from conformance.spec.locations import spec_folder


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

    @property
    def named(self) -> tuple[str, ...]:
        """Globs over all implementations that take part."""
        globs = self.selection.implementations
        return (*globs, *([self.against] if globs and self.against else []))


class Searcher(Protocol):
    """Searches processes, wherever they are."""

    def offers(self) -> list[Offer]:
        """Return what the processes offer. Raises `UsageError` where what was asked for does not start."""

    def searched(self, grounds: Sequence[Ground]) -> Iterator[Searched]:
        """Search each, tell what is found as it is found, and yield what each search came to."""


def fuzz(options: FuzzOptions, elsewhere: AbstractContextManager[Searcher] | None = None) -> int:
    """Search, write what is found to the folder, and return the exit code. Raises `UsageError`."""
    check_interpreters(options.interpreters, options.adapters)
    if elsewhere is None:
        searched = _all(Here(options), options)
    else:
        with elsewhere as searcher:
            searched = _all(searcher, options)
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


def _all(searcher: Searcher, options: FuzzOptions) -> list[Searched]:
    grounds = grounds_of(searcher.offers(), options.selection, options.against, every=options.every)
    return list(searcher.searched(grounds))


class Here:
    """The processes of this machine, one after another."""

    def __init__(self, options: FuzzOptions) -> None:
        self._options = options
        self._offers = KeptOffers(FOLDER / "offers", ())

    def offers(self) -> list[Offer]:
        """Return what the processes offer. Raises `UsageError` where what was asked for does not start."""
        options = self._options
        listed = holding(keys(options.interpreters, options.adapters), options.named, options.adapters)
        wanted = [one_thread(key) for key in listed]
        with Workers(1, FOLDER, options.limits, offers=self._offers) as workers:
            return offers_among(survey(wanted, [], workers), wanted)

    def searched(self, grounds: Sequence[Ground]) -> Iterator[Searched]:
        """Search each, tell what is found as it is found, and yield what each search came to."""
        divergences = load_divergences(spec_folder() / "divergences.yaml", [], catalogue())
        effort = self._options.effort
        # What starting the processes takes is not searched: a short search would end before its first case.
        end = None if effort.seconds is None else time.monotonic() + effort.seconds
        for position, ground in enumerate(grounds):
            left = None if end is None else end - time.monotonic()
            yield self._searched(ground, share_of(effort, left, len(grounds) - position), divergences)

    def _searched(self, ground: Ground, effort: Effort, divergences: Sequence[Listed]) -> Searched:
        out, result = self._options.out, begun(ground)
        finds = Finds(out, result)
        limits, kept = self._options.limits, self._offers
        with Workers(len(ground.keys), FOLDER, limits, kept=True, offers=kept) as workers:
            bench = bench_of(ground, workers, divergences)
            examples = DirectoryBasedExampleDatabase(out / "examples" / ground.offer.key.name)
            hunt = Hunt(bench=bench, effort=effort, exercised=result.exercised, database=examples)
            for case in earlier_cases(out):
                for suspicion in still_found(case, bench):
                    finds.still(suspicion, case)
            hunt.done |= finds.suspicions
            for find in hunt.finds():
                finds.new(reported(find, bench))
        result.seconds, result.drawn = hunt.searching, hunt.drawn
        print(told(result))
        return result


def share_of(effort: Effort, left: float | None, processes: int) -> Effort:
    """Return the effort for the next of so many processes, which divide the seconds that are left; None for no limit.

    A find may be made smaller after its process's time is over. It then has half that time at most, so that many finds in
    the first processes leave some for the last.
    """
    if left is None:
        return effort
    seconds = max(0.0, left) / processes
    return replace(effort, seconds=seconds, shrinking=min(effort.shrinking, seconds / 2))


def offers_among(answers: Iterator[Offer | WorkerError], wanted: Sequence[WorkerKey]) -> list[Offer]:
    """Return what those that could be asked offer. Raises `UsageError` where one that was asked for could not."""
    asked = {key.name for key in wanted if key.asked}
    offers = []
    for answer in answers:
        match answer:
            case WorkerError() if answer.worker in asked:
                raise UsageError(str(answer))
            case WorkerError():
                pass
            case Offer():
                offers.append(answer)
    return offers

"""Pairs of fresh processes: one of the base and one of the new, in turn, each timing every pass once."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.errors import UsageError
from conformance.execution.pool import Limits, Workers
from conformance.planning.discovery import keys
from conformance.planning.plan import Selection
from conformance.run.programs import check_interpreters
from conformance.run.run_options import FOLDER
from conformance.runfile.numbers import number_from
from conformance.throughput.comparing import CONFIRMING, PAIRS, Finding, Pairs, findings, flagged
from conformance.throughput.measuring import Effort, Machine, measure_subjects
from conformance.throughput.running import load_timed, planned
from conformance.throughput.subject import Subject, can_be_timed, passes_of

#: Of one process one batch counts, by its quickest round: what disturbs a call only ever slows it.
EFFORT = Effort(batches=1, seconds=0.1, rounds=10, most=1)
#: Stands for a bandwidth that is not asked for, and for a cache that nothing fits into.
_STEADY, _NONE = 1.0, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedSide:
    """One of the two builds whose speed is compared: its interpreters by group, and adapters other than the suite's."""

    interpreters: Mapping[str, str]
    adapters: tuple[str, ...] = ()
    #: The passes it has, by id.
    subjects: Mapping[str, Subject] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one fresh process measured of a pass: the seconds of a call, and the score of its numbers."""

    seconds: float
    score: float | None


#: Subject -> reading, for those that could be measured.
Visit = Callable[[TimedSide, Sequence[str]], Mapping[str, Reading]]


def surveyed(interpreters: Mapping[str, str], adapters: tuple[str, ...], selection: Selection) -> TimedSide:
    """Return a side with the passes that its interpreters can time. Raises `UsageError` if a worker does not start."""
    check_interpreters(interpreters, adapters)
    wanted = keys(interpreters, adapters)
    with Workers(len(wanted), FOLDER, Limits()) as workers:
        cells, _, failures = planned(load_timed(), wanted, selection, workers)
    if failures:
        raise UsageError(str(failures[0][0]))
    able = [cell for cell in cells if can_be_timed(cell)]
    subjects = [Subject(cell=cell, name=name) for cell in able for name in passes_of(cell)]
    return TimedSide(
        interpreters=interpreters, adapters=adapters, subjects={subject.id: subject for subject in subjects}
    )


def visit(side: TimedSide, names: Sequence[str]) -> Mapping[str, Reading]:
    """Time the named subjects once, in one fresh process for each worker, and return their readings."""
    readings: dict[str, Reading] = {}
    subjects = [side.subjects[name] for name in names]
    for _, of_worker in itertools.groupby(sorted(subjects, key=_worker), key=_worker):
        with Workers(1, Path(FOLDER), Limits()) as workers:
            # Void is nothing here: the quickest round counts, in pairs that take turns, and the test knows their noise.
            machine = Machine(workers, lambda: _STEADY, _NONE, EFFORT, disturbed=lambda _: (), patience=0.0)
            for _, of_case in itertools.groupby(of_worker, key=lambda subject: subject.cell.case.id):
                for line in measure_subjects(list(of_case), machine):
                    if line.measurement is not None:
                        quick = line.measurement.statistics[0].min
                        readings[line.timed] = Reading(seconds=quick, score=number_from(line.measurement.score))
    return readings


def _worker(subject: Subject) -> str:
    return subject.cell.key.name


def paired(
    base: TimedSide, new: TimedSide, names: Sequence[str], count: int, visiting: Visit = visit
) -> dict[str, Pairs]:
    """Time the named subjects `count` times on both sides, and return the pairs of each.

    The side that goes first alternates from pair to pair, so that a drift of the machine favours neither. A subject
    that any of the processes could not measure is left out.
    """
    befores: list[Mapping[str, Reading]] = []
    afters: list[Mapping[str, Reading]] = []
    for number in range(count):
        if number % 2 == 0:
            befores.append(visiting(base, names))
            afters.append(visiting(new, names))
        else:
            afters.append(visiting(new, names))
            befores.append(visiting(base, names))
    return {
        name: Pairs(
            base=[readings[name].seconds for readings in befores],
            new=[readings[name].seconds for readings in afters],
            # What a call gives may depend on how many went before it: an error grew where all are beyond all before.
            base_score=_extreme(max, [readings[name].score for readings in befores]),
            new_score=_extreme(min, [readings[name].score for readings in afters]),
        )
        for name in names
        if all(name in readings for readings in (*befores, *afters))
    }


def _extreme(which: Callable[[Iterable[float]], float], scores: Sequence[float | None]) -> float | None:
    """Return the least or the largest of the scores; None where one is not known.

    NaN and infinity count as the largest float, since JSON has neither.
    """
    most = sys.float_info.max
    finite = [most if math.isnan(score) else min(score, most) for score in scores if score is not None]
    return which(finite) if len(finite) == len(scores) else None


def compared(base: TimedSide, new: TimedSide, visiting: Visit = visit) -> tuple[Finding, ...]:
    """Screen every pass that both sides have, confirm what it flags by fresh pairs, and return what was found.

    Raises `UsageError` where they have none in common.
    """
    names = [name for name in base.subjects if name in new.subjects]
    if not names:
        raise UsageError("nothing to compare: no timed pass is of both")
    screened = paired(base, new, names, PAIRS, visiting)
    again = [name for name, pairs in screened.items() if flagged(pairs)]
    confirming = paired(base, new, again, CONFIRMING, visiting) if again else {}
    return findings(screened, confirming)

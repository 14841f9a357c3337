"""The hunt: rounds of Hypothesis over drawn cases, each of which ends with one find shrunk, or with none.

A round stops at the first thing that was not found before. From then on only what shows the same cause of the same
implementation counts, so that one find does not slide into another while it is shrunk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings, target
from hypothesis.database import ExampleDatabase

from conformance.search.cases import cases
from conformance.search.exercised import Exercised
from conformance.search.finding import Shows, Suspicion, new_among
from conformance.spec.case import Case

#: Examples of a round: what Hypothesis remembers of them is the memory of a search.
_ROUND = 2_000
#: Scores are climbed only as far as this, in bounds: a healthy implementation stays below 1.
_HIGHEST = 10.0


class Performs(Protocol):
    """What performs drawn cases: a `Bench`, or a bench of two."""

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that cases are drawn of."""

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that cases are drawn in."""

    @property
    def implementations(self) -> tuple[str, ...]:
        """The names of those that are searched."""

    def trials(self, case: Case, only: str | None = None) -> Sequence[Shows]:
        """Perform a case by all of them, or by the one named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to search: whatever is reached first."""

    examples: int | None = None
    seconds: float | None = None
    #: Of shrinking one find.
    shrinking: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Find:
    """Something that was found, by the smallest case that shows it."""

    suspicion: Suspicion
    trial: Shows
    #: Cases drawn, and seconds gone by, before it was first seen in this process.
    examples: int
    seconds: float


class Over(BaseException):
    """The time is over: passes through Hypothesis, which takes every `Exception` for a find."""


class Shown(Exception):  # noqa: N818 - a signal to Hypothesis, which shrinks what raises it
    """A case shows what is looked for."""

    def __init__(self, trial: Shows) -> None:
        super().__init__(str(trial.cell.id))
        self.trial = trial


@dataclass(slots=True, kw_only=True)
class Hunt:
    """A search over one bench; `finds` yields what it finds as it is found."""

    bench: Performs
    effort: Effort
    exercised: Exercised
    database: ExampleDatabase | None = None
    clock: Callable[[], float] = time.monotonic
    done: set[Suspicion] = field(default_factory=set)
    #: Cases drawn, without those of shrinking.
    drawn: int = 0
    #: Seconds spent, without those of shrinking.
    searching: float = 0.0

    def finds(self) -> Iterator[Find]:
        """Yield each find, shrunk, until the effort is spent."""
        began, number = self.clock(), 0
        end = None if self.effort.seconds is None else began + self.effort.seconds
        while (left := self._left()) > 0 and (end is None or self.clock() < end):
            chase = _Round(hunt=self, end=end, seed=self.effort.seed + number, examples=min(left, _ROUND))
            number += 1
            found = chase.run(first=number == 1)
            if found is not None:
                self.done.add(found.suspicion)
                yield found
            elif chase.drawn < min(left, _ROUND) // 2:
                return  # whatever can be drawn has been drawn

    def _left(self) -> int:
        return _ROUND if self.effort.examples is None else self.effort.examples - self.drawn


@dataclass(slots=True, kw_only=True)
class _Round:
    """One run of Hypothesis."""

    hunt: Hunt
    end: float | None
    seed: int
    examples: int
    drawn: int = 0
    hunted: Suspicion | None = None
    first: tuple[int, float] = (0, 0.0)
    #: What each case of the shrinking showed, so that Hypothesis sees the same when it asks again.
    shown: dict[str, Shows | None] = field(default_factory=dict)
    until: float = 0.0
    began: float = 0.0

    def run(self, *, first: bool) -> Find | None:
        """Search until something is found or the examples are spent."""
        self.began = self.hunt.clock()
        reuse = (Phase.reuse,) if first else ()
        configured = settings(
            max_examples=self.examples,
            database=self.hunt.database,
            deadline=None,
            derandomize=False,
            phases=(*reuse, Phase.generate, Phase.target, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
            verbosity=Verbosity.quiet,
        )
        bench = self.hunt.bench

        @seed(self.seed)
        @configured
        @given(cases(bench.operations, bench.dtypes, refusable=True))
        def search(case: Case) -> None:
            self.examine(case)

        trial = None
        try:
            search()
        except Shown as found:
            trial = found.trial
        except Over:
            pass
        found_after = self.until - self.hunt.effort.shrinking if self.hunted is not None else self.hunt.clock()
        self.hunt.searching += found_after - self.began
        if trial is None or self.hunted is None:
            return None
        return Find(suspicion=self.hunted, trial=trial, examples=self.first[0], seconds=self.first[1])

    def examine(self, case: Case) -> None:
        """Perform a case; raise where it shows something new, or once something is hunted, where it shows that.

        There is one place where that is raised: Hypothesis tells failures apart by the line as well.
        """
        trial = self._first_seen(case) if self.hunted is None else self._followed(case, self.hunted)
        if trial is not None:
            raise Shown(trial)

    def _first_seen(self, case: Case) -> Shows | None:
        hunt = self.hunt
        if self.end is not None and hunt.clock() > self.end:
            raise Over
        trials = hunt.bench.trials(case)
        self.drawn += 1
        hunt.drawn += 1
        hunt.exercised.add(case, trials)
        for trial, suspicion in new_among(trials, frozenset(hunt.done)):
            self.hunted, self.first = suspicion, (hunt.drawn, hunt.searching + hunt.clock() - self.began)
            self.until = hunt.clock() + hunt.effort.shrinking
            self.shown[_key(case)] = trial
            return trial
        for trial in trials:
            if trial.score is not None:
                target(min(trial.score, _HIGHEST), label=trial.cell.column)
        return None

    def _followed(self, case: Case, hunted: Suspicion) -> Shows | None:
        key = _key(case)
        if key not in self.shown:
            if self.hunt.clock() > self.until:
                return None
            trials = self.hunt.bench.trials(case, hunted.implementation)
            self.shown[key] = next((trial for trial in trials if hunted in trial.suspicions), None)
        return self.shown[key]


def _key(case: Case) -> str:
    return case.model_dump_json()

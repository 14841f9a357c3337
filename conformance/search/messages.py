"""What travels between a search and the workers of a cluster: JSON, as of `conformance.cluster.messages`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from conformance.cluster.batch import case_here
from conformance.cluster.messages import Part, Promise, Request
from conformance.planning.plan import Selection
from conformance.runfile.numbers import finite
from conformance.search.exercised import Exercised
from conformance.search.finding import Suspicion
from conformance.search.hunt import Effort
from conformance.search.written import Reported, Script
from conformance.spec.case import Case

_Name = Annotated[str, Meta(min_length=1, max_length=300)]
_Seconds = Annotated[float, Meta(ge=0, le=86_400)]
_Counts = dict[str, Annotated[int, Meta(ge=0)]]


class SentAgainst(Part, frozen=True, kw_only=True):
    """The implementation that others are held against."""

    promise: Promise
    name: _Name
    every: bool


class SentShare(Request, frozen=True, kw_only=True):
    """A share of a search: of one process, with what was found there before."""

    promise: Promise
    mode: _Name
    device: _Name
    examples: Annotated[int, Meta(ge=1, le=1_000_000)]
    #: None: until the examples are drawn.
    seconds: _Seconds | None
    shrinking: _Seconds
    seed: Annotated[int, Meta(ge=0)]
    against: SentAgainst | None = None
    done: tuple[Suspicion, ...] = ()
    #: Cases of what earlier searches found, to be performed first.
    earlier: tuple[dict[str, Any], ...] = ()

    @property
    def effort(self) -> Effort:
        """How long to search."""
        return Effort(examples=self.examples, seconds=self.seconds, shrinking=self.shrinking, seed=self.seed)

    @property
    def selection(self) -> Selection:
        """What is searched of what the process offers."""
        names = tuple(described["name"] for described in self.promise.offer["implementations"])
        return Selection(implementations=names, modes=(self.mode,), devices=(self.device,))


class ToldFind(Part, frozen=True, kw_only=True):
    """A find, as `Reported` has it."""

    suspicion: Suspicion
    case: dict[str, Any]
    replays: bool
    scripts: tuple[Script, ...]
    examples: int
    seconds: float


class StillFound(Part, frozen=True, kw_only=True):
    """What an earlier search found and is still so, with the place of its case among those that were sent."""

    suspicion: Suspicion
    case: Annotated[int, Meta(ge=0)]


class Worst(Part, frozen=True, kw_only=True):
    """The largest score of an implementation in a cell that agrees, with its case."""

    score: float
    case: dict[str, Any]


class ToldExercised(Part, frozen=True, kw_only=True):
    """What was exercised, as `Exercised` has it."""

    cases: int
    cells: int
    values: int
    counts: dict[str, _Counts]
    verdicts: dict[str, _Counts]
    fields: dict[str, _Counts]
    noted: _Counts
    worst: dict[str, Worst]


class ShareReply(Part, frozen=True, kw_only=True):
    """What a share came to, or why it was refused."""

    drawn: int = 0
    seconds: float = 0.0
    exercised: ToldExercised | None = None
    finds: tuple[ToldFind, ...] = ()
    still: tuple[StillFound, ...] = ()
    left: tuple[str, ...] = ()
    machine: str = ""
    refused: str = ""


def sent_case(case: Case) -> dict[str, Any]:
    """Return a case as it travels."""
    sent: dict[str, Any] = finite(case.model_dump(exclude_defaults=True))
    return sent


def told_find(find: Reported) -> ToldFind:
    """Return a find as it travels."""
    return ToldFind(
        suspicion=find.suspicion,
        case=sent_case(find.case),
        replays=find.replays,
        scripts=find.scripts,
        examples=find.examples,
        seconds=find.seconds,
    )


def find_of(told: ToldFind) -> Reported:
    """Return a find that arrived. Raises `UsageError` where its case is none."""
    return Reported(
        suspicion=told.suspicion,
        case=case_here(told.case, 0),
        replays=told.replays,
        scripts=told.scripts,
        examples=told.examples,
        seconds=told.seconds,
    )


def told_exercised(exercised: Exercised) -> ToldExercised:
    """Return what was exercised as it travels."""
    return ToldExercised(
        cases=exercised.cases,
        cells=exercised.cells,
        values=exercised.values,
        counts=_plain(exercised.counts),
        verdicts=_plain(exercised.verdicts),
        fields=_plain(exercised.fields),
        noted=dict(exercised.noted),
        worst={name: Worst(score=score, case=sent_case(case)) for name, (score, case) in exercised.worst.items()},
    )


def exercised_of(told: ToldExercised) -> Exercised:
    """Return what was exercised, as it arrived. Raises `UsageError` where a case is none."""
    return Exercised(
        cases=told.cases,
        cells=told.cells,
        values=told.values,
        counts={kind: Counter(counts) for kind, counts in told.counts.items()},
        verdicts={name: Counter(counts) for name, counts in told.verdicts.items()},
        fields={name: Counter(counts) for name, counts in told.fields.items()},
        noted=Counter(told.noted),
        worst={name: (worst.score, case_here(worst.case, 0)) for name, worst in told.worst.items()},
    )


def _plain(counters: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {kind: dict(counter) for kind, counter in counters.items()}

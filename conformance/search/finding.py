"""What a search looks for: an implementation that differs for a cause that nothing lists; one fault is one find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from conformance.cause import Cause, text_of
from conformance.judging.judgement import Judgement
from conformance.outcome import Outcome
from conformance.planning.plan import Cell, Offer
from conformance.run.entries import explanations_of, site_of
from conformance.runfile.lines import standing_of
from conformance.spec.causes import catalogue
from conformance.spec.divergences import Known, Listed, in_force, known_causes
from conformance.verdict import Standing


@dataclass(frozen=True, slots=True)
class Suspicion:
    """An implementation and a cause, without what differs from cell to cell of one fault: the identity of a find."""

    implementation: str
    cause: str
    #: Parameters that belong to the fault, as text; of a symptom, the first quantity that shows it.
    parameters: tuple[str, ...] = ()
    #: The implementation that it differs from for that cause; empty where that is the reference.
    against: str = ""

    def __str__(self) -> str:
        beside = f" against {self.against}" if self.against else ""
        return f"{self.implementation}{beside}: {', '.join([self.cause, *self.parameters])}"


class Shows(Protocol):
    """What a drawn case shows of an implementation: a `Trial`, or one held against another."""

    @property
    def cell(self) -> Cell:
        """The cell that was performed."""

    @property
    def judgement(self) -> Judgement:
        """How it was judged."""

    @property
    def score(self) -> float | None:
        """What a search climbs: 1 is the limit; None where there is nothing to climb."""

    @property
    def suspicions(self) -> tuple[Suspicion, ...]:
        """Everything that is a find."""

    @property
    def noted(self) -> tuple[str, ...]:
        """What is told and is no find."""

    @property
    def sides(self) -> tuple[Trial, ...]:
        """The trials that a person looks at."""

    def fact(self, suspicion: Suspicion) -> str:
        """Return the sentence that says what was found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One cell that was performed and judged, and what is known of what it shows."""

    cell: Cell
    outcomes: Sequence[Outcome]
    judgement: Judgement
    known: Known
    #: Of the process that performed it.
    offer: Offer

    @property
    def noted(self) -> tuple[str, ...]:
        """Nothing: what is listed is told by every run."""
        return ()

    @property
    def sides(self) -> tuple[Trial, ...]:
        """The trial itself."""
        return (self,)

    def fact(self, suspicion: Suspicion) -> str:
        """Return in which step the implementation does what."""
        alternatives = next(causes for causes in self.known.unlisted if causes[0].id == suspicion.cause)
        steps = self.judgement.steps
        first = next((step for step in steps if not step.expected or not step.verdict.agrees), steps[-1])
        return (
            f"In step {first.number} ({first.kind}), {suspicion.implementation}: {text_of(alternatives, catalogue())}."
        )

    @property
    def standing(self) -> Standing:
        """How the cell stands to what was expected of it."""
        return standing_of(self.judgement, self.known, ())

    @property
    def score(self) -> float | None:
        """The largest score of a quantity, in a cell that agrees; None in another."""
        if not self.judgement.verdict.agrees:
            return None
        scores = [judged.score for step in self.judgement.steps for judged in step.quantities]
        return max((score for score in scores if score is not None), default=None)

    @property
    def suspicions(self) -> tuple[Suspicion, ...]:
        """Everything that is wrong with the cell and listed nowhere; what has a name before what has none."""
        if self.standing is not Standing.UNEXPECTED:
            return ()
        words = catalogue()
        causes = [alternatives[0] for alternatives in self.known.unlisted]
        named = sorted(causes, key=lambda cause: words[cause.id].symptom)
        return tuple(dict.fromkeys(suspicion_of(self.cell.implementation.name, cause) for cause in named))


def suspicion_of(implementation: str, cause: Cause) -> Suspicion:
    """Return what identifies a find of that cause."""
    entry = catalogue()[cause.id]
    fixed = [
        str(value)
        for name, value in cause.parameters
        if name not in entry.varies and isinstance(value, str | int) and not entry.symptom
    ]
    shown = [str(value) for name, value in cause.parameters if name == "type"] if entry.symptom else []
    quantities = list(cause.quantities[:1]) if entry.symptom else []
    return Suspicion(implementation, cause.id, (*fixed, *shown, *quantities))


def known_of(cell: Cell, judgement: Judgement, entries: Iterable[Listed], versions: Mapping[str, str]) -> Known:
    """Return what entries of `anywhere` say of a drawn cell."""
    explanations = explanations_of(judgement)
    applying = in_force(entries, site_of(cell), versions) if explanations else []
    return known_causes(applying, cell.case.id, explanations)


def anywhere(entries: Iterable[Listed]) -> list[Listed]:
    """Return the entries as they count for drawn cases, which no written case's name stands for.

    Where an entry says what is done instead, it does so whatever the case. Where it only says that something is wrong, it
    says nothing of other cases than those that it names.
    """
    return [_anywhere(entry) for entry in entries]


def _anywhere(entry: Listed) -> Listed:
    divergence = entry.divergence
    restricted = bool(divergence.cases)
    causes = [
        cause.model_copy(update={"cases": ()})
        for cause in divergence.causes
        if not catalogue()[cause.id].symptom or cause.parameters or not (restricted or cause.cases)
    ]
    return Listed(
        divergence=divergence.model_copy(update={"cases": (), "causes": tuple(causes)}),
        place=entry.place,
    )


S = TypeVar("S", bound=Shows)


def new_among(trials: Iterable[S], done: frozenset[Suspicion]) -> Iterator[tuple[S, Suspicion]]:
    """Yield each trial that shows something that was not found yet, with the first thing that it shows."""
    for trial in trials:
        fresh = [suspicion for suspicion in trial.suspicions if suspicion not in done]
        if fresh:
            yield trial, fresh[0]

"""A bench of two: drawn cases are performed by implementations and by the one that they are held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from conformance.cause import Cause, text_of
from conformance.judging.judgement import Judgement
from conformance.planning.plan import Cell
from conformance.reference.expected import References
from conformance.search.bench import Bench
from conformance.search.between import Comparison, Given, Why, comparisons
from conformance.search.finding import Suspicion, Trial, suspicion_of
from conformance.spec.case import Case
from conformance.spec.causes import catalogue

#: In the place of a cause: both are right in the dialects that they document, or each is within its own bound.
DOCUMENTED, UNNAMED = "documented-otherwise", "apart"
#: How a difference stands: nothing says it, both documentations do, or `divergences.yaml` does.
Kind = Literal["new", "documented", "known"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairTrial:
    """What one implementation and the one it is held against gave of a case."""

    one: Trial
    other: Trial
    compared: tuple[Comparison, ...]
    #: Whether what is documented or listed is a find as well.
    every: bool

    @property
    def cell(self) -> Cell:
        """That of the first."""
        return self.one.cell

    @property
    def judgement(self) -> Judgement:
        """That of the first, by the reference."""
        return self.one.judgement

    @property
    def sides(self) -> tuple[Trial, ...]:
        """Both."""
        return self.one, self.other

    @property
    def score(self) -> float | None:
        """The largest distance in what both bounds allow together, where they do not differ."""
        if any(comparison.differs for comparison in self.compared):
            return None
        return max((comparison.score for comparison in self.compared), default=None)

    @property
    def suspicions(self) -> tuple[Suspicion, ...]:
        """What they differ in for a new cause, or for any where every difference counts."""
        return tuple(
            dict.fromkeys(suspicion for kind, suspicion, _, _ in self.differences() if self.every or kind == "new")
        )

    @property
    def noted(self) -> tuple[str, ...]:
        """The differences that are documented or listed, unless every difference is a find."""
        told = ((kind, suspicion) for kind, suspicion, _, _ in self.differences() if kind != "new" and not self.every)
        return tuple(dict.fromkeys(f"{kind}: {suspicion}" for kind, suspicion in told))

    def differences(self) -> Iterator[tuple[Kind, Suspicion, Why, Comparison]]:
        """Yield each difference with every cause of it, and how that stands; what is new first."""
        found = [
            (self._kind(why), self._suspicion(why, comparison), why, comparison)
            for comparison in self.compared
            for why in comparison.whys
        ]
        yield from sorted(found, key=lambda difference: difference[0] != "new")

    def fact(self, suspicion: Suspicion) -> str:
        """Return in which step both differ in what, by how much, and why."""
        why, comparison = next((why, it) for _, own, why, it in self.differences() if own == suspicion)
        names = f"{self._name(self.one)} and {self._name(self.other)}"
        step = f"In step {comparison.number} ({comparison.kind})"
        if not comparison.quantity:
            return f"{step}, one of {names} gives no numbers: {self._words(suspicion, why)}."
        far = (
            "one of them is not finite"
            if comparison.score == float("inf")
            else f"{comparison.score:.3g} times both bounds"
        )
        return f"{step}, the {comparison.quantity} of {names} differ ({far}): {self._words(suspicion, why)}."

    def _words(self, suspicion: Suspicion, why: Why) -> str:
        if why.cause is not None:
            return f"{suspicion.implementation}: {text_of((why.cause,), catalogue())}"
        if why.fields:
            return f"their documentation differs in {', '.join(why.fields)}"
        return "each alone is within its own bound"

    def _kind(self, why: Why) -> Kind:
        if why.cause is None:
            return "documented" if why.fields else "new"
        known = (self.one if why.side == "one" else self.other).known
        unlisted = {cause.id for alternatives in known.unlisted for cause in alternatives}
        listed = {cause.id for cause, _ in known.listed}
        return "known" if why.cause.id in listed - unlisted else "new"

    def _suspicion(self, why: Why, comparison: Comparison) -> Suspicion:
        names = self._name(self.one), self._name(self.other)
        own, against = names if why.side == "one" or why.cause is None else names[::-1]
        match why:
            case Why(cause=Cause() as cause):
                by_cause = suspicion_of(own, cause)
                return Suspicion(own, by_cause.cause, by_cause.parameters, against)
            case Why(fields=(_, *_) as fields):
                return Suspicion(own, DOCUMENTED, fields, against)
            case _:
                return Suspicion(own, UNNAMED, (comparison.quantity,), against)

    @staticmethod
    def _name(trial: Trial) -> str:
        return trial.cell.implementation.name


@dataclass(slots=True, kw_only=True)
class PairBench:
    """The benches of both: of those that are searched, and of the one implementation that they are held against."""

    one: Bench
    other: Bench
    every: bool

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that both offer."""
        return tuple(name for name in self.one.operations if name in self.other.operations)

    @property
    def implementations(self) -> tuple[str, ...]:
        """The names of those that are searched."""
        return self.one.implementations

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that both take."""
        return tuple(name for name in self.one.dtypes if name in self.other.dtypes)

    def trials(self, case: Case, only: str | None = None) -> list[PairTrial]:
        """Perform a case by both, as far as both support it, and hold one against the other."""
        references = References()
        (against,) = self.other.implementations
        other = next(iter(self.other.judged(case, references)), None)
        if other is None:
            return []
        its = Given(judgement=other[0].judgement, judges=other[1])
        return [
            PairTrial(
                one=trial,
                other=other[0],
                compared=tuple(comparisons(Given(judgement=trial.judgement, judges=judges), its)),
                every=self.every,
            )
            for trial, judges in self.one.judged(case, references, None if only == against else only)
        ]

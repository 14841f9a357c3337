"""A layer of one library in the words of another: arguments, names, what cannot be carried over, and whether both agree.

Nothing here is about a pair of libraries. A configuration is found under which the source's own call has the arguments
that were given; the target's call for it is the translation; what both document to do otherwise is the difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.dialect import FIELDS, Dialect, apply, declared_at, meanings, shown
from conformance.judging.judgement import Judgement, StepJudgement
from conformance.operations import OPERATIONS
from conformance.operations.layout import flattened
from conformance.planning.plan import Offered
from conformance.protocol import Configuration
from conformance.runfile.structs import NativeCall

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of both implementations, and how its user writes the layer."""

    implementation: Offered
    configuration: Configuration
    call: NativeCall
    #: What a user writes for each field of the configuration: field -> `momentum=0.99`.
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Something that the target does otherwise, or lacks."""

    what: str
    source: str
    target: str
    #: Where the libraries say so; empty where it follows from what they offer.
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How one quantity of one step stands in both, each judged from its own state by the bounds of its own input."""

    step: int
    kind: str
    quantity: str
    source: str
    target: str
    #: The largest difference between the two; None where one of them does not give it.
    difference: float | None
    #: Why they differ; empty where both are right by the spec, each from what it started from.
    cause: str
    #: The moving values that differed before the step, where the difference follows from these.
    follows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A layer of one library in the words of another."""

    source: Side
    target: Side
    losses: tuple[Loss, ...]
    #: Empty where there was no proof.
    agreements: tuple[Agreement, ...] = ()
    #: State -> the target's native shape, -1 where the features are.
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def remaining(self) -> tuple[Agreement, ...]:
        """What is not the same in both."""
        return tuple(agreement for agreement in self.agreements if agreement.cause)

    @property
    def unexplained(self) -> tuple[Agreement, ...]:
        """What deviates in one of them from what it documents."""
        return tuple(one for one in self.remaining if "deviates" in (one.source, one.target))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A layer that the target cannot express, or the source has not, on an input of so many axes."""

    rank: int
    reason: str


def losses(source: Side, target: Side) -> Iterator[Loss]:
    """Yield what cannot be carried over: choices that both document, steps, quantities, gamma and beta."""
    one, other = (_dialect(side) for side in (source, target))
    for name in FIELDS:
        values = [shown(name, _values(dialect)) for dialect in (one, other)]
        if getattr(one, name) != getattr(other, name):
            places = [_where(side, name) for side in (source, target)]
            yield Loss(
                what=meanings()[name].words,
                source=values[0],
                target=values[1],
                where="; ".join(place for place in places if place),
            )
    if source.configuration.feature_axes != target.configuration.feature_axes:
        axes = [f"axis {side.configuration.feature_axes[0]} of {side.configuration.rank}" for side in (source, target)]
        yield Loss(what="where the features are: transpose the input", source=axes[0], target=axes[1])
    for name, has in (("gamma", "scale"), ("beta", "center")):
        if getattr(source.configuration, has) != getattr(target.configuration, has):
            neutral = "1" if name == "gamma" else "0"
            yield Loss(
                what=f"{name}, which has no switch of its own there", source="none", target=f"{neutral}: keep it so"
            )
    for step in sorted(set(source.implementation.steps) - set(target.implementation.steps)):
        yield Loss(what=f"the step {step}", source="there", target="not offered")
    for quantity in sorted(set(target.implementation.lacks) - set(source.implementation.lacks)):
        yield Loss(what=quantity, source="given", target="not given")


def _dialect(side: Side) -> Dialect:
    declared = declared_at(side.implementation.profile, side.configuration.rank)
    return apply(OPERATIONS[side.configuration.op].dialect, declared)


def _values(dialect: Dialect) -> dict[str, Any]:
    return {name: getattr(dialect, name) for name in FIELDS}


def _where(side: Side, name: str) -> str:
    declared = declared_at(side.implementation.profile, side.configuration.rank).get(name)
    return "" if declared is None else f"{side.implementation.name} ({declared.source}): {declared.where}"


def verdict_of(made: Translation) -> str:
    """Return what the proof says, in one sentence: each cause once, with the quantities that it is of."""
    by_cause: dict[str, dict[str, None]] = {}
    for one in made.remaining:
        for cause in one.cause.split("; "):
            by_cause.setdefault(cause, {})[one.quantity] = None
    if not by_cause:
        return "The same, to within rounding."
    told = "; ".join(f"{', '.join(quantities)} ({cause})" for cause, quantities in by_cause.items())
    return f"{'Not the same' if made.unexplained else 'The same but for'}: {told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """What one side gave in the proof: its judgement, and the numbers of each step by quantity."""

    configuration: Configuration
    judgement: Judgement
    #: By number of the step; state and other quantities together.
    numbers: Mapping[int, Mapping[str, Array]]
    words: Callable[[Judgement, int, str], str]


def agreements(source: Performed, target: Performed) -> Iterator[Agreement]:
    """Yield every quantity of every pass that either gave."""
    moved: dict[str, None] = {}
    for step in source.judgement.steps[1:]:
        found = [
            _agreement(step, name, source, target, tuple(moved))
            for name in OPERATIONS[source.configuration.op].quantities
            if name in source.numbers.get(step.number, {}) or name in target.numbers.get(step.number, {})
        ]
        yield from found
        roles = OPERATIONS[source.configuration.op].quantities
        moved |= {one.quantity: None for one in found if one.cause and roles[one.quantity].role == "state"}


def _agreement(
    step: StepJudgement, name: str, source: Performed, target: Performed, moved: tuple[str, ...]
) -> Agreement:
    ours, theirs = source.numbers.get(step.number, {}), target.numbers.get(step.number, {})
    both = name in ours and name in theirs
    sides = (("source", source), ("target", target))
    reasons = [(who, side.words(side.judgement, step.number, name)) for who, side in sides]
    causes = [f"{who}: {reason}" for who, reason in reasons if reason]
    if not both:
        causes.append(f"not given by the {'target' if name in ours else 'source'}")
    difference = _difference(name, ours[name], source, theirs[name], target) if both else None
    role = OPERATIONS[source.configuration.op].quantities[name].role
    starts_there = role == "state" or (step.kind == "infer" and role in ("output", "gradient"))
    return Agreement(
        step=step.number,
        kind=step.kind,
        quantity=name,
        source=_verdict(source, step.number, name),
        target=_verdict(target, step.number, name),
        difference=difference,
        cause="; ".join(causes),
        follows=moved if starts_there and difference and not causes else (),
    )


def _verdict(side: Performed, step: int, quantity: str) -> str:
    for judged in side.judgement.steps[step].quantities if step < len(side.judgement.steps) else ():
        if judged.quantity == quantity:
            score = "" if judged.score is None else f" {judged.score:.2g}"
            return f"{judged.verdict}{score}" if judged.verdict.agrees else str(judged.verdict)
    return "-"


def _difference(name: str, one: Array, source: Performed, other: Array, target: Performed) -> float:
    """Return the largest difference of a quantity between both, whose layouts may differ."""
    shape = OPERATIONS[source.configuration.op].quantities[name].shape
    a = flattened(one, shape, source.configuration).astype(np.float64)
    b = flattened(other, shape, target.configuration).astype(np.float64)
    return float(np.abs(a - b).max(initial=0.0)) if a.shape == b.shape else math.inf

"""A hypothesis: one change of the formula, or two of them at once, that might explain deviating numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from conformance.cause import UNCHANGED, Cause
from conformance.dialect import Dialect
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.situation import Situation, VarianceAlgorithm
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateStep:
    """A step that computes no pass, for the hypotheses about what it does to the state. All arrays are flat."""

    kind: str
    frozen: bool
    #: The state before it, and that before the first step of the case.
    before: Mapping[str, Array]
    initial: Mapping[str, Array]
    #: Of a gradient step: its rate, and the gradients that it takes, by what is learned.
    rate: float = 0.0
    gradients: Mapping[str, Array] = field(default_factory=dict)
    #: The gradients that it would take were the layer not frozen.
    unfrozen_gradients: Mapping[str, Array] = field(default_factory=dict)


class Substitute(Protocol):
    """What a hypothesis puts in place of something that a pass measures: arrays of a value for each feature, or more."""

    def results(self, situation: Situation, results: Mapping[str, Expected]) -> dict[str, Expected]:
        """Return what the pass gives with it, from what it gives without."""

    def in_common(self, situation: Situation, name: str) -> object:
        """Return what substitutes must have in common to be joined for the sake of that quantity; None: they cannot be."""

    def joined(self, others: Sequence[Any], feature: int) -> Substitute:
        """Return this one and others like it, each a feature of one step: what each puts into that feature of its own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hypothesis:
    """One single change of the formula that might explain deviating numbers."""

    #: What is done instead; `UNCHANGED` where the hypothesis is only the start from which others are made.
    cause: Cause = UNCHANGED
    configuration: Configuration
    dialect: Dialect
    variance: VarianceAlgorithm = "welford"
    #: Returns what the step starts from instead; None where the hypothesis makes no difference to it.
    change_situation: Callable[[Situation], Situation | None] | None = None
    #: Returns what the pass gives instead of its results.
    change_results: Callable[[Situation, dict[str, Expected]], dict[str, Expected]] | None = None
    #: Returns what `change_results` computes with, where that follows from the input and the shape of the situation alone, so
    #: that several hypotheses can be computed at once. None where it gives nothing of the step.
    substitute: Callable[[Situation], Substitute | None] | None = None
    #: Returns what a step that computes no pass leaves instead of its results. It then says nothing of the others.
    change_state: Callable[[StateStep, dict[str, Expected]], dict[str, Expected]] | None = None
    #: Which pass is performed instead: "train" or "infer".
    performed: str = ""
    #: The only quantities that it can explain; empty where it can explain all.
    only: frozenset[str] = frozenset()
    #: It explains only numbers that this dtype can hold exactly; empty where it explains any.
    representable: str = ""
    #: Whether `change_results` computes what is wanted in the situation alone.
    selects: bool = False
    #: Whether it is a last resort: it explains nearly anything, and is named only where nothing else explains as much.
    last: bool = False

    def configured(self, cause: Cause, **fields: Any) -> Hypothesis:
        """Return this hypothesis with other fields of the configuration."""
        return replace(self, cause=cause, configuration=replace(self.configuration, **fields))

    def in_dialect(self, cause: Cause, **fields: Any) -> Hypothesis:
        """Return this hypothesis with other fields of the dialect."""
        return replace(self, cause=cause, dialect=replace(self.dialect, **fields))


@functools.lru_cache(maxsize=2**13)
def both(first: Hypothesis, second: Hypothesis, base: Hypothesis) -> Hypothesis | None:
    """Return the hypothesis that both changes of `base` were made, `first` before `second`; None where they exclude each other.

    They do where both change the same field, where each performs another pass, where no quantity is both's, where one is
    about a step that computes no pass, and where one explains only numbers that some dtype can hold.
    """
    configuration = _merged(base.configuration, first.configuration, second.configuration)
    dialect = _merged(base.dialect, first.dialect, second.dialect)
    only = first.only & second.only if first.only and second.only else first.only | second.only
    exclusive = (first.performed and second.performed) or (first.only and second.only and not only)
    # One that explains only what a dtype can hold explains nothing beside another change.
    alone = any(one.change_state is not None or one.representable for one in (first, second))
    if first is second or configuration is None or dialect is None or exclusive or alone:
        return None
    changes = [change for change in (first.change_situation, second.change_situation) if change is not None]
    results = [change for change in (first.change_results, second.change_results) if change is not None]
    return Hypothesis(
        cause=second.cause,
        configuration=configuration,
        dialect=dialect,
        variance=next((one.variance for one in (first, second) if one.variance != base.variance), base.variance),
        change_situation=functools.partial(_in_turn, changes) if len(changes) > 1 else next(iter(changes), None),
        change_results=functools.partial(_results_in_turn, results) if results else None,
        performed=first.performed or second.performed,
        only=only,
        # What is given before the results are changed must then be all that there is.
        selects=not changes and not first.performed and not second.performed and _all_select(first, second),
    )


def _all_select(*hypotheses: Hypothesis) -> bool:
    return all(one.selects for one in hypotheses if one.change_results is not None)


def _merged(base: Any, first: Any, second: Any) -> Any:
    """Return `base` with the fields that either changed; None where both changed the same one."""
    if first is base or second is base:
        return second if first is base else first
    changed: dict[str, Any] = {}
    for one in (first, second):
        for name in base.__dataclass_fields__:
            value = getattr(one, name)
            if value != getattr(base, name):
                if name in changed:
                    return None
                changed[name] = value
    return replace(base, **changed)


def _in_turn(changes: Sequence[Callable[[Situation], Situation | None]], situation: Situation) -> Situation | None:
    """Return the situation after every change; None where one does not apply to the step."""
    changed: Situation | None = situation
    for change in changes:
        changed = None if changed is None else change(changed)
    return changed


def _results_in_turn(
    changes: Sequence[Callable[[Situation, dict[str, Expected]], dict[str, Expected]]],
    situation: Situation,
    results: dict[str, Expected],
) -> dict[str, Expected]:
    """Return the results after every change; those that a change does not give stay as they were."""
    for change in changes:
        changed = change(situation, results)
        # A change that gives nothing does not apply to the step.
        results = {**results, **changed} if changed else {}
    return results

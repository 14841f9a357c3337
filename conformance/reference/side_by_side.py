"""What one feature of a quantity would be under many hypotheses: computed side by side, as the features of one step.

Where every number of a pass depends on its own feature alone, a step of as many features as there are hypotheses gives
all of them at the cost of one. Its numbers are those that a hypothesis gives alone but for the order of their sums, so
they serve to rule a hypothesis out, and for nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis, Substitute
from conformance.operations.operation import Operation
from conformance.operations.situation import Situation
from conformance.protocol import Configuration
from conformance.reference.computed import Request, situation_of, too_narrow
from conformance.reference.inputs import SMALL
from conformance.reference.step_state import effect_of

Array = np.ndarray[Any, np.dtype[Any]]
#: What the step should give: of all quantities.
Right = Callable[[], Mapping[str, Expected]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One column of what several hypotheses expect of a quantity."""

    expected: Expected
    number: int


Columns = dict[Hypothesis, Column | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """All but arrays and epsilons that situations must have in common to be joined."""

    trains: bool
    dialect: Any
    epsilon: str
    trained: int
    #: None where it enters in one place alone, which admits several.
    decay: float | None
    shape: tuple[int, ...]


def columns(
    hypotheses: Iterable[Hypothesis],
    name: str,
    feature: int,
    request: Request,
    before: Mapping[str, Array],
    made: dict[Any, Situation],
    right: Right,
) -> Columns:
    """Return what the quantity would be in a feature under those of the hypotheses that can stand side by side.

    They can where they change what the pass starts from, its decay or its epsilon, or put something in place of its
    statistics. `made` are situations of the step, to which some are added. None stands for nothing.
    """
    operation = OPERATIONS[request.configuration.op]
    if not (operation.by_feature and operation.selects) or too_narrow(request.configuration):
        return {}
    start = situation_of(replace(request, wanted=frozenset({name})), before, made)
    result: Columns = {}
    started: dict[Hypothesis, Situation] = {}
    substituted: dict[Hypothesis, Substitute] = {}
    for hypothesis in hypotheses:
        performs = effect_of(request.inputs.step.step, request.frozen, hypothesis.dialect).performs
        if not performs or hypothesis.variance != start.variance:
            continue
        if hypothesis.change_state is not None:
            result[hypothesis] = None
        elif hypothesis.substitute is not None and _changes_nothing_else(hypothesis, start):
            substitute = _put_in_place(hypothesis, start) if performs == "train" else None
            if substitute is None:
                result[hypothesis] = None
            else:
                substituted[hypothesis] = substitute
        elif hypothesis.change_results is None and _layout(hypothesis.configuration) == _layout(start.configuration):
            situation = _posed(hypothesis, start)
            if situation is None:
                result[hypothesis] = None
            # What is taken for out of range may be so in one feature alone, and is computed in an arithmetic of its own.
            elif not situation.overflows:
                started[hypothesis] = situation
    result |= _performed(started, name, feature, operation, request)
    return result | _substituted(substituted, name, feature, start, right)


class _OfInput:
    """A situation as the key of a cache, compared by the identity of its input: all who perform a case share that."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation

    def __hash__(self) -> int:
        return id(self.situation.x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _OfInput) and other.situation.x is self.situation.x


def _put_in_place(hypothesis: Hypothesis, start: Situation) -> Substitute | None:
    # Of a large input nothing is kept: it is another object every time, and what is kept would hold it.
    return _kept_in_place(hypothesis, _OfInput(start)) if start.x.size <= SMALL else _of_situation(hypothesis, start)


@functools.lru_cache(maxsize=256)
def _kept_in_place(hypothesis: Hypothesis, key: _OfInput) -> Substitute | None:
    return _of_situation(hypothesis, key.situation)


def _of_situation(hypothesis: Hypothesis, situation: Situation) -> Substitute | None:
    return None if hypothesis.substitute is None else hypothesis.substitute(situation)


def _posed(hypothesis: Hypothesis, start: Situation) -> Situation | None:
    """Return the situation that the hypothesis makes of the step's; None where it does not apply."""
    situation = start
    if hypothesis.configuration != start.configuration or hypothesis.dialect != start.dialect:
        situation = replace(start, configuration=hypothesis.configuration, dialect=hypothesis.dialect)
    return situation if hypothesis.change_situation is None else hypothesis.change_situation(situation)


def _layout(configuration: Configuration) -> tuple[Any, ...]:
    return configuration.feature_axes, configuration.dtype, configuration.parameter_dtype, configuration.shape


def _changes_nothing_else(hypothesis: Hypothesis, start: Situation) -> bool:
    same = hypothesis.configuration == start.configuration and hypothesis.dialect == start.dialect
    return same and hypothesis.change_situation is None and not hypothesis.performed


def _performed(
    situations: Mapping[Hypothesis, Situation], name: str, feature: int, operation: Operation, request: Request
) -> Columns:
    """Return the columns of passes that start from other situations."""
    # Nothing is normalized for the sake of these, and a decay enters in one place alone.
    averaged = operation.quantities[name].role in {"statistic", "state"}
    groups: dict[_Group, list[Hypothesis]] = {}
    for hypothesis, situation in situations.items():
        performs = (
            hypothesis.performed or effect_of(request.inputs.step.step, request.frozen, situation.dialect).performs
        )
        group = _Group(
            trains=performs == "train",
            dialect=situation.dialect,
            epsilon=situation.epsilon,
            trained=situation.trained,
            decay=None if averaged and situation.dialect.update == "exponential" else situation.configuration.decay,
            shape=situation.x.shape,
        )
        groups.setdefault(group, []).append(hypothesis)
    result: Columns = {}
    for group, members in groups.items():
        perform = operation.train if group.trains else operation.infer
        given = perform(_joined([situations[one] for one in members], feature), request.worked)
        if name in given:
            result |= _numbered(members, given[name])
    return result


def _numbered(hypotheses: Sequence[Hypothesis], expected: Expected) -> Columns:
    return {one: Column(expected=expected, number=number) for number, one in enumerate(hypotheses)}


def _joined(situations: Sequence[Situation], feature: int) -> Situation:
    """Return the step whose features are that feature in each of the situations."""
    first, rows, count = situations[0], situations[0].x.shape[0], len(situations)
    decays = [one.configuration.decay for one in situations]
    upstream = None
    if first.upstream is not None:
        upstream = np.stack([np.asarray(one.upstream)[:, feature] for one in situations], axis=1)
    return replace(
        first,
        configuration=replace(first.configuration, shape=(rows, count), feature_axes=(1,)),
        x=np.stack([one.x[:, feature] for one in situations], axis=1),
        upstream=upstream,
        state={name: np.array([one.state[name][feature] for one in situations]) for name in first.state},
        decays=np.array(decays) if len(set(decays)) > 1 else None,
        epsilons=np.array([one.configuration.epsilon for one in situations]),
        graded=False,
        shape=(rows, count),
    )


def _substituted(
    substitutes: Mapping[Hypothesis, Substitute], name: str, feature: int, start: Situation, right: Right
) -> Columns:
    """Return the columns of a pass in which something is put in place of what it measures."""
    groups: dict[object, list[Hypothesis]] = {}
    for hypothesis, substitute in substitutes.items():
        common = substitute.in_common(start, name)
        if common is not None:
            groups.setdefault(common, []).append(hypothesis)
    result: Columns = {}
    for members in groups.values():
        joined = substitutes[members[0]].joined([substitutes[one] for one in members], feature)
        situation = _joined([start] * len(members), feature)
        given = joined.results(situation, {name: _repeated(right()[name], feature, len(members))})
        if name in given:
            result |= _numbered(members, given[name])
    return result


def _repeated(expected: Expected, feature: int, count: int) -> Expected:
    """Return the expectation of one feature, as often as there are hypotheses."""

    def again(array: Array) -> Array:
        whole = np.broadcast_to(array, expected.value.shape)
        return np.repeat(whole[..., feature, None], count, axis=-1)

    return Expected(
        value=again(expected.value),
        bound=again(expected.bound),
        magnitude=again(expected.magnitude),
        in_domain=again(expected.in_domain),
        rest=None if expected.rest is None else again(expected.rest),
    )

"""What every quantity of a step should be, kept for the other implementations whose step starts from the same state."""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis, StateStep
from conformance.operations.situation import Situation
from conformance.precision import Precision, dtype_name
from conformance.protocol import Configuration
from conformance.reference.computed import (
    Request,
    compute,
    flat,
    moved_by_gradients,
    numbers,
    situation_of,
    staying,
    too_narrow,
)
from conformance.reference.inputs import SMALL, StepInputs, states_of
from conformance.reference.latest import Latest, size_of
from conformance.reference.side_by_side import Column, columns
from conformance.spec.case import Sgd

Array = np.ndarray[Any, np.dtype[Any]]

#: The most elements that the kept references may have together: of small steps those of all implementations of a run, which
#: go through the cases one after another; of large ones, which would take the place of hundreds of small ones each, fewer.
#: At some 100 bytes each, most of them NumPy's for arrays of few values, the two take up to 1.6 GB.
_KEPT_ELEMENTS, _KEPT_OF_LARGE = 12_000_000, 4_000_000
#: The same for what small steps would give under hypotheses, at some 25 bytes each, and for the right numbers beside them; and
#: of how many steps that is kept.
_SUPPOSED_ELEMENTS, _SUPPOSED_STEPS = 8_000_000, 1024


@dataclass(slots=True, kw_only=True, eq=False)
class Suppositions:
    """What one step would give under hypotheses, kept for the other implementations that start it from the same state.

    What hypotheses have in common is kept too: the arrays that they are applied to, and the right numbers.
    """

    #: The step itself, under no hypothesis.
    request: Request
    situations: dict[Any, Situation] = field(default_factory=dict)
    #: By configuration, dialect and arithmetic.
    right: dict[tuple[Configuration, Dialect, str], Mapping[str, Expected]] = field(default_factory=dict)
    #: The expectation that the state stays as it is.
    state: dict[str, Expected] = field(default_factory=dict)
    #: By hypothesis, arithmetic, and what is asked for.
    supposed: dict[tuple[Hypothesis, str, Any], Mapping[str, Expected]] = field(default_factory=dict)
    #: What a pass gives in a changed situation, before its results are changed: by all that this depends on.
    performed: dict[Any, dict[str, Expected]] = field(default_factory=dict)
    #: By quantity, feature, arithmetic and hypotheses: what these expect there, side by side.
    columns: dict[tuple[str, int, str, tuple[Hypothesis, ...]], dict[Hypothesis, Column | None]] = field(
        default_factory=dict
    )
    #: Whether it is among those that are kept, and of how many elements.
    kept: bool = False
    elements: int = 0

    def forward(self) -> StepInputs:
        """Return the step's arrays without its upstream gradient."""
        return replace(self.request.inputs, upstream=None)

    def unchanged(self, before: Mapping[str, Array]) -> dict[str, Expected]:
        """Return the expectation that the state `before` the step stays as it is."""
        if not self.state:
            self.state = {name: staying(value) for name, value in before.items()}
        return self.state


class References:
    """Computes references, and keeps the latest of them for implementations that ask for the same again."""

    def __init__(self) -> None:
        self._of_small, self._of_large = Latest(_KEPT_ELEMENTS), Latest(_KEPT_OF_LARGE)
        self._supposed: OrderedDict[Any, Suppositions] = OrderedDict()
        self._supposed_elements = 0

    def expected(
        self, request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> dict[str, Expected]:
        """Return what every quantity of the step should be.

        The step starts from the state `before` it; a gradient step also takes the `gradients` of the last train step.
        """
        batch = request.inputs.input
        latest = self._of_large if batch is not None and batch.size > SMALL else self._of_small
        key = _key(request, before, gradients)
        quantities = latest.get(key)
        if quantities is None:
            quantities = compute(request, before, gradients)
            latest.keep(key, quantities)
        return quantities

    def suppositions(
        self, request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> Suppositions:
        """Return what is kept of such a step under hypotheses, to which whoever computes more of it may add."""
        batch = request.inputs.input
        if batch is not None and batch.size > SMALL:
            return Suppositions(request=request)
        past = request.earlier
        earlier = None if past is None else (past.inputs.checksum, _digest(past.state, past.gradients))
        key = (_key(request, before, gradients), request.dialect, request.empties, earlier)
        if key not in self._supposed:
            self._supposed[key] = Suppositions(request=request, kept=True)
        self._supposed.move_to_end(key)
        kept = self._supposed[key]
        while len(self._supposed) > _SUPPOSED_STEPS or (
            len(self._supposed) > 1 and self._supposed_elements > _SUPPOSED_ELEMENTS
        ):
            _, oldest = self._supposed.popitem(last=False)
            self._supposed_elements -= oldest.elements
            oldest.kept = False
        return kept

    def under(
        self, request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array], kept: Suppositions
    ) -> Mapping[str, Expected]:
        """Return what the step would give if the request's hypothesis were true; `kept` are its suppositions.

        It is put among these by whoever asks, under whatever it was asked for.
        """
        supposed = self._computed(request, before, gradients, kept)
        self._count(kept, size_of(supposed))
        return supposed

    def columns(
        self,
        hypotheses: tuple[Hypothesis, ...],
        name: str,
        feature: int,
        request: Request,
        before: Mapping[str, Array],
        gradients: Mapping[str, Array],
        kept: Suppositions,
    ) -> Mapping[Hypothesis, Column | None]:
        """Return what a quantity would be in one feature under those of the hypotheses that can stand side by side."""
        key = (name, feature, request.worked.name, hypotheses)
        if key not in kept.columns:
            right = functools.partial(self._right, request, request.worked, before, gradients, kept)
            found = columns(hypotheses, name, feature, request, before, kept.situations, right)
            kept.columns[key] = found
            self._count(kept, sum(column.expected.value.shape[0] for column in found.values() if column is not None))
        return kept.columns[key]

    def _count(self, kept: Suppositions, elements: int) -> None:
        if kept.kept:
            kept.elements += elements
            self._supposed_elements += elements

    def _computed(
        self, request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array], kept: Suppositions
    ) -> dict[str, Expected]:
        hypothesis, effect = request.hypothesis, request.effect
        assert hypothesis is not None
        if not effect.performs:
            results = {**kept.unchanged(before), **moved_by_gradients(request, before, gradients)}
            return _state_under(hypothesis, request, before, gradients, results)
        if hypothesis.change_state is not None:
            return {}
        trains = effect.performs == "train"
        situation = situation_of(request, before, kept.situations)
        changed = situation if hypothesis.change_situation is None else hypothesis.change_situation(situation)
        if changed is None:
            return {}
        state: Mapping[str, Expected] = kept.unchanged(before)
        quantities: dict[str, Expected] | None = None
        alone = changes_results_alone(request)
        if alone or _is_same(kept.request, request, situation, changed):
            right = self._right(request if alone else kept.request, request.worked, before, gradients, kept)
            quantities = {name: quantity for name, quantity in right.items() if trains or name not in before}
            state = {name: right[name] for name in before} if alone else state
        if quantities is None:
            quantities = self._performed(changed, trains, request, kept)
        quantities = _changed(changed, request, quantities)
        if not quantities and request.wanted:
            # What is wanted may be the state alone, and the pass leave it.
            return self._computed(replace(request, wanted=frozenset()), before, gradients, kept)
        # A hypothesis that gives no quantity does not apply to this step; it does not claim that the state stays.
        return {**state, **quantities} if quantities else {}

    def _performed(
        self, situation: Situation, trains: bool, request: Request, kept: Suppositions
    ) -> dict[str, Expected]:
        """Return what the pass would give in the situation that the request's hypothesis makes of its own.

        It is kept where the results are changed after that: they may be changed by many.
        """
        hypothesis, operation, worked = request.hypothesis, OPERATIONS[request.configuration.op], request.worked
        assert hypothesis is not None
        worked = next((one.arithmetic for one in situation.overflows if one.arithmetic is not None), worked)
        trains = {"": trains, "train": True, "infer": False}[hypothesis.performed]
        perform = operation.train if trains else operation.infer
        if hypothesis.change_results is None or not kept.kept:
            return perform(situation, worked)
        key = (
            hypothesis.configuration,
            hypothesis.dialect,
            hypothesis.change_situation,
            hypothesis.variance,
            trains,
            worked.name,
            request.wanted,
            situation.upstream is None,
        )
        if key not in kept.performed:
            kept.performed[key] = perform(situation, worked)
            self._count(kept, size_of(kept.performed[key]))
        return kept.performed[key]

    def _right(
        self,
        request: Request,
        worked: Precision,
        before: Mapping[str, Array],
        gradients: Mapping[str, Array],
        kept: Suppositions,
    ) -> Mapping[str, Expected]:
        """Return what the step should give in the configuration and dialect of the request, and in that arithmetic."""
        key = (request.configuration, request.dialect, worked.name)
        if key not in kept.right:
            right = replace(request, hypothesis=None, worked=worked, wanted=frozenset())
            kept.right[key] = self.expected(right, before, gradients)
            # It may outlive its place among the references.
            self._count(kept, size_of(kept.right[key]))
        return kept.right[key]


def _key(request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]) -> tuple[Any, ...]:
    """Return the key under which a reference is kept: everything that its numbers depend on."""
    return (
        request.case.id,
        request.number,
        request.configuration,
        *numbers(request),
        request.worked.name,
        request.frozen,
        request.trained,
        request.variance,
        request.features,
        _digest(before, gradients),
    )


def _digest(*parts: Mapping[str, Array]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        for name in sorted(part):
            digest.update(name.encode())
            digest.update(dtype_name(part[name].dtype).encode())
            digest.update(part[name].tobytes())
    return digest.digest()


@functools.lru_cache(maxsize=256)
def unchanged(configuration: Configuration, dialect: Dialect) -> Hypothesis:
    """Return the hypothesis that changes nothing: the same object every time, by which others are known."""
    return Hypothesis(configuration=configuration, dialect=dialect)


@functools.lru_cache(maxsize=256)
def hypotheses(configuration: Configuration, dialect: Dialect) -> tuple[Hypothesis, ...]:
    """Return the changes of the formula that may explain why such a step deviates."""
    return tuple(OPERATIONS[configuration.op].hypotheses(configuration, dialect))


def changes_results_alone(request: Request) -> bool:
    """Return whether the hypothesis only replaces some results of the canonical pass, so that a kept reference suffices.

    It does not where the hypothesis changes what the pass starts from, which pass is performed, or how the variance is
    computed; nor where the reference is exact fractions, which the hypothesis cannot be applied to.
    """
    hypothesis = request.hypothesis
    if hypothesis is None or hypothesis.change_results is None or too_narrow(request.configuration):
        return False
    return hypothesis.change_situation is None and not hypothesis.performed and hypothesis.variance == "welford"


def _is_same(right: Request, supposed: Request, situation: Situation, changed: Situation) -> bool:
    """Return whether a hypothesis that changes no results changes nothing else that the numbers of the pass depend on."""
    hypothesis = supposed.hypothesis
    if hypothesis is None or hypothesis.change_results is not None or too_narrow(supposed.configuration):
        return False
    if hypothesis.performed not in {"", supposed.effect.performs} or hypothesis.variance != right.variance:
        return False
    if supposed.configuration != right.configuration or numbers(supposed) != numbers(right):
        return False
    return changed is situation or _same_numbers(situation, changed)


def _same_numbers(one: Situation, other: Situation) -> bool:
    """Return whether two situations are the same but for the objects that hold their numbers; a NaN is like no other."""
    simple = ("configuration", "dialect", "trained", "empties", "variance", "epsilon", "overflows", "graded", "shape")
    return (
        all(getattr(one, name) == getattr(other, name) for name in simple)
        and one.earlier is other.earlier
        and one.arrays is other.arrays
        and one.state.keys() == other.state.keys()
        and all(_same_array(value, other.state[name]) for name, value in one.state.items())
        and _same_array(one.x, other.x)
        and (one.upstream is other.upstream or _same_array(one.upstream, other.upstream))
    )


def _same_array(one: Array | None, other: Array | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _state_under(
    hypothesis: Hypothesis,
    request: Request,
    before: Mapping[str, Array],
    gradients: Mapping[str, Array],
    results: dict[str, Expected],
) -> dict[str, Expected]:
    """Return what a step that computes no pass would leave if the hypothesis were true; nothing if it is not about such."""
    if hypothesis.change_state is None:
        return {}
    step = request.inputs.step
    changed = hypothesis.change_state(
        StateStep(
            kind=step.step,
            frozen=request.frozen,
            before=flat(before),
            initial=flat(states_of(request.case)[0]),
            rate=step.learning_rate if isinstance(step, Sgd) else 0.0,
            gradients=flat(gradients if request.effect.moves_learned else {}),
            unfrozen_gradients=flat({} if request.earlier is None else request.earlier.gradients),
        ),
        results,
    )
    return {name: result for name, result in changed.items() if not hypothesis.only or name in hypothesis.only}


def _changed(situation: Situation, request: Request, quantities: dict[str, Expected]) -> dict[str, Expected]:
    """Return what the pass would give if the request's hypothesis were true, from what it gives in its situation."""
    hypothesis = request.hypothesis
    assert hypothesis is not None
    if hypothesis.change_results is not None:
        quantities = hypothesis.change_results(situation, quantities)
    return {name: quantity for name, quantity in quantities.items() if not hypothesis.only or name in hypothesis.only}

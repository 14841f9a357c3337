"""What every quantity of a step should be, kept for the other implementations whose step starts from the same state."""

from __future__ import annotations

import functools
import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from conformance.dialect import Dialect, PassName, numeric
from conformance.operations import OPERATIONS
from conformance.operations.operation import (
    Earlier,
    Expected,
    Hypothesis,
    Operation,
    Situation,
    StateStep,
    VarianceAlgorithm,
)
from conformance.precision import Precision, dtype_name, wide
from conformance.protocol import Configuration
from conformance.reference.inputs import StepInputs, situate, states_of
from conformance.reference.rational import exactly, split
from conformance.reference.step_state import Effect, effect_of
from conformance.spec.case import Case, Sgd

Array = np.ndarray[Any, np.dtype[Any]]

#: The most elements that the kept references may have together. At some 100 bytes each, 16 million take up to 1.6 GB.
_KEPT_ELEMENTS = 16_000_000
#: The same for what steps would give under hypotheses, at some 25 bytes each; how many steps that is kept of; and the most
#: values that such a step has, of which some 130 hypotheses are asked.
_SUPPOSED_ELEMENTS, _SUPPOSED_STEPS, _SUPPOSED_VALUES = 4_000_000, 256, 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """An earlier train step: its inputs, the state before it and the gradients that it gave."""

    inputs: StepInputs
    state: Mapping[str, Array]
    gradients: Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """The step to compute, the dialect and arithmetic to compute it in, and what the steps before it left."""

    case: Case
    configuration: Configuration
    number: int
    inputs: StepInputs
    dialect: Dialect
    worked: Precision
    frozen: bool
    trained: int
    #: Train steps before this one whose batch was empty.
    empties: int = 0
    variance: VarianceAlgorithm = "welford"
    hypothesis: Hypothesis | None = None
    #: Under a hypothesis, the quantities asked for; empty: all.
    wanted: frozenset[str] = frozenset()
    #: The last train step, for the hypotheses that look back at it.
    earlier: Past | None = None
    #: Where the step is one part of a large one: the number of its first feature, and one more than that of its last.
    features: tuple[int, int] | None = None

    @property
    def graded(self) -> bool:
        """Whether the case is on the ladder by which implementations are graded."""
        return self.case.family == OPERATIONS[self.configuration.op].ladder

    @property
    def effect(self) -> Effect:
        """What the step does under the dialect."""
        return effect_of(self.inputs.step.step, self.frozen, self.dialect)


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
    #: Whether it is among those that are kept, and of how many elements.
    kept: bool = False
    elements: int = 0

    def forward(self) -> StepInputs:
        """Return the step's arrays without its upstream gradient."""
        return replace(self.request.inputs, upstream=None)

    def unchanged(self, before: Mapping[str, Array]) -> dict[str, Expected]:
        """Return the expectation that the state `before` the step stays as it is."""
        if not self.state:
            self.state = {name: _unchanged(value) for name, value in before.items()}
        return self.state


class References:
    """Computes references, and keeps the latest of them for implementations that ask for the same again."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, dict[str, Expected]] = OrderedDict()
        self._elements = 0
        self._supposed: OrderedDict[Any, Suppositions] = OrderedDict()
        self._supposed_elements = 0

    def expected(
        self, request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> dict[str, Expected]:
        """Return what every quantity of the step should be.

        The step starts from the state `before` it; a gradient step also takes the `gradients` of the last train step.
        """
        key = _key(request, before, gradients)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        quantities = compute(request, before, gradients)
        self._known[key] = quantities
        self._elements += _size(quantities)
        while self._elements > _KEPT_ELEMENTS and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._elements -= _size(oldest)
        return quantities

    def suppositions(
        self, request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> Suppositions:
        """Return what is kept of such a step under hypotheses, to which whoever computes more of it may add."""
        batch = request.inputs.input
        if batch is not None and batch.size > _SUPPOSED_VALUES:
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
        if kept.kept:
            size = _size(supposed)
            kept.elements += size
            self._supposed_elements += size
        return supposed

    def _computed(
        self, request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array], kept: Suppositions
    ) -> dict[str, Expected]:
        hypothesis, effect = request.hypothesis, request.effect
        assert hypothesis is not None
        if not effect.performs:
            results = {**kept.unchanged(before), **_moved_by_gradients(request, before, gradients)}
            return _state_under(hypothesis, request, before, gradients, results)
        if hypothesis.change_state is not None:
            return {}
        trains = effect.performs == "train"
        situation = _situation(request, before, kept.situations)
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
        quantities = _performed(OPERATIONS[request.configuration.op], changed, trains, request, quantities)
        if not quantities and request.wanted:
            # What is wanted may be the state alone, and the pass leave it.
            return self._computed(replace(request, wanted=frozenset()), before, gradients, kept)
        # A hypothesis that gives no quantity does not apply to this step; it does not claim that the state stays.
        return {**state, **quantities} if quantities else {}

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


def numbers(request: Request) -> tuple[bool, Dialect]:
    """Return all of the dialect that the step's numbers depend on: whether it trains, and the fields that matter then."""
    performs: PassName = "train" if request.effect.performs == "train" else "infer"
    return performs == "train", _numeric(request.configuration.op, request.dialect, performs)


@functools.lru_cache(maxsize=1024)
def _numeric(op: str, dialect: Dialect, performs: PassName) -> Dialect:
    return numeric(dialect, OPERATIONS[op].dialect, performs)


def _size(expected: Mapping[str, Expected]) -> int:
    return sum(quantity.value.size for quantity in expected.values())


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
    simple = ("configuration", "dialect", "trained", "empties", "variance", "epsilon", "overflow", "graded", "shape")
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


def compute(request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Expected]:
    """Return what every quantity of the step should be: those that its pass gives, and the state that it leaves alone."""
    state, effect = {name: _unchanged(value) for name, value in before.items()}, request.effect
    if not effect.performs:
        return {**state, **_moved_by_gradients(request, before, gradients)}
    operation, situation, trains = (
        OPERATIONS[request.configuration.op],
        _situation(request, before, {}),
        effect.performs == "train",
    )
    quantities = (operation.train if trains else operation.infer)(situation, request.worked)
    if too_narrow(request.configuration):
        quantities = exactly(quantities, situation, trains)
    return {**state, **quantities}


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
            before=_flat(before),
            initial=_flat(states_of(request.case)[0]),
            rate=step.learning_rate if isinstance(step, Sgd) else 0.0,
            gradients=_flat(gradients if request.effect.moves_learned else {}),
            unfrozen_gradients=_flat({} if request.earlier is None else request.earlier.gradients),
        ),
        results,
    )
    return {name: result for name, result in changed.items() if not hypothesis.only or name in hypothesis.only}


def _flat(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: value.reshape(-1).astype(np.longdouble) for name, value in arrays.items()}


def _moved_by_gradients(
    request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
) -> dict[str, Expected]:
    """Return the learned parameters as a gradient step should leave them; nothing for any other step."""
    if not request.effect.moves_learned or not isinstance(request.inputs.step, Sgd):
        return {}
    rate = request.inputs.step.learning_rate
    return {
        name: _descended(before[name], gradient, rate, request.worked)
        for name, gradient in gradients.items()
        if name in before
    }


def terms(
    request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
) -> Mapping[str, Mapping[str, Array]]:
    """Return, for each quantity of the step, the terms that its formula adds up, by name."""
    operation = OPERATIONS[request.configuration.op]
    kept = {name: {"old": value.reshape(-1)} for name, value in before.items()}
    if request.effect.performs:
        function = operation.train_terms if request.effect.performs == "train" else operation.infer_terms
        with np.errstate(all="ignore"):
            return {**kept, **function(_situation(request, before, {}))}
    if isinstance(request.inputs.step, Sgd):
        # A frozen layer should not move, and gets these terms too: they show what moved it if it did.
        learned = [name for name in gradients if name in before]
        return {**kept, **{name: {**kept[name], "gradient": gradients[name].reshape(-1)} for name in learned}}
    return kept


def _situation(request: Request, before: Mapping[str, Array], made: dict[Any, Situation]) -> Situation:
    """Return the situation of the step, with the arrays of one that was `made` where there is one."""
    configuration = request.configuration
    key = (
        configuration.feature_axes,
        configuration.dtype,
        configuration.parameter_dtype,
        configuration.shape,
        request.inputs.upstream is None,
    )
    whole = (*key, configuration, request.dialect, request.variance, request.wanted)
    if key not in made:
        situation = situate(configuration, request.dialect, request.inputs, before, request.trained)
        # What is computed of arrays that nobody can write to is kept.
        for array in (situation.x, situation.upstream):
            if array is not None and array.size <= _SUPPOSED_VALUES:
                array.flags.writeable = False
        earlier = None if request.earlier is None else _earlier(request, request.earlier)
        made[key] = replace(situation, graded=request.graded, empties=request.empties, earlier=earlier)
    if whole not in made:
        made[whole] = replace(
            made[key],
            configuration=configuration,
            dialect=request.dialect,
            variance=request.variance,
            wanted=request.wanted,
        )
    return made[whole]


def _earlier(request: Request, past: Past) -> Earlier:
    then = situate(request.configuration, request.dialect, past.inputs, past.state, 0)
    gradients = {name: value.reshape(-1).astype(then.x.dtype) for name, value in past.gradients.items()}
    return Earlier(x=then.x, state=then.state, gradients=gradients)


def _performed(
    operation: Operation,
    situation: Situation,
    trains: bool,
    request: Request,
    right: dict[str, Expected] | None,
) -> dict[str, Expected]:
    """Return what the pass would give in the situation that the request's hypothesis makes of its own.

    `right` is what it would give before its results are changed, where that is known.
    """
    hypothesis, quantities = request.hypothesis, right
    assert hypothesis is not None
    if quantities is None:
        worked = request.worked
        if situation.overflow is not None and situation.overflow.arithmetic is not None:
            worked = situation.overflow.arithmetic
        trains = {"": trains, "train": True, "infer": False}[hypothesis.performed]
        quantities = (operation.train if trains else operation.infer)(situation, worked)
    if hypothesis.change_results is not None:
        quantities = hypothesis.change_results(situation, quantities)
    return {name: quantity for name, quantity in quantities.items() if not hypothesis.only or name in hypothesis.only}


def too_narrow(configuration: Configuration) -> bool:
    """Return whether the case is in float64 on a platform that has no wider float type to judge it by."""
    return "float64" in (configuration.dtype, configuration.parameter_dtype) and wide() is np.float64


def _unchanged(value: Array) -> Expected:
    """Return the expectation that a value of the state keeps its very bits."""
    flat = value.reshape(-1).astype(np.longdouble)
    none = np.zeros(flat.shape)
    return Expected(
        value=flat,
        bound=none,
        magnitude=np.full(flat.shape, np.inf),
        in_domain=np.ones(flat.shape, dtype=bool),
    )


def _descended(value: Array, gradient: Array, rate: float, worked: Precision) -> Expected:
    """Return a parameter after a gradient step, p' = p - η·g, with the bound 2u|η·g|(1 + u) + u|p'|.

    Three roundings are allowed: of η, of the product and of the difference.
    """
    start, slope = value.reshape(-1).astype(np.longdouble), gradient.reshape(-1).astype(np.longdouble)
    step = np.longdouble(rate) * slope
    after, rest = start - step, None
    if value.dtype == np.float64 and wide() is np.float64:
        after, rest = _exactly_descended(start, slope, rate)
    bound = (2 * worked.unit * (1 + worked.unit) * np.abs(step) + worked.unit * np.abs(after) + worked.tiny).astype(
        np.float64
    )
    return Expected(
        value=after,
        bound=bound,
        magnitude=(np.abs(start) + np.abs(step) + worked.tiny * 2).astype(np.float64),
        in_domain=np.ones(after.shape, dtype=bool),
        rest=rest,
    )


def _exactly_descended(start: Array, slope: Array, rate: float) -> tuple[Array, Array]:
    """Return p - η·g exactly, as the nearest float64 and the rest; where p or g is not finite, as float64 computes it."""
    pairs = [
        split(Fraction(p) - Fraction(rate) * Fraction(g))
        if math.isfinite(p) and math.isfinite(g)
        else (p - rate * g, 0.0)
        for p, g in zip(start.astype(np.float64).tolist(), slope.astype(np.float64).tolist(), strict=True)
    ]
    near, rest = np.array(pairs).reshape(-1, 2).T
    return near, rest

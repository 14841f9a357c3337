"""What every quantity of a step should be, kept for the other implementations whose step starts from the same state."""

from __future__ import annotations

import functools
import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
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


class References:
    """Computes references, and keeps the latest of them for implementations that ask for the same again."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, dict[str, Expected]] = OrderedDict()
        self._elements = 0

    def expected(
        self, request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> dict[str, Expected]:
        """Return what every quantity of the step should be.

        The step starts from the state `before` it; a gradient step also takes the `gradients` of the last train step.
        """
        if request.hypothesis is not None:
            right = replace(request, hypothesis=None)
            remembered = self.expected(right, before, gradients) if changes_results_alone(request) else None
            return compute(request, before, gradients, remembered)
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


def compute(
    request: Request,
    before: Mapping[str, Array],
    gradients: Mapping[str, Array],
    right: Mapping[str, Expected] | None = None,
) -> dict[str, Expected]:
    """Return what every quantity of the step should be: those that its pass gives, and the state that it leaves alone.

    `right` is what the step should give without the request's hypothesis, where that was computed already.
    """
    state = {name: _unchanged(value) for name, value in before.items()} if right is None else _kept(right, before)
    effect = request.effect
    if effect.performs:
        situation = _situation(request, before)
        trains = effect.performs == "train"
        if right is not None:
            right = {name: quantity for name, quantity in right.items() if trains or name not in before}
        quantities = _performed(OPERATIONS[request.configuration.op], situation, trains, request, right)
        if request.hypothesis is None and too_narrow(request.configuration):
            quantities = exactly(quantities, situation, trains)
        # A hypothesis that gives no quantity does not apply to this step; it does not claim that the state stays.
        return {**state, **quantities} if quantities or request.hypothesis is None else {}
    results = {**state, **_moved_by_gradients(request, before, gradients)}
    return (
        results if request.hypothesis is None else _state_under(request.hypothesis, request, before, gradients, results)
    )


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
            return {**kept, **function(_situation(request, before))}
    if isinstance(request.inputs.step, Sgd):
        # A frozen layer should not move, and gets these terms too: they show what moved it if it did.
        learned = [name for name in gradients if name in before]
        return {**kept, **{name: {**kept[name], "gradient": gradients[name].reshape(-1)} for name in learned}}
    return kept


def _situation(request: Request, before: Mapping[str, Array]) -> Situation:
    return replace(
        situate(request.configuration, request.dialect, request.inputs, before, request.trained),
        variance=request.variance,
        graded=request.graded,
        empties=request.empties,
        earlier=None if request.earlier is None else _earlier(request, request.earlier),
    )


def _earlier(request: Request, past: Past) -> Earlier:
    then = situate(request.configuration, request.dialect, past.inputs, past.state, 0)
    gradients = {name: value.reshape(-1).astype(then.x.dtype) for name, value in past.gradients.items()}
    return Earlier(x=then.x, state=then.state, gradients=gradients)


def _performed(
    operation: Operation, situation: Situation, trains: bool, request: Request, right: Mapping[str, Expected] | None
) -> dict[str, Expected]:
    """Return what the pass should give, or would give if the request's hypothesis were true."""
    hypothesis = request.hypothesis
    if hypothesis is not None and hypothesis.change_state is not None:
        return {}
    if hypothesis is None:
        return (operation.train if trains else operation.infer)(situation, request.worked)
    if hypothesis.change_situation is not None:
        changed = hypothesis.change_situation(situation)
        if changed is None:
            return {}
        situation = changed
    worked = request.worked
    if situation.overflow is not None and situation.overflow.arithmetic is not None:
        worked = situation.overflow.arithmetic
    trains = {"": trains, "train": True, "infer": False}[hypothesis.performed]
    quantities = (
        dict(right) if right is not None else (operation.train if trains else operation.infer)(situation, worked)
    )
    if hypothesis.change_results is not None:
        quantities = hypothesis.change_results(situation, quantities)
    return {name: quantity for name, quantity in quantities.items() if not hypothesis.only or name in hypothesis.only}


def too_narrow(configuration: Configuration) -> bool:
    """Return whether the case is in float64 on a platform that has no wider float type to judge it by."""
    return "float64" in (configuration.dtype, configuration.parameter_dtype) and wide() is np.float64


def _kept(right: Mapping[str, Expected], before: Mapping[str, Array]) -> dict[str, Expected]:
    """Return the state as the step should leave it; the results of the pass then replace what the pass moves."""
    return {name: right[name] for name in before}


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

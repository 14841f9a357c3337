"""What every quantity of one step should be, computed anew: by its pass, by its gradient step, or as it was."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from conformance.dialect import Dialect, PassName, numeric
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moving import weights
from conformance.operations.situation import Earlier, Situation, VarianceAlgorithm
from conformance.precision import Precision, wide
from conformance.protocol import Configuration
from conformance.reference.inputs import SMALL, StepInputs, situate
from conformance.reference.rational import exactly, split
from conformance.reference.step_state import Effect, effect_of
from conformance.spec.case import Case, Sgd, kind_of

Array = np.ndarray[Any, np.dtype[Any]]


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
        return effect_of(kind_of(self.inputs.step), self.frozen, self.dialect)


def numbers(request: Request) -> tuple[bool, Dialect]:
    """Return all of the dialect that the step's numbers depend on: whether it trains, and the fields that matter then."""
    performs: PassName = "train" if request.effect.performs == "train" else "infer"
    return performs == "train", _numeric(request.configuration.op, request.dialect, performs)


@functools.lru_cache(maxsize=1024)
def _numeric(op: str, dialect: Dialect, performs: PassName) -> Dialect:
    return numeric(dialect, OPERATIONS[op].dialect, performs)


def compute(request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Expected]:
    """Return what every quantity of the step should be: those that its pass gives, and the state that it leaves alone."""
    state, effect = {name: staying(value) for name, value in before.items()}, request.effect
    if not effect.performs:
        return {**state, **moved_by_gradients(request, before, gradients)}
    operation, situation, trains = (
        OPERATIONS[request.configuration.op],
        situation_of(request, before, {}),
        effect.performs == "train",
    )
    quantities = (operation.train if trains else operation.infer)(situation, request.worked)
    if too_narrow(request.configuration):
        quantities = exactly(quantities, situation, trains)
    if not trains:
        return {**state, **quantities}
    quantities = {**quantities, **_divided_by_zero(situation, quantities)}
    return {**state, **quantities, **_weightless(situation, quantities)}


def _divided_by_zero(situation: Situation, quantities: Mapping[str, Expected]) -> dict[str, Expected]:
    """Return the results that a division by 0 leaves open: of equal values without epsilon, any rounding decides (5.1).

    It is 0/0 but where a mask leaves a value out that is none of the equal ones.
    """
    if situation.configuration.epsilon or not situation.x.size:
        return {}
    given = [situation.x, *situation.state.values(), *([] if situation.upstream is None else [situation.upstream])]
    if not all(np.isfinite(array).all() for array in given):
        return {}
    left_open = {name: ~np.isfinite(quantity.value) for name, quantity in quantities.items()}
    return {
        name: replace(
            quantity,
            value=np.where(left_open[name], 0, quantity.value),
            bound=np.where(left_open[name], np.inf, quantity.bound),
            in_domain=quantity.in_domain & ~left_open[name],
        )
        for name, quantity in quantities.items()
        if left_open[name].any()
    }


def _weightless(situation: Situation, quantities: Mapping[str, Expected]) -> dict[str, Expected]:
    """Return the moving values that a term of weight 0 leaves open, because it is not finite (7.4).

    The term is left out; whoever computes 0 times it has a number that is not finite, which is excused.
    """
    if situation.dialect.update == "none":
        return {}
    operation = OPERATIONS[situation.configuration.op]
    batch = np.isfinite(situation.x).all(axis=0)
    opened = {}
    for name in (name for name, quantity in operation.quantities.items() if quantity.role == "state"):
        if name not in quantities or name not in situation.state:
            continue
        with np.errstate(all="ignore"):  # a decay of 1 leaves nothing to divide by where the average is debiased
            decay = operation.quantities[name].decay(situation.configuration)
            weight = weights(situation.dialect, decay, situation.trained)
        if all(weight):
            continue
        finite = np.isfinite(situation.state[name]) if not weight[0] else batch
        if not finite.all():
            same = finite.shape == quantities[name].value.shape
            opened[name] = replace(
                quantities[name], in_domain=quantities[name].in_domain & (finite if same else np.False_)
            )
    return opened


def flat(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays along one axis each, in extended precision."""
    return {name: value.reshape(-1).astype(np.longdouble) for name, value in arrays.items()}


def moved_by_gradients(
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
            return {**kept, **function(situation_of(request, before, {}))}
    if isinstance(request.inputs.step, Sgd):
        # A frozen layer should not move, and gets these terms too: they show what moved it if it did.
        learned = [name for name in gradients if name in before]
        return {**kept, **{name: {**kept[name], "gradient": gradients[name].reshape(-1)} for name in learned}}
    return kept


def situation_of(request: Request, before: Mapping[str, Array], made: dict[Any, Situation]) -> Situation:
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
    known = made.get(whole)
    if known is not None:
        return known
    start = made.get(key)
    if start is None:
        situation = situate(configuration, request.dialect, request.inputs, before, request.trained)
        # What is computed of arrays that nobody can write to is kept.
        for array in (situation.x, situation.upstream):
            if array is not None and array.size <= SMALL:
                array.flags.writeable = False
        earlier = None if request.earlier is None else _earlier(request, request.earlier)
        # A hypothesis is asked for scores alone.
        graded = request.graded and request.hypothesis is None
        start = made[key] = replace(situation, graded=graded, empties=request.empties, earlier=earlier)
    known = made[whole] = replace(
        start,
        configuration=configuration,
        dialect=request.dialect,
        variance=request.variance,
        wanted=request.wanted,
    )
    return known


def _earlier(request: Request, past: Past) -> Earlier:
    then = situate(request.configuration, request.dialect, past.inputs, past.state, 0)
    gradients = {name: value.reshape(-1).astype(then.x.dtype) for name, value in past.gradients.items()}
    return Earlier(x=then.x, state=then.state, gradients=gradients)


def too_narrow(configuration: Configuration) -> bool:
    """Return whether the case is in float64 on a platform that has no wider float type to judge it by."""
    return "float64" in (configuration.dtype, configuration.parameter_dtype) and wide() is np.float64


def staying(value: Array) -> Expected:
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

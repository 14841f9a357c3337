"""What every quantity of a step must be, remembered for the implementations that start from the same state."""

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
from conformance.operations.operation import Earlier, Expected, Hypothesis, Operation, Situation, VarianceAlgorithm
from conformance.precision import Precision, dtype_name, wide
from conformance.protocol import Configuration
from conformance.reference.inputs import StepInputs, situate
from conformance.reference.rational import exactly, split
from conformance.reference.step_state import Effect, effect_of
from conformance.spec.case import Case, Sgd

Array = np.ndarray[Any, np.dtype[Any]]

#: Elements of all references kept, some 100 bytes each: 16 million are 1.6 GB at most.
_KEPT_ELEMENTS = 16_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """A train step that is over: what went in, the state before it, the gradients that came out."""

    inputs: StepInputs
    state: Mapping[str, Array]
    gradients: Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """Which step is asked for, under which dialect and arithmetic, and what came before it."""

    case: Case
    configuration: Configuration
    number: int
    inputs: StepInputs
    dialect: Dialect
    worked: Precision
    frozen: bool
    trained: int
    variance: VarianceAlgorithm = "welford"
    hypothesis: Hypothesis | None = None
    #: The train step before, where a hypothesis may ask for it.
    earlier: Past | None = None
    #: The features of which it is, first and last but one, where they are not all of the case's.
    features: tuple[int, int] | None = None

    @property
    def graded(self) -> bool:
        """Whether the case is one over which a grade is taken."""
        return self.case.family == OPERATIONS[self.configuration.op].ladder

    @property
    def effect(self) -> Effect:
        """What the step does under the dialect."""
        return effect_of(self.inputs.step.step, self.frozen, self.dialect)


class References:
    """The reference of each step asked for so far."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, dict[str, Expected]] = OrderedDict()
        self._elements = 0

    def expected(
        self, request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> dict[str, Expected]:
        """Return every quantity of the step, from the state `before` it and the gradients of the last train step."""
        if request.hypothesis is not None:
            right = replace(request, hypothesis=None)
            known = self.expected(right, before, gradients) if _changes_results_alone(request) else None
            return compute(request, before, gradients, known)
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
    """Return all that the numbers of a step depend on."""
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
    """Return all that the dialect says of the numbers: whether the step trains, and how."""
    performs: PassName = "train" if request.effect.performs == "train" else "infer"
    return performs == "train", _numeric(request.configuration.op, request.dialect, performs)


@functools.lru_cache(maxsize=1024)
def _numeric(op: str, dialect: Dialect, performs: PassName) -> Dialect:
    return numeric(dialect, OPERATIONS[op].dialect, performs)


def _size(expected: Mapping[str, Expected]) -> int:
    return sum(each.value.size for each in expected.values())


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
    """Return the changes of the formula that may explain a step of that configuration and dialect."""
    return tuple(OPERATIONS[configuration.op].hypotheses(configuration, dialect))


def _changes_results_alone(request: Request) -> bool:
    """Return whether the hypothesis only replaces results of the right pass, so that a remembered one will do."""
    hypothesis = request.hypothesis
    if hypothesis is None or hypothesis.changed is None or too_narrow(request.configuration):
        return False
    return hypothesis.given is None and not hypothesis.performed and hypothesis.variance == "welford"


def compute(
    request: Request,
    before: Mapping[str, Array],
    gradients: Mapping[str, Array],
    right: Mapping[str, Expected] | None = None,
) -> dict[str, Expected]:
    """Return the operation's own quantities, and beside them the state that the step must leave alone.

    `right` is what the step must give, where that is known to a hypothesis.
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
        # A hypothesis that says nothing of this step does not say that nothing changes.
        return {**state, **quantities} if quantities or request.hypothesis is None else {}
    return {**state, **_moved_by_gradients(request, before, gradients)}


def _moved_by_gradients(
    request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
) -> dict[str, Expected]:
    """Return what a gradient step moves."""
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
    """Return the terms that each quantity of the step adds up, by name."""
    operation = OPERATIONS[request.configuration.op]
    kept = {name: {"old": value.reshape(-1)} for name, value in before.items()}
    if request.effect.performs:
        function = operation.train_terms if request.effect.performs == "train" else operation.infer_terms
        with np.errstate(all="ignore"):
            return {**kept, **function(_situation(request, before))}
    if isinstance(request.inputs.step, Sgd):
        # Of a frozen layer too, which may have moved all the same.
        learned = [name for name in gradients if name in before]
        return {**kept, **{name: {**kept[name], "gradient": gradients[name].reshape(-1)} for name in learned}}
    return kept


def _situation(request: Request, before: Mapping[str, Array]) -> Situation:
    return replace(
        situate(request.configuration, request.dialect, request.inputs, before, request.trained),
        variance=request.variance,
        graded=request.graded,
        earlier=None if request.earlier is None else _earlier(request, request.earlier),
    )


def _earlier(request: Request, past: Past) -> Earlier:
    then = situate(request.configuration, request.dialect, past.inputs, past.state, 0)
    gradients = {name: value.reshape(-1).astype(then.x.dtype) for name, value in past.gradients.items()}
    return Earlier(x=then.x, state=then.state, gradients=gradients)


def _performed(
    operation: Operation, situation: Situation, trains: bool, request: Request, right: Mapping[str, Expected] | None
) -> dict[str, Expected]:
    """Return what the pass gives, or gives under the hypothesis."""
    hypothesis = request.hypothesis
    if hypothesis is None:
        return (operation.train if trains else operation.infer)(situation, request.worked)
    if hypothesis.given is not None:
        situation = hypothesis.given(situation)
    trains = {"": trains, "train": True, "infer": False}[hypothesis.performed]
    quantities = (
        dict(right)
        if right is not None
        else (operation.train if trains else operation.infer)(situation, request.worked)
    )
    if hypothesis.changed is not None:
        quantities = hypothesis.changed(situation, quantities)
    return {name: quantity for name, quantity in quantities.items() if not hypothesis.only or name in hypothesis.only}


def too_narrow(configuration: Configuration) -> bool:
    """Return whether float64 is judged, and no float type of the platform is wide enough."""
    return "float64" in (configuration.dtype, configuration.parameter_dtype) and wide() is np.float64


def _kept(right: Mapping[str, Expected], before: Mapping[str, Array]) -> dict[str, Expected]:
    """Return the state that the step must leave alone, as what is right has it; the pass replaces what moves."""
    return {name: right[name] for name in before}


def _unchanged(value: Array) -> Expected:
    flat = value.reshape(-1).astype(np.longdouble)
    none = np.zeros(flat.shape)
    return Expected(
        value=flat,
        bound=none,
        magnitude=np.full(flat.shape, np.inf),
        in_domain=np.ones(flat.shape, dtype=bool),
    )


def _descended(value: Array, gradient: Array, rate: float, worked: Precision) -> Expected:
    """Return p - η·g within 2u|η·g|(1 + u) + u|p'|: η rounded, the product rounded, the difference rounded."""
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
    """Return p - η·g in two float64; where something is not finite, as float64 has it."""
    pairs = [
        split(Fraction(p) - Fraction(rate) * Fraction(g))
        if math.isfinite(p) and math.isfinite(g)
        else (p - rate * g, 0.0)
        for p, g in zip(start.astype(np.float64).tolist(), slope.astype(np.float64).tolist(), strict=True)
    ]
    near, rest = np.array(pairs).reshape(-1, 2).T
    return near, rest

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

from conformance.dialect import Dialect
from conformance.operations import OPERATIONS
from conformance.operations.operation import Earlier, Expected, Hypothesis, Operation, Situation, VarianceAlgorithm
from conformance.precision import Precision, dtype_name, wide
from conformance.protocol import Configuration
from conformance.reference.inputs import StepInputs, situate
from conformance.reference.rational import exactly, split
from conformance.spec.case import Case, Infer, Sgd, Train

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
            found = self.expected(right, before, gradients) if _starts_from_what_is_right(request) else None
            return compute(request, before, gradients, found)
        key = _key(request, before, gradients)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        found = compute(request, before, gradients)
        self._known[key] = found
        self._elements += _size(found)
        while self._elements > _KEPT_ELEMENTS and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._elements -= _size(oldest)
        return found


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
    training = _trains(request)
    return training, _numeric(request.configuration.op, request.dialect, training)


@functools.lru_cache(maxsize=1024)
def _numeric(op: str, dialect: Dialect, trains: bool) -> Dialect:
    """Return the dialect with the choices in place of which any other gives the same numbers.

    Who keeps the state and in which dtype, and what is refused, move no number. Inference follows the dialect only in
    what replicas start it from and make of their gradients, and in the correction of a batch that normalizes there too.
    """
    canonical = OPERATIONS[op].dialect
    if not trains:
        kept = ("replica_moving", "replica_gradients", "normalizing_correction")
        return replace(canonical, **{field: getattr(dialect, field) for field in kept})
    return replace(
        dialect,
        empty_batch=canonical.empty_batch,
        frozen_implies_inference=canonical.frozen_implies_inference,
        statistics_dtype=canonical.statistics_dtype,
        state=canonical.state,
    )


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


def _starts_from_what_is_right(request: Request) -> bool:
    """Return whether the hypothesis changes nothing but what comes out, which is then known."""
    hypothesis = request.hypothesis
    if hypothesis is None or hypothesis.changed is None or _too_narrow(request.configuration):
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
    operation = OPERATIONS[request.configuration.op]
    state = {name: _unchanged(value) for name, value in before.items()} if right is None else _kept(right, before)
    match request.inputs.step:
        case Train() | Infer():
            situation = _situation(request, before)
            trains = _trains(request)
            if right is not None:
                right = {name: each for name, each in right.items() if trains or name not in before}
            found = _performed(operation, situation, trains, request, right)
            if request.hypothesis is None and _too_narrow(request.configuration):
                found = exactly(found, situation, trains)
            # A hypothesis that says nothing of this step does not say that nothing changes.
            return {**state, **found} if found or request.hypothesis is None else {}
        case Sgd(learning_rate=rate) if not request.frozen:
            moved = {
                name: _descended(before[name], gradients[name], rate, request.worked)
                for name in gradients
                if name in before
            }
            return {**state, **moved}
        case _:
            return state


def terms(
    request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]
) -> Mapping[str, Mapping[str, Array]]:
    """Return the terms that each quantity of the step adds up, by name."""
    operation = OPERATIONS[request.configuration.op]
    kept = {name: {"old": value.reshape(-1)} for name, value in before.items()}
    match request.inputs.step:
        case Train() | Infer():
            function = operation.train_terms if _trains(request) else operation.infer_terms
            with np.errstate(all="ignore"):
                return {**kept, **function(_situation(request, before))}
        case Sgd():
            learned = [name for name in gradients if name in before]
            return {**kept, **{name: {**kept[name], "gradient": gradients[name].reshape(-1)} for name in learned}}
        case _:
            return kept


def _trains(request: Request) -> bool:
    implied = request.frozen and request.dialect.frozen_implies_inference
    return isinstance(request.inputs.step, Train) and not implied


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
    found = (
        dict(right)
        if right is not None
        else (operation.train if trains else operation.infer)(situation, request.worked)
    )
    if hypothesis.changed is not None:
        found = hypothesis.changed(situation, found)
    return {name: each for name, each in found.items() if not hypothesis.only or name in hypothesis.only}


def _too_narrow(configuration: Configuration) -> bool:
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

"""What every quantity of a step must be, remembered for the implementations that start from the same state."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.case import Case, Infer, Sgd, Train
from conformance.dialect import Dialect
from conformance.inputs import StepInputs, situate
from conformance.operation import Expected, Hypothesis, Operation, Situation, VarianceAlgorithm
from conformance.operations import OPERATIONS
from conformance.precision import Precision, extended
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]

#: Elements of all references kept, some 100 bytes each: 16 million are 1.6 GB at most.
_KEPT_ELEMENTS = 16_000_000


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
            return _compute(request, before, gradients)
        key = (
            request.case.id,
            request.number,
            request.configuration,
            request.dialect,
            request.worked.name,
            request.frozen,
            request.trained,
            request.variance,
            _digest(before, gradients),
        )
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        found = _compute(request, before, gradients)
        self._known[key] = found
        self._elements += _size(found)
        while self._elements > _KEPT_ELEMENTS and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._elements -= _size(oldest)
        return found


def _size(expected: Mapping[str, Expected]) -> int:
    return sum(each.value.size for each in expected.values())


def _digest(*parts: Mapping[str, Array]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        for name in sorted(part):
            digest.update(name.encode())
            digest.update(part[name].dtype.name.encode())
            digest.update(part[name].tobytes())
    return digest.digest()


def _compute(request: Request, before: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Expected]:
    """Return the operation's own quantities, and beside them the state that the step must leave alone."""
    operation = OPERATIONS[request.configuration.op]
    state = {name: _unchanged(value) for name, value in before.items()}
    match request.inputs.step:
        case Train() | Infer():
            situation = replace(
                situate(request.configuration, request.dialect, request.inputs, before, request.trained),
                variance=request.variance,
                graded=request.graded,
            )
            trains = isinstance(request.inputs.step, Train)
            trains = trains and not (request.frozen and request.dialect.frozen_implies_inference)
            found = _performed(operation, situation, trains, request)
            if situation.x.dtype == np.longdouble and not extended().sufficient:
                found = {name: _undecided(each) for name, each in found.items()}
            return {**state, **found}
        case Sgd(learning_rate=rate) if not request.frozen:
            moved = {
                name: _descended(before[name], gradients[name], rate, request.worked)
                for name in gradients
                if name in before
            }
            return {**state, **moved}
        case _:
            return state


def _performed(operation: Operation, situation: Situation, trains: bool, request: Request) -> dict[str, Expected]:
    """Return what the pass gives, or gives under the hypothesis."""
    hypothesis = request.hypothesis
    if hypothesis is None:
        return (operation.train if trains else operation.infer)(situation, request.worked)
    if hypothesis.given is not None:
        situation = hypothesis.given(situation)
    trains = {"": trains, "train": True, "infer": False}[hypothesis.performed]
    found = (operation.train if trains else operation.infer)(situation, request.worked)
    if hypothesis.changed is not None:
        found = hypothesis.changed(situation, found)
    return {name: each for name, each in found.items() if not hypothesis.only or name in hypothesis.only}


def _undecided(expected: Expected) -> Expected:
    """Return the expectation with a bound that says nothing, where the platform has no wider float to judge by."""
    return replace(expected, bound=np.full(expected.bound.shape, np.inf))


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
    after = start - step
    bound = (2 * worked.unit * (1 + worked.unit) * np.abs(step) + worked.unit * np.abs(after) + worked.tiny).astype(
        np.float64
    )
    return Expected(
        value=after,
        bound=bound,
        magnitude=(np.abs(start) + np.abs(step) + worked.tiny * 2).astype(np.float64),
        in_domain=np.ones(after.shape, dtype=bool),
    )

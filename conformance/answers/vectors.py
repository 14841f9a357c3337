"""A case as test vectors: each step by itself, with what it must give, the bounds, and what other dialects give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from msgspec import UNSET, UnsetType

from conformance.answers.vector_structs import (
    FORMAT,
    DialectNumbers,
    ExpectedNumbers,
    Vector,
    VectorArray,
    VectorStep,
)
from conformance.dialect import FIELDS, Dialect, values_of
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.layout import shape_of, unflatten
from conformance.operations.score import may_be_infinite
from conformance.precision import dtype_name, storage_rounding, working
from conformance.protocol import Configuration
from conformance.reference.computed import Request, compute, numbers
from conformance.reference.inputs import Beginning, StepInputs, beginnings_of, inputs_of
from conformance.runfile.lines import case_line
from conformance.spec.case import Case, Sgd, handed, unfit
from conformance.spec.loader import Located

Array = np.ndarray[Any, np.dtype[Any]]

#: The elements of the inputs of a case above which its arrays go into a file of their own, and of the other dialects
#: only what has a value for each feature is written: whole outputs in each would be most of all that there is.
SMALL = 2048


@dataclass(slots=True, kw_only=True)
class _Store:
    """Where the arrays of a vector go: into its text, or by name into a file of arrays."""

    apart: bool
    tensors: dict[str, Array] = field(default_factory=dict)

    def put(self, name: str, array: Array) -> VectorArray:
        """Return how the vector holds an array."""
        dtype: Any = dtype_name(array.dtype)
        if self.apart:
            self.tensors[name] = array
            return VectorArray(dtype=dtype, shape=array.shape, tensor=name)
        return VectorArray(dtype=dtype, shape=array.shape, values=texts(array))


def texts(array: Array) -> tuple[str | float | bool, ...]:
    """Return the values in row-major order: truth values, or texts that lose nothing."""
    if array.dtype == np.bool_:
        return tuple(array.reshape(-1).tolist())
    return tuple(value.hex() for value in array.astype(np.float64).reshape(-1).tolist())


def vector_of(located: Located) -> tuple[Vector, dict[str, Array]]:
    """Return a case as vectors, and the arrays that go into a file of their own, by name."""
    case = located.case
    inputs, beginnings = inputs_of(case), beginnings_of(case)
    store = _Store(apart=sum(step.input.size for step in inputs.steps if step.input is not None) > SMALL)
    steps = tuple(
        _step(case, number, step, beginning, store)
        for number, (step, beginning) in enumerate(zip(inputs.steps, beginnings, strict=True), 1)
    )
    vector = Vector(
        format=FORMAT,
        id=case.id,
        case=case_line(located),
        steps=steps,
        tensors=f"{file_of(case.id)}.safetensors".rpartition("/")[2] if store.apart else UNSET,
    )
    return vector, store.tensors


def file_of(case: str) -> str:
    """Return the path of a case's files within the folder of vectors, without their ending."""
    family, _, rest = case.partition(".")
    return f"cases/{family}/{rest.replace('/', '__')}"


def _step(case: Case, number: int, inputs: StepInputs, beginning: Beginning, store: _Store) -> VectorStep:
    request = _request(case, number, inputs, beginning)
    arrays = {"input": inputs.input, "upstream": inputs.upstream, **inputs.arrays}
    right = compute(request, beginning.state, beginning.steps.gradients)
    place = f"{number}"
    rate, gradients = _descent(inputs, beginning, store, place)
    return VectorStep(
        number=number,
        kind=inputs.step.step,
        arrays={name: store.put(f"{place}/{name}", value) for name, value in arrays.items() if value is not None},
        before={name: store.put(f"{place}/before/{name}", value) for name, value in beginning.state.items()},
        frozen=beginning.steps.frozen,
        trained=beginning.steps.trained,
        expected=_numbers(request, right, store, f"{place}/expected"),
        dialects=tuple(_dialects(request, beginning, right, store, place)),
        learning_rate=rate,
        gradients=gradients,
        refused=unfit(inputs.step) or UNSET,
        handed=_handed(inputs, beginning, store, place) or UNSET,
    )


def _handed(inputs: StepInputs, beginning: Beginning, store: _Store, place: str) -> dict[str, VectorArray]:
    """Return what the call is handed in a wrong size: the values of the state, repeated or cut off."""
    return {
        name: store.put(f"{place}/handed/{name}", np.resize(beginning.state[name], shape))
        for name, shape in handed(inputs.step).items()
    }


def _descent(
    inputs: StepInputs, beginning: Beginning, store: _Store, place: str
) -> tuple[float | UnsetType, dict[str, VectorArray] | UnsetType]:
    """Return the rate and the gradients of a gradient step; neither of another."""
    if not isinstance(inputs.step, Sgd):
        return UNSET, UNSET
    left = beginning.steps.gradients
    return inputs.step.learning_rate, {name: store.put(f"{place}/gradients/{name}", left[name]) for name in left}


def _request(case: Case, number: int, inputs: StepInputs, beginning: Beginning) -> Request:
    return Request(
        case=case,
        configuration=case.configuration,
        number=number,
        inputs=inputs,
        dialect=OPERATIONS[case.op].dialect,
        worked=working(case.dtype),
        frozen=beginning.steps.frozen,
        trained=beginning.steps.trained,
        empties=beginning.steps.empties,
    )


def _dialects(
    request: Request, beginning: Beginning, right: Mapping[str, Expected], store: _Store, place: str
) -> Iterator[DialectNumbers]:
    """Yield each other value of each field of the dialect under which some quantity of the step is another."""
    for name in FIELDS:
        for value in values_of(name):
            dialect: Dialect = replace(request.dialect, **{name: value})  # type: ignore[arg-type]
            asked = replace(request, dialect=dialect)
            if numbers(asked) == numbers(request):
                continue
            other = compute(asked, beginning.state, beginning.steps.gradients)
            quantities = OPERATIONS[request.configuration.op].quantities
            differing = {
                key: entry
                for key, entry in other.items()
                if not _same(entry, right.get(key)) and not (store.apart and quantities[key].shape == "input")
            }
            if differing:
                where = f"{place}/{name}={value}"
                yield DialectNumbers(
                    field=name,
                    value=value,  # type: ignore[arg-type]
                    expected=_numbers(asked, differing, store, where),
                )


def _same(one: Expected, other: Expected | None) -> bool:
    return other is not None and np.array_equal(one.value, other.value, equal_nan=True)


def _numbers(
    request: Request, expected: Mapping[str, Expected], store: _Store, place: str
) -> dict[str, ExpectedNumbers]:
    return {name: _quantity(request, name, entry, store, f"{place}/{name}") for name, entry in expected.items()}


def _quantity(request: Request, name: str, entry: Expected, store: _Store, place: str) -> ExpectedNumbers:
    """Return an expectation in the quantity's own layout.

    A bound that says nothing is infinite; an element that could overflow may be not finite.
    """
    configuration, quantity = request.configuration, OPERATIONS[request.configuration.op].quantities[name]
    stored = configuration.dtype if quantity.shape == "input" else _stored(configuration, quantity.role)
    with np.errstate(all="ignore"):
        bound = storage_rounding(entry.bound, entry.value, stored, request.worked).astype(np.float64)
        loud = ~np.broadcast_to(entry.in_domain, entry.value.shape) | may_be_infinite(
            replace(entry, bound=bound), stored
        )
        bound = np.where(bound < entry.magnitude, bound, np.inf)
        near = entry.value.astype(np.float64)
        rest = np.where(np.isfinite(near), (entry.value - near).astype(np.float64), 0.0)
        rest = rest if entry.rest is None else rest + entry.rest
    shape = (
        request.inputs.input.shape
        if quantity.shape == "input" and request.inputs.input is not None
        else shape_of(quantity.shape, configuration, configuration.shape)
    )

    def laid(array: Array) -> Array:
        return unflatten(array, configuration, shape) if quantity.shape == "input" else array.reshape(shape)

    judged_by_little = "float64" in (configuration.dtype, configuration.parameter_dtype)
    return ExpectedNumbers(
        value=store.put(place, laid(near)),
        bound=store.put(f"{place}/bound", laid(bound)),
        rest=store.put(f"{place}/rest", laid(rest)) if judged_by_little and rest.any() else UNSET,
        may_overflow=store.put(f"{place}/may_overflow", laid(loud)) if loud.any() else UNSET,
    )


def _stored(configuration: Configuration, role: str) -> str:
    return configuration.dtype if role == "statistic" else configuration.parameter_dtype

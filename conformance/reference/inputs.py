"""The arrays of a case: its initial state, and each step's input and upstream gradient.

They are made once per case, and every implementation gets the same bits. What depends on the numbers of earlier steps
(the state that a caller keeps, the gradient of a loss) is computed from the canonical reference's numbers.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.layout import features_last, flatten, shape_of, unflatten
from conformance.operations.operation import Operation
from conformance.operations.situation import Situation
from conformance.precision import rounded, wide, working
from conformance.protocol import Configuration
from conformance.reference.step_state import Effect, StepState
from conformance.spec.case import Case, Infer, Sgd, Step, Train, kind_of
from conformance.spec.recipe import Recipe, realize

Array = np.ndarray[Any, np.dtype[Any]]

#: Of how many cases the arrays are kept, by the most values that their steps have together. Each implementation goes through
#: the cases one after another, so those of all small ones are: the spec has some 900. Of the largest, as many as are in use.
_KEPT_CASES = ((2**14, 4096), (2**20, 64), (math.inf, 4))


#: The most values of a step of which is kept what hypotheses, some 130 of them, have in common.
SMALL = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class StepInputs:
    """One step with its arrays, read-only."""

    step: Step
    input: Array | None = None
    upstream: Array | None = None
    #: The operation's further arrays, such as a mask, by name.
    arrays: Mapping[str, Array] = field(default_factory=dict)

    @functools.cached_property
    def checksum(self) -> str:
        """Identifies the bits of all the arrays."""
        digest = hashlib.sha256()
        for array in (self.input, self.upstream, *self.arrays.values()):
            if array is not None:
                digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """All arrays of a case."""

    initial: Mapping[str, Array]
    steps: tuple[StepInputs, ...]


def inputs_of(case: Case) -> Inputs:
    """Return the arrays of `case`. Raises `RecipeError`."""
    values = math.prod(case.shape) * len(case.performed)
    remembered = next(remembered for most, remembered in _REMEMBERED if values <= most)
    return remembered(_ByIdentity(case))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beginning:
    """What a step starts from if every step before it gave exactly the canonical reference's numbers, rounded as stored."""

    state: Mapping[str, Array]
    steps: StepState


def beginnings_of(case: Case, dialect: Dialect | None = None) -> tuple[Beginning, ...]:
    """Return, for each step of the case, what it starts from if the reference is followed up to there.

    It is followed in the operation's own dialect unless another is given; the inputs are the same in all.
    """
    return _beginnings(_ByIdentity(case), dialect or OPERATIONS[case.op].dialect)


def states_of(case: Case) -> tuple[Mapping[str, Array], ...]:
    """Return the canonical reference's state before each step, rounded as parameters are stored."""
    return tuple(beginning.state for beginning in beginnings_of(case))


def situate(
    configuration: Configuration,
    dialect: Dialect,
    inputs: StepInputs,
    state: Mapping[str, Array],
    trained: int,
) -> Situation:
    """Return everything that the numbers of a step depend on, flattened and in a float type wide enough to judge by.

    float64 errs by less than 1e-9 of a float32 bound, extended precision by less than 1e-4 of a float64 bound.
    """
    assert inputs.input is not None
    needed = wide() if "float64" in (configuration.dtype, configuration.parameter_dtype) else np.float64
    upstream = None if inputs.upstream is None else _flat(inputs.upstream, configuration, needed)
    return Situation(
        configuration=configuration,
        dialect=dialect,
        x=_flat(inputs.input, configuration, needed),
        upstream=upstream,
        state={name: np.asarray(value).reshape(-1).astype(needed) for name, value in state.items()},
        trained=trained,
        shape=inputs.input.shape,
        arrays={name: _flattened(array, configuration, needed) for name, array in inputs.arrays.items()},
    )


def _flat(array: Array, configuration: Configuration, needed: Any) -> Array:
    """Return an array as (m, C), a small one of a case the same object every time, so that what is computed of it is kept."""
    if array.size > SMALL or array.flags.writeable:
        return flatten(array, configuration).astype(needed)
    return _flat_of_case(_ByIdentity(array), configuration.feature_axes, configuration.feature_count, needed)


@functools.lru_cache(maxsize=4096)
def _flat_of_case(array: _ByIdentity, feature_axes: tuple[int, ...], feature_count: int, needed: Any) -> Array:
    flat = features_last(array.value, feature_axes, feature_count).astype(needed)
    flat.flags.writeable = False
    return flat


def _flattened(array: Array, configuration: Configuration, needed: Any) -> Array:
    """Return an array of the input's shape as (m, C), a mask as (m,)."""
    if array.dtype == np.bool_:
        return array.reshape(-1)
    return flatten(array, configuration).astype(needed)


class _ByIdentity:
    """A case or an array as the key of a cache, compared by identity: neither has a hash."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.value is self.value


def _inputs(key: _ByIdentity) -> Inputs:
    case = key.value
    initial = initial_state(case, OPERATIONS[case.op])
    if any(_follows(step) for step in case.performed):
        dialect = OPERATIONS[case.op].dialect
        return Inputs(initial=initial, steps=tuple(inputs for inputs, _ in _Chain(case, initial, dialect).walk()))
    return Inputs(initial=initial, steps=tuple(_arrays(case, step, None) for step in case.performed))


_REMEMBERED = tuple((most, functools.lru_cache(count)(_inputs)) for most, count in _KEPT_CASES)


@functools.lru_cache(maxsize=512)
def _beginnings(key: _ByIdentity, dialect: Dialect) -> tuple[Beginning, ...]:
    inputs = inputs_of(key.value)
    return tuple(beginning for _, beginning in _Chain(key.value, inputs.initial, dialect, inputs.steps).walk())


def forget() -> None:
    """Drop the arrays that are kept, where the arithmetic that they were made with is no longer in force."""
    _beginnings.cache_clear()
    for _, remembered in _REMEMBERED:
        remembered.cache_clear()


def _follows(step: Step) -> bool:
    """Return whether the step's arrays depend on the numbers of the steps before it."""
    return isinstance(step, Train | Infer) and getattr(step.upstream, "kind", "") == "mean_squared_error"


def _arrays(case: Case, step: Step, output: Array | None) -> StepInputs:
    """Return the step with its arrays.

    `output` is the reference's output of the step, needed where the upstream gradient is that of a loss.
    """
    if not isinstance(step, Train | Infer):
        return StepInputs(step=step)
    configuration, shape = case.configuration, case.step_shape(step)
    make = functools.partial(realize, shape=shape, feature_axes=case.step_axes(step), dtype=configuration.dtype)
    upstream = None if step.upstream is None else make(step.upstream, output=output)
    further = {name: _further(case, recipe, name, shape) for name, recipe in step.arrays.items()}
    given = make(step.input)
    if configuration.input_dtype is not None:
        given = given.astype(configuration.input_dtype)
    inputs = StepInputs(step=step, input=given, upstream=upstream, arrays=further)
    for array in (inputs.input, inputs.upstream, *further.values()):
        if array is not None:
            array.flags.writeable = False
    return inputs


def _further(case: Case, recipe: Recipe, name: str, shape: tuple[int, ...]) -> Array:
    """Return one of the operation's further arrays, in the shape that the operation declares for it."""
    configuration = case.configuration
    match OPERATIONS[case.op].arrays[name]:
        case "input" | "weights":
            return realize(recipe, shape, configuration.feature_axes, configuration.dtype)
        case "mask":
            reduced = tuple(shape[axis] for axis in configuration.reduction_axes)
            return np.asarray(realize(recipe, reduced, (), "float32") != 0)


def initial_state(case: Case, operation: Operation) -> dict[str, Array]:
    """Return the state before the first step, each array in its own shape."""
    configuration = case.configuration
    state = {}
    for name in operation.state(configuration):
        shared = operation.begins_as.get(name, name)
        shape = shape_of(operation.quantities[name].shape, configuration, case.shape)
        recipe = case.initial.get(name, case.initial.get(shared))
        if recipe is None:
            values = rounded(np.full(shape, operation.initial[shared]), configuration.parameter_dtype)
        else:
            values = realize(recipe, shape, tuple(range(len(shape))), configuration.parameter_dtype)
        values.flags.writeable = False
        state[name] = values
    return state


class _Chain:
    """Walks the reference in a dialect through the steps of a case, whose arrays it makes where they are not `given`."""

    def __init__(
        self, case: Case, initial: Mapping[str, Array], dialect: Dialect, given: Sequence[StepInputs] = ()
    ) -> None:
        self.case, self.configuration, self.operation = case, case.configuration, OPERATIONS[case.op]
        self.dialect, self.given = dialect, given
        self.shapes = {name: value.shape for name, value in initial.items()}
        self.state = {name: value.reshape(-1).astype(np.longdouble) for name, value in initial.items()}
        self.steps = StepState()

    def walk(self) -> Iterator[tuple[StepInputs, Beginning]]:
        """Yield each step's arrays and what the step starts from."""
        dialect = self.dialect
        for number, step in enumerate(self.case.performed):
            beginning = Beginning(
                state=self._stored(self.state),
                steps=replace(self.steps, gradients=self._stored(self.steps.gradients)),
            )
            effect = self.steps.effect(kind_of(step), dialect)
            inputs = self.given[number] if self.given else self._made(step, effect)
            expected = self._expected(inputs, effect) if effect.moves_averages else {}
            if effect.moves_averages:
                self.state |= {name: expected[name].value for name in self.state.keys() & expected.keys()}
            if effect.moves_learned and isinstance(step, Sgd):
                rate = np.longdouble(step.learning_rate)
                for name, gradient in self.steps.gradients.items():
                    self.state[name] = self.state[name] - rate * gradient
            by_learned = self.operation.learned_gradients(self.configuration)
            gradients = {
                name: expected[gradient].value for name, gradient in by_learned.items() if gradient in expected
            }
            size = 0 if inputs.input is None else inputs.input.size
            self.steps = self.steps.after(kind_of(step), dialect, size, gradients)
            yield inputs, beginning

    def _made(self, step: Step, effect: Effect) -> StepInputs:
        """Return the step with its arrays."""
        output = None
        if _follows(step):
            forward = _arrays(self.case, step.model_copy(update={"upstream": None}), None)
            value = self._expected(forward, effect)["output"].value
            output = unflatten(value, self.configuration, self.case.step_shape(step))
        return _arrays(self.case, step, output)

    def _expected(self, inputs: StepInputs, effect: Effect) -> Mapping[str, Expected]:
        function = self.operation.train if effect.performs == "train" else self.operation.infer
        situation = situate(self.configuration, self.dialect, inputs, self.state, self.steps.trained)
        return function(situation, working(self.configuration.dtype))

    def _stored(self, values: Mapping[str, Array]) -> dict[str, Array]:
        dtype = self.configuration.parameter_dtype
        stored = {name: rounded(value, dtype).reshape(self.shapes[name]) for name, value in values.items()}
        for value in stored.values():
            value.flags.writeable = False
        return stored

"""Numbers that somebody else computed, as a cell that can be judged: of one pass of their own, or of a case of the spec."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from conformance.dialect import allows, values_of
from conformance.errors import UsageError
from conformance.judging.judge import judge as judge_cell
from conformance.judging.judgement import Judgement
from conformance.operations import OPERATIONS
from conformance.operations.layout import shape_of
from conformance.operations.operation import Operation
from conformance.outcome import Outcome, Produced, Refused
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell, Offered
from conformance.precision import dtype_name, rounded
from conformance.protocol import Configuration, Declared
from conformance.reference.expected import References
from conformance.reference.inputs import Inputs, StepInputs, initial_state, inputs_of
from conformance.spec.case import Case, unfit

Array = np.ndarray[Any, np.dtype[Any]]
PassKind: TypeAlias = Literal["train", "infer"]
DTYPES = ("float64", "float32", "float16", "bfloat16")
#: How the row is called that numbers of one's own make.
NAME = "yours"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnNumbers:
    """Numbers that wait to be judged: the cell they are of, the arrays it was performed on, and what came of each step."""

    cell: Cell
    inputs: Inputs
    outcomes: tuple[Outcome, ...]

    def judge(self) -> Judgement:
        """Return what the numbers mean. Raises `UsageError` where some are of nothing that their step gives."""
        judgement = judge_cell(self.cell, self.outcomes, References(), self.inputs)
        for step, outcome in zip(judgement.steps[1:], self.outcomes[1:], strict=True):
            given = {**outcome.quantities, **outcome.state} if isinstance(outcome, Produced) else {}
            unjudged = sorted(given.keys() - {judged.quantity for judged in step.quantities})
            if unjudged:
                raise UsageError(f"step {step.number} ({step.kind}) gives no {', '.join(unjudged)} on these inputs")
        return judgement


def of_case(
    case: Case, outputs: Sequence[Mapping[str, ArrayLike]], dialect: Mapping[str, str | int | bool] | None = None
) -> OwnNumbers:
    """Return what was computed of each step of a case. Raises `UsageError`, also where nothing was.

    What no step gives is not judged. Of a step that must be refused an empty mapping says that it was. Where no step gives moving values, each starts from the reference's own state.
    """
    if len(outputs) != len(case.performed):
        raise UsageError(f"{case.id} has {len(case.performed)} steps, repetitions written out; got {len(outputs)}")
    operation, configuration = OPERATIONS[case.op], case.configuration
    given = [_named(output, operation, configuration, step + 1) for step, output in enumerate(outputs)]
    names = {name for output in given for name in output}
    if not names:
        raise UsageError(f"{case.id}: nothing to judge: no step gives any quantity")
    keeps = any(operation.quantities[name].role == "state" for name in names)
    gradients = operation.learned_gradients(configuration)
    moves = any(step.step == "sgd" for step in case.performed) and (keeps or names & gradients.keys())
    if moves and not {*gradients, *gradients.values()} <= names:
        needed = ", ".join([*gradients, *gradients.values()])
        raise UsageError(f"{case.id} moves what is learned by its gradients: give {needed} wherever there are some")
    profile = [*declarations(dialect or {}), *([] if keeps else [_declared("state", "caller")])]
    implementation = offered(case.op, profile, lacks=operation.quantities.keys() - names)
    return _waiting(case, implementation, inputs_of(case), given)


def of_pass(
    configuration: Configuration,
    inputs: Mapping[str, ArrayLike],
    outputs: Mapping[str, ArrayLike],
    step: PassKind,
    dialect: Mapping[str, str | int | bool] | None = None,
) -> OwnNumbers:
    """Return what was computed of one pass over arrays of one's own. Raises `UsageError`.

    `inputs` has `input`, and as far as there are: `upstream`, further arrays such as `mask`, and the state before the
    pass. What of `outputs` is not given is not judged.
    """
    operation = _operation(configuration)
    state_names = operation.state(configuration)
    for name in inputs:
        _expect(name, ["input", "upstream", *operation.arrays, *state_names], "an input")
    for name in ("input", *sorted(operation.needs)):
        if name not in inputs:
            raise UsageError(f"inputs: {configuration.op} needs `{name}`")
    given = _named(outputs, operation, configuration, 1)
    if not given:
        raise UsageError("nothing to judge: expected outputs, such as `output`")
    further = [name for name in operation.arrays if name in inputs]
    case = _carrier(configuration, step, [*further, *(["upstream"] if "upstream" in inputs else [])])
    shaped = {
        name: _shaped(name, inputs[name], configuration.shape, configuration.dtype)
        for name in ("input", "upstream")
        if name in inputs
    }
    made = StepInputs(
        step=case.performed[0],
        input=shaped["input"],
        upstream=shaped.get("upstream"),
        arrays={name: _further(name, inputs[name], operation, configuration) for name in further},
    )
    before = initial_state(case, operation)
    for name in (name for name in state_names if name in inputs):
        shape = shape_of(operation.quantities[name].shape, configuration, configuration.shape)
        array = _array(inputs[name], configuration.parameter_dtype)
        # One value per feature, however the library lays them out.
        flat = array.reshape(shape) if array.size == math.prod(shape) else array
        before[name] = _shaped(name, flat, shape, configuration.parameter_dtype)
    lacks = operation.quantities.keys() - given.keys()
    implementation = offered(configuration.op, declarations(dialect or {}), lacks=lacks)
    return _waiting(case, implementation, Inputs(initial=before, steps=(made,)), [given])


def configuration_of(
    x: Array,
    *,
    feature_axes: int | Iterable[int],
    epsilon: float,
    decay: float = 0.9,
    parameter_dtype: str | None = None,
    scale: bool = True,
    center: bool = True,
    op: str = "batch_norm",
) -> Configuration:
    """Return the configuration under which a layer with these arguments normalizes `x`. Raises `UsageError`.

    `feature_axes` are the axes that are kept; `decay` is the weight of the old moving value.
    """
    axes = (feature_axes,) if isinstance(feature_axes, int) else tuple(feature_axes)
    for axis in axes:
        if not -x.ndim <= axis < x.ndim:
            raise UsageError(f"feature_axes: an input of shape {x.shape} has no axis {axis}")
    dtype = dtype_name(x.dtype)
    for name, value in (("input", dtype), ("parameters", parameter_dtype or dtype)):
        _expect(value, DTYPES, f"the dtype of the {name}")
    return Configuration(
        op=op,
        shape=x.shape,
        feature_axes=tuple(sorted(axis % x.ndim for axis in axes)),
        dtype=dtype,
        parameter_dtype=parameter_dtype or dtype,
        decay=decay,
        epsilon=epsilon,
        scale=scale,
        center=center,
    )


def offered(op: str, profile: Sequence[Declared], *, lacks: Iterable[str], name: str = NAME) -> Offered:
    """Return an implementation that runs elsewhere: it performs any step, and gives nothing of what it lacks."""
    return Offered(
        name=name,
        op=op,
        modes=("eager",),
        devices=("cpu",),
        dtypes=DTYPES,
        steps=("train", "infer", "reload", "freeze", "unfreeze", "sgd"),
        lacks=tuple(sorted(lacks)),
        profile=tuple(profile),
        documentation="",
    )


def key_of(name: str) -> WorkerKey:
    """Return the process of an implementation that this suite does not run."""
    return WorkerKey(
        name=name,
        group=None,
        adapter="elsewhere",
        attribute="",
        interpreter=sys.executable,
        environment=(),
        dtypes=None,
        asked=True,
    )


def declarations(dialect: Mapping[str, str | int | bool]) -> list[Declared]:
    """Return the fields of a dialect as what somebody states of their implementation. Raises `UsageError`."""
    for field, value in dialect.items():
        if not allows(field, value):
            known = ", ".join(map(repr, values_of(field))) or "a field of a profile, such as moving_correction"
            raise UsageError(f"dialect: {field} = {value!r}: expected {known}")
    return [_declared(field, value) for field, value in dialect.items()]


def _declared(field: str, value: str | int | bool) -> Declared:
    return Declared(field=field, value=value, source="documentation", where="as stated with the numbers")


def _waiting(case: Case, implementation: Offered, inputs: Inputs, given: Sequence[Mapping[str, Array]]) -> OwnNumbers:
    cell = Cell(
        case=case, implementation=implementation, mode="eager", device="cpu", key=key_of("yours"), unsupported=None
    )
    state = set(OPERATIONS[case.op].state(case.configuration)) if implementation.keeps_state else set[str]()
    outcomes: list[Outcome] = [Produced(quantities={}, state=inputs.initial, seconds=0.0)]
    left = dict(inputs.initial)
    for step, output in zip(inputs.steps, given, strict=True):
        if unfit(step.step) and not output:
            outcomes.append(
                Refused(types=("Refused",), message="gave nothing", trace="", state=dict(left), seconds=0.0)
            )
            continue
        kept = {name: value for name, value in output.items() if name in state}
        left |= kept
        rest = {name: value for name, value in output.items() if name not in state}
        outcomes.append(Produced(quantities=rest, state=kept, seconds=0.0))
    return OwnNumbers(cell=cell, inputs=inputs, outcomes=tuple(outcomes))


def _carrier(configuration: Configuration, step: PassKind, others: Iterable[str]) -> Case:
    """Return a case of that configuration and one pass. Its recipes stand for arrays that are handed over beside it."""
    placeholder = {"kind": "constant", "value": 0.0}
    fields = {
        "id": "own.numbers",
        "title": "Numbers that were given to be judged.",
        "source": "given",
        "clauses": ["1.1"],
        "op": configuration.op,
        "shape": list(configuration.shape),
        "feature_axes": list(configuration.feature_axes),
        "dtype": configuration.dtype,
        "parameter_dtype": configuration.parameter_dtype,
        "decay": configuration.decay,
        "epsilon": configuration.epsilon,
        "scale": configuration.scale,
        "center": configuration.center,
        "input_dtype": configuration.input_dtype,
        "options": dict(configuration.options),
        "steps": [{"step": step, "input": placeholder, **dict.fromkeys(others, placeholder)}],
    }
    try:
        return Case.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"configuration: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _operation(configuration: Configuration) -> Operation:
    _expect(configuration.op, OPERATIONS, "an operation")
    return OPERATIONS[configuration.op]


def _named(
    output: Mapping[str, ArrayLike], operation: Operation, configuration: Configuration, step: int
) -> dict[str, Array]:
    """Return the quantities that are given, as arrays; plain numbers have the dtype that the configuration asks for."""
    known = operation.named(configuration, "output", "statistic", "state", "learned", "gradient")
    for name in output:
        _expect(name, known, f"a quantity of step {step}")
    like_input = operation.shaped_like_input
    return {
        name: _array(value, configuration.dtype if name in like_input else configuration.parameter_dtype)
        for name, value in output.items()
    }


def _shaped(name: str, value: ArrayLike, shape: tuple[int, ...], dtype: str) -> Array:
    array = _array(value, dtype)
    if dtype_name(array.dtype) != dtype:
        raise UsageError(f"{name}: expected {dtype}, got {dtype_name(array.dtype)}")
    if array.shape != shape:
        raise UsageError(f"{name}: expected the shape {shape}, got {array.shape}")
    return array


def _further(name: str, value: ArrayLike, operation: Operation, configuration: Configuration) -> Array:
    """Return a further array of an operation, such as a mask, which has truth values over the reduced axes."""
    if operation.arrays[name] == "input":
        return _shaped(name, value, configuration.shape, configuration.dtype)
    reduced = tuple(configuration.shape[axis] for axis in configuration.reduction_axes)
    return _shaped(name, np.asarray(value, dtype=bool), reduced, "bool")


def _array(value: ArrayLike, dtype: str) -> Array:
    return np.asarray(value) if hasattr(value, "dtype") else rounded(np.asarray(value, dtype=np.float64), dtype)


def _expect(name: str, known: Iterable[str], what: str) -> None:
    listed = list(known)
    if name not in listed:
        raise UsageError(f"expected {what} to be one of {', '.join(listed)}; got {name!r}")

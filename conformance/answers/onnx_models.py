"""Steps of batch normalization as ONNX models of one node, with inputs and expected outputs for ONNX's backend tests.

Each is a folder with `model.onnx`, `data.json` (the tolerances) and `test_data_set_0`, as
`onnx.backend.test.loader.load_model_tests` reads it. The node is BatchNormalization of opset 15, whose variance is over m
both where it normalizes and in `running_var`, and whose `momentum` is the weight of the old value.
https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.answers.protobuf import Field, message, text
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.layout import unflatten
from conformance.precision import dtype_name, in_dtype, rounded, storage_rounding, working
from conformance.protocol import Configuration
from conformance.reference.computed import Request, compute
from conformance.reference.inputs import beginnings_of, inputs_of
from conformance.spec.case import Case, Infer, Train, unfit

Array = np.ndarray[Any, np.dtype[Any]]

#: The folder of the models, which the loader calls a kind.
KIND = "conformance"
_OPSET, _IR_VERSION = 15, 8
#: TensorProto.DataType.
_TYPES = {"float32": 1, "float16": 10, "float64": 11, "bfloat16": 16}
_STATE = ("gamma", "beta", "moving_mean", "moving_variance")
_INPUTS = ("X", "scale", "B", "input_mean", "input_var")
_OUTPUTS = {"output": "Y", "moving_mean": "running_mean", "moving_variance": "running_var"}
#: AttributeProto.AttributeType.
_FLOAT, _INT = 1, 2


def models_of(case: Case) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the models of a case's steps, by path; none where the operator cannot express the case."""
    written = case.configuration
    # An attribute of the operator is a float32, whatever the dtype of the arrays.
    attributes = {name: in_dtype(getattr(written, name), "float32") for name in ("epsilon", "decay")}
    configuration = replace(written, **attributes)  # type: ignore[arg-type]
    expressible = (
        case.op == "batch_norm"
        and configuration.feature_axes == (1,)
        and not configuration.options
        and not configuration.input_dtype
    )
    if not expressible:
        return
    for number, (inputs, beginning) in enumerate(zip(inputs_of(case).steps, beginnings_of(case), strict=True), 1):
        passes = isinstance(inputs.step, Train | Infer) and not unfit(inputs.step)
        if not passes or inputs.input is None or beginning.steps.frozen:
            continue
        training = isinstance(inputs.step, Train)
        request = Request(
            case=case,
            configuration=configuration,
            number=number,
            inputs=inputs,
            dialect=OPERATIONS[case.op].dialect,
            worked=working(case.dtype),
            frozen=False,
            trained=beginning.steps.trained,
        )
        right = compute(request, beginning.state, beginning.steps.gradients)
        outputs = {name: right[name] for name in _OUTPUTS if training or name == "output"}
        if not all(np.isfinite(entry.value).all() and np.isfinite(entry.bound).all() for entry in outputs.values()):
            continue
        arrays = [inputs.input, *(_parameter(name, beginning.state, configuration) for name in _STATE)]
        yield from _files(case.id, configuration, number, training, arrays, outputs, inputs.input.shape)


def _parameter(name: str, state: Mapping[str, Array], configuration: Configuration) -> Array:
    """Return an input of the operator, which has no switch for gamma and beta: 1 and 0 where the case has none."""
    neutral = np.full(configuration.features, 1.0 if name in ("gamma", "moving_variance") else 0.0)
    return state.get(name, rounded(neutral, configuration.parameter_dtype))


def _files(
    case: str,
    configuration: Configuration,
    number: int,
    training: bool,
    arrays: list[Array],
    outputs: Mapping[str, Expected],
    shape: tuple[int, ...],
) -> Iterator[tuple[str, bytes]]:
    results: dict[str, Array] = {}
    allowed = 0.0
    for name, entry in outputs.items():
        dtype = configuration.dtype if name == "output" else configuration.parameter_dtype
        value = unflatten(entry.value, configuration, shape) if name == "output" else entry.value
        results[_OUTPUTS[name]] = rounded(value, dtype)
        # The right number is rounded to the file's dtype, and so the bound is widened by as much.
        bound = storage_rounding(entry.bound, entry.value, dtype, working(configuration.dtype))
        error = np.abs(rounded(entry.value, dtype).astype(np.float64) - entry.value.astype(np.float64))
        allowed = max(allowed, float((bound + error).max(initial=0.0)))
    if not math.isfinite(allowed):
        # A right number too large for its dtype: no tolerance says what may come of it.
        return
    name = f"test_{case.replace('.', '_').replace('/', '__').replace('-', '_')}_{number}"
    folder = f"onnx/{KIND}/{name}"
    yield f"{folder}/model.onnx", _model(name, configuration, training, arrays, results)
    yield f"{folder}/data.json", (json.dumps({"rtol": 0.0, "atol": allowed}) + "\n").encode()
    for index, (key, array) in enumerate(zip(_INPUTS, arrays, strict=True)):
        yield f"{folder}/test_data_set_0/input_{index}.pb", _tensor(key, array)
    for index, (key, array) in enumerate(results.items()):
        yield f"{folder}/test_data_set_0/output_{index}.pb", _tensor(key, array)


def _model(
    name: str, configuration: Configuration, training: bool, arrays: list[Array], results: Mapping[str, Array]
) -> bytes:
    """Return a ModelProto."""
    attributes = [
        message(text(1, "epsilon"), (2, float(configuration.epsilon)), (20, _FLOAT)),
        message(text(1, "momentum"), (2, float(configuration.decay)), (20, _FLOAT)),
        message(text(1, "training_mode"), (3, int(training)), (20, _INT)),
    ]
    node = message(
        *(text(1, key) for key in _INPUTS),
        *(text(2, key) for key in results),
        text(4, "BatchNormalization"),
        *((5, attribute) for attribute in attributes),
    )
    graph = message(
        (1, node),
        text(2, name),
        *((11, _value_info(key, array)) for key, array in zip(_INPUTS, arrays, strict=True)),
        *((12, _value_info(key, array)) for key, array in results.items()),
    )
    return message((1, _IR_VERSION), text(2, "batchnorm-conformance"), (7, graph), (8, message((2, _OPSET))))


def _value_info(name: str, array: Array) -> bytes:
    """Return a ValueInfoProto."""
    shape = message(*((1, message((1, size))) for size in array.shape))
    tensor_type = message((1, _TYPES[dtype_name(array.dtype)]), (2, shape))
    return message(text(1, name), (2, message((1, tensor_type))))


def _tensor(name: str, array: Array) -> bytes:
    """Return a TensorProto."""
    sizes: list[Field] = [(1, size) for size in array.shape]
    return message(*sizes, (2, _TYPES[dtype_name(array.dtype)]), text(8, name), (9, array.tobytes()))

"""OpenVINO: the `BatchNormInference` operation with its statistics and parameters as constants, alone and after a convolution."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import openvino
import openvino.opset15

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "portable"

#: Our name -> the operation's name for the same input.
NAMES = {"gamma": "gamma", "beta": "beta", "moving_mean": "mean", "moving_variance": "variance"}
DEVICES = {"cpu": "CPU", "gpu": "GPU"}
CORE = openvino.Core()
#: Where a processor multiplies bfloat16, the plugin computes convolutions of float32 so unless it is told otherwise.
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def supports(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "the second dimension of the data is the channel dimension"
    if not (configuration.scale and configuration.center):
        return "gamma and beta are required inputs"
    if configuration.parameter_dtype != configuration.dtype:
        return "gamma, beta, mean and variance have the element type of the data"
    return None


def supports_folded(configuration: Configuration) -> str | None:
    if configuration.rank < 3:
        return "a Convolution takes data of rank 3 to 5"
    return supports(configuration)


def supports_in_bfloat16(configuration: Configuration) -> str | None:
    if "BF16" not in CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "this processor has no instructions for bfloat16: the plugin computes in float32 without being told to"
    return supports_folded(configuration)


def call(configuration: Configuration) -> Call:
    keywords = {"epsilon": configuration.epsilon}
    return Call(path="openvino.opset15.batch_norm_inference", keywords=keywords, function=True)


def itself(data: Any, configuration: Configuration) -> Any:
    return data


def convolved(data: Any, configuration: Configuration) -> Any:
    """A convolution that changes nothing, into whose weights the optimizer of the model puts what follows."""
    count, spatial = configuration.feature_count, configuration.rank - 2
    weights = np.eye(count, dtype=configuration.dtype).reshape(count, count, *(1,) * spatial)
    ones, zeros = [1] * spatial, [0] * spatial
    return openvino.opset15.convolution(
        data, openvino.opset15.constant(weights), strides=ones, pads_begin=zeros, pads_end=zeros, dilations=ones
    )


def start(
    before: Any, options: Any, operation: Any, configuration: Configuration, state: Quantities, mode: str, device: str
) -> Any:
    element = openvino.Type(configuration.dtype)
    sizes = [size if axis in configuration.feature_axes else -1 for axis, size in enumerate(configuration.shape)]
    data = openvino.opset15.parameter(sizes, element)
    constants = {NAMES[name]: openvino.opset15.constant(value) for name, value in state.items()}
    model = openvino.Model([operation(before(data, configuration), **constants)], [data])
    return SimpleNamespace(state=dict(state), compiled=CORE.compile_model(model, DEVICES[device], options))


def state(live: Any) -> Quantities:
    return dict(live.state)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return {"output": live.compiled(x)[0].copy()}


def timed_infer(live: Any, x: Any, upstream: Any) -> Any:
    """Into the buffer of the compiled model."""
    return {"output": live.compiled(x)[0]}


#: Arrays are NumPy's, computed when the call returns.
TIMED: dict[str, Callable[..., Any]] = {"put": lambda array, device: array, "get": np.array, "wait": lambda *_: None}

INFERENCE = Implementation(
    name="openvino.BatchNormInference",
    op="batch_norm",
    profile=(),
    modes=("eager",),
    devices=tuple(ours for ours, theirs in DEVICES.items() if theirs in CORE.available_devices),
    # NumPy arrays of bfloat16 are not taken: its Python interface has no such array type.
    dtypes=("float64", "float32", "float16"),
    supports=supports,
    call=call,
    start=functools.partial(start, itself, {}),
    state=state,
    steps={"infer": infer},
    given=tuple(NAMES),
    timed={**TIMED, "infer_into": timed_infer},
    lacks=("grad_input", "grad_gamma", "grad_beta"),
    documentation="https://docs.openvino.ai/2026/documentation/openvino-ir-format/operation-sets/operation-specs/normalization/batch-norm-inference-5.html",
)

FOLDED = replace(
    INFERENCE,
    name="openvino.BatchNormInference+Convolution",
    supports=supports_folded,
    start=functools.partial(start, convolved, EXACT),
    given=(),
    timed={},
)
#: As the plugin does by default on a processor that has it.
IN_BFLOAT16 = replace(
    FOLDED,
    name="openvino.BatchNormInference+Convolution+bfloat16",
    dtypes=("float32",),
    supports=supports_in_bfloat16,
    start=functools.partial(start, convolved, {}),
)

ADAPTER = Adapter(
    library="openvino",
    versions={"openvino": importlib.metadata.version("openvino")},
    settings={
        "build": openvino.get_version(),
        "inference precision": CORE.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string(),
        "execution mode": str(CORE.get_property("CPU", "EXECUTION_MODE_HINT")),
    },
    implementations=(INFERENCE, FOLDED, IN_BFLOAT16),
)

"""OpenVINO: the `MVN` operation over each row, times gamma plus beta, all in one model; and `GroupNormalization`."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import openvino
import openvino.opset15

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "portable"

DEVICES = {"cpu": "CPU", "gpu": "GPU"}
CORE = openvino.Core()


def supports(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "operations between two element types are refused"
    if configuration.dtype == "float64" and float(np.float32(configuration.epsilon)) != configuration.epsilon:
        return "the attribute eps is of type float, 32 bits, which cannot hold this value"
    return None


def call(configuration: Configuration) -> Call:
    return Call(
        path="openvino.opset15.mvn",
        keywords={"normalize_variance": True, "eps": configuration.epsilon, "eps_mode": "inside_sqrt"},
        function=True,
    )


def start(operation: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    opset = openvino.opset15
    sizes = [size if axis in configuration.feature_axes else -1 for axis, size in enumerate(configuration.shape)]
    data = opset.parameter(sizes, openvino.Type(configuration.dtype))
    result = operation(data, opset.constant(np.array(configuration.feature_axes, np.int64)))
    spread = {
        name: opset.constant(np.expand_dims(value, configuration.reduction_axes)) for name, value in state.items()
    }
    if "gamma" in spread:
        result = opset.multiply(result, spread["gamma"])
    if "beta" in spread:
        result = opset.add(result, spread["beta"])
    compiled = CORE.compile_model(openvino.Model([result], [data]), DEVICES[device])
    return SimpleNamespace(state=dict(state), compiled=compiled)


def supports_group(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,) or configuration.rank < 3:
        return "the second dimension of the data is the channel dimension, and the plugin wants one after it"
    if not (configuration.scale and configuration.center):
        return "scale and bias are required inputs"
    return supports(configuration)


def call_group(configuration: Configuration) -> Call:
    return Call(
        path="openvino.opset15.group_normalization",
        keywords={"num_groups": configuration.options["groups"], "epsilon": configuration.epsilon},
        function=True,
    )


def start_group(operation: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    opset = openvino.opset15
    sizes = [size if axis in configuration.feature_axes else -1 for axis, size in enumerate(configuration.shape)]
    data = opset.parameter(sizes, openvino.Type(configuration.dtype))
    result = operation(data, opset.constant(state["gamma"]), opset.constant(state["beta"]))
    compiled = CORE.compile_model(openvino.Model([result], [data]), DEVICES[device])
    return SimpleNamespace(state=dict(state), compiled=compiled)


def state(live: Any) -> Quantities:
    return dict(live.state)


def run(live: Any, x: Any, upstream: Any) -> Quantities:
    return {"output": live.compiled(x)[0].copy()}


PAGE = "https://docs.openvino.ai/2026/documentation/openvino-ir-format/operation-sets/operation-specs/normalization/"
MVN = Implementation(
    name="openvino.MVN",
    op="layer_norm",
    profile=(),
    modes=("eager",),
    devices=tuple(ours for ours, theirs in DEVICES.items() if theirs in CORE.available_devices),
    # NumPy arrays of bfloat16 are not taken: its Python interface has no such array type.
    dtypes=("float64", "float32", "float16"),
    supports=supports,
    call=call,
    start=start,
    state=state,
    # A model is the same in training and in inference.
    steps={"train": run, "infer": run},
    lacks=("grad_input", "grad_gamma", "grad_beta"),
    documentation=PAGE + "mvn-6.html",
)

ADAPTER = Adapter(
    library="openvino",
    versions={"openvino": importlib.metadata.version("openvino")},
    settings={
        "build": openvino.get_version(),
        "inference precision": CORE.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string(),
        "execution mode": str(CORE.get_property("CPU", "EXECUTION_MODE_HINT")),
    },
    implementations=(
        MVN,
        replace(
            MVN,
            name="openvino.GroupNormalization",
            op="group_norm",
            supports=supports_group,
            call=call_group,
            start=start_group,
            documentation=PAGE + "group-normalization-12.html",
        ),
    ),
)

"""ONNX: nodes of `LayerNormalization`, `RMSNormalization`, `GroupNormalization` and `InstanceNormalization`, by both evaluators."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "portable"

#: By operation its opset, with the IR version that came with it.
OPSETS = {"layer_norm": (17, 8), "rms_norm": (23, 11), "group_norm": (21, 10), "instance_norm": (6, 3)}
#: Our name -> the name of the node's input.
NAMES = {"gamma": "Scale", "beta": "B"}
TYPES = {
    "float64": onnx.TensorProto.DOUBLE,
    "float32": onnx.TensorProto.FLOAT,
    "float16": onnx.TensorProto.FLOAT16,
    "bfloat16": onnx.TensorProto.BFLOAT16,
}
PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


def supports(configuration: Configuration) -> str | None:
    rank, count = configuration.rank, len(configuration.feature_axes)
    if configuration.feature_axes != tuple(range(rank - count, rank)):
        return "the dimensions from `axis` on are normalized"
    return supports_types(configuration)


def supports_types(configuration: Configuration) -> str | None:
    if not configuration.scale:
        return "`Scale` is a required input"
    if configuration.input_dtype is not None:
        return "T: constrain input and output types to float tensors"
    if configuration.parameter_dtype != configuration.dtype:
        return "X, Scale and B have one type"
    if configuration.dtype == "float64" and float(np.float32(configuration.epsilon)) != configuration.epsilon:
        return "the attribute `epsilon` is of type FLOAT, 32 bits, which cannot hold this value"
    return None


def supports_rms(configuration: Configuration) -> str | None:
    if configuration.center:
        return "there is no offset"
    if any(configuration.options.values()):
        return "the scale multiplies as it is, and epsilon is inside the root"
    return supports(configuration)


def supports_channels(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,) or configuration.rank < 3:
        return "dimensions are in the form of (N x C x D1 ... Dn), with n of at least 1"
    if not configuration.center or configuration.options.get("tracked"):
        return "the scale and the bias are required inputs, and there are no moving values"
    return supports_types(configuration)


def call_channels(op_type: str, configuration: Configuration) -> Call:
    groups = {"num_groups": configuration.options["groups"]} if "groups" in configuration.options else {}
    keywords = {"op_type": op_type, "inputs": ["X", *NAMES.values()], "epsilon": configuration.epsilon, **groups}
    return Call(path="onnx.helper.make_node", keywords=keywords, function=True)


def call(op_type: str, configuration: Configuration) -> Call:
    given = [theirs for ours, theirs in NAMES.items() if ours == "gamma" or configuration.center]
    attributes = {"axis": configuration.feature_axes[0], "epsilon": configuration.epsilon}
    keywords = {"op_type": op_type, "inputs": ["X", *given], **attributes}
    return Call(path="onnx.helper.make_node", keywords=keywords, function=True)


def model(node: Any, configuration: Configuration, names: list[str]) -> bytes:
    """The model of that one node; the sizes that are not normalized are left open."""
    kind = TYPES[configuration.dtype]
    sizes = [size if axis in configuration.feature_axes else None for axis, size in enumerate(configuration.shape)]
    value = onnx.helper.make_tensor_value_info
    parameters = [value(name, kind, configuration.features) for name in names]
    graph = onnx.helper.make_graph(
        [node(outputs=["Y"])], "normalization", [value("X", kind, sizes), *parameters], [value("Y", kind, sizes)]
    )
    opset, ir = OPSETS[configuration.op]
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())


# Equal models are loaded once per process.
@functools.cache
def runtime(model: bytes, device: str) -> Any:
    return onnxruntime.InferenceSession(model, providers=[PROVIDERS[device]])


@functools.cache
def reference(model: bytes, device: str) -> Any:
    return onnx.reference.ReferenceEvaluator(onnx.load_model_from_string(model))


def start(evaluator: Any, node: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    feeds = {NAMES[name]: value for name, value in state.items()}
    session = evaluator(model(node, configuration, list(feeds)), device)
    return SimpleNamespace(state=dict(state), feeds=feeds, session=session)


def state(live: Any) -> Quantities:
    return dict(live.state)


def run(live: Any, x: Any, upstream: Any) -> Quantities:
    return {"output": live.session.run(None, {"X": x, **live.feeds})[0]}


PAGE = "https://onnx.ai/onnx/operators/onnx__"
RUNTIME = Implementation(
    name="onnxruntime.LayerNormalization",
    op="layer_norm",
    profile=(),
    modes=("eager",),
    devices=("cpu", "gpu") if PROVIDERS["gpu"] in onnxruntime.get_available_providers() else ("cpu",),
    dtypes=("float64", "float32", "float16"),
    supports=supports,
    call=functools.partial(call, "LayerNormalization"),
    start=functools.partial(start, runtime),
    state=state,
    # A model is the same in training and in inference.
    steps={"train": run, "infer": run},
    given=tuple(NAMES),
    lacks=("grad_input", "grad_gamma", "grad_beta"),
    documentation=PAGE + "LayerNormalization.html",
)
RMS = replace(
    RUNTIME,
    name="onnxruntime.RMSNormalization",
    op="rms_norm",
    supports=supports_rms,
    call=functools.partial(call, "RMSNormalization"),
    documentation=PAGE + "RMSNormalization.html",
)
GROUP = replace(
    RUNTIME,
    name="onnxruntime.GroupNormalization",
    op="group_norm",
    supports=supports_channels,
    call=functools.partial(call_channels, "GroupNormalization"),
    documentation=PAGE + "GroupNormalization.html",
)
INSTANCE = replace(
    GROUP,
    name="onnxruntime.InstanceNormalization",
    # Could not find an implementation for InstanceNormalization(6) node, with float64.
    dtypes=("float32", "float16"),
    op="instance_norm",
    call=functools.partial(call_channels, "InstanceNormalization"),
    documentation=PAGE + "InstanceNormalization.html",
)
BY_REFERENCE: dict[str, Any] = {
    "devices": ("cpu",),
    "dtypes": tuple(TYPES),
    "start": functools.partial(start, reference),
}

ADAPTER = Adapter(
    library="onnx",
    versions={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
    settings={
        "opset": "17 for LayerNormalization, 23 for RMSNormalization, 21 for GroupNormalization, 6 for InstanceNormalization",
        "providers": ", ".join(onnxruntime.get_available_providers()),
        "graph optimizations": str(onnxruntime.SessionOptions().graph_optimization_level),
        "threads within an op": str(onnxruntime.SessionOptions().intra_op_num_threads or "automatic"),
    },
    implementations=(
        RUNTIME,
        replace(RUNTIME, name="onnx.reference.LayerNormalization", **BY_REFERENCE),
        RMS,
        replace(RMS, name="onnx.reference.RMSNormalization", **BY_REFERENCE),
        GROUP,
        replace(GROUP, name="onnx.reference.GroupNormalization", **BY_REFERENCE),
        INSTANCE,
        replace(INSTANCE, name="onnx.reference.InstanceNormalization", **BY_REFERENCE),
    ),
)

"""ONNX: a `BatchNormalization` node, run by ONNX Runtime and by ONNX's own reference evaluator; of opset 15 and of earlier ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "portable"

OPSET = 15
#: The opsets that changed the node, with the IR version that came with each.
IR_VERSIONS = {7: 3, 9: 4, 14: 7, OPSET: 8}
#: Our name -> the name of the node's input.
NAMES = {"gamma": "scale", "beta": "B", "moving_mean": "input_mean", "moving_variance": "input_var"}
#: Our name -> the name of the node's output in training mode.
UPDATED = {"moving_mean": "running_mean", "moving_variance": "running_var"}
#: Before opset 14 the node gave the statistics of the batch too, and trained where it was asked for more than Y.
SAVED = {"batch_mean": "saved_mean", "batch_variance": "saved_var"}
TYPES = {
    "float64": onnx.TensorProto.DOUBLE,
    "float32": onnx.TensorProto.FLOAT,
    "float16": onnx.TensorProto.FLOAT16,
    "bfloat16": onnx.TensorProto.BFLOAT16,
}
PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


def supports(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "dimensions are in the form of (N x C x D1 x D2 ... Dn)"
    if not (configuration.scale and configuration.center):
        return "`scale` and `B` are required inputs"
    if configuration.input_dtype is not None:
        return "T: constrain input and output types to float tensors"
    exact = all(float(np.float32(value)) == value for value in (configuration.epsilon, configuration.decay))
    if "float64" in (configuration.dtype, configuration.parameter_dtype) and not exact:
        return "the attributes `epsilon` and `momentum` are of type FLOAT, 32 bits, which cannot hold these values"
    return None


def supports_runtime(configuration: Configuration) -> str | None:
    wide = configuration.parameter_dtype != configuration.dtype
    if wide and (configuration.dtype, configuration.parameter_dtype) != ("float16", "float32"):
        return "Could not find an implementation for BatchNormalization(15) node with these types"
    return supports(configuration)


def supports_earlier(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "before opset 15 `scale` and `B` are of the type of X"
    return supports(configuration)


def supports_folded(configuration: Configuration) -> str | None:
    if configuration.rank < 3 or configuration.parameter_dtype != configuration.dtype:
        return "a Conv takes (N x C x D1 ... Dn) with n of at least 1, and weights of the type of X"
    return supports(configuration)


def call(configuration: Configuration) -> Call:
    """The node, of which training and inference differ in the outputs, and since opset 14 in `training_mode`."""
    attributes = {"epsilon": configuration.epsilon, "momentum": configuration.decay}
    keywords: dict[str, Any] = {"op_type": "BatchNormalization", "inputs": ["X", *NAMES.values()], **attributes}
    return Call(path="onnx.helper.make_node", keywords=keywords, function=True)


def model(node: Any, opset: int, configuration: Configuration, training: bool) -> bytes:
    """The model of that one node; the sizes are left open."""
    told = {"training_mode": int(training)} if opset >= 14 else {}
    given = {**UPDATED, **({} if told else SAVED)}
    outputs = list(given.values()) if training else []
    x, parameters = TYPES[configuration.dtype], TYPES[configuration.parameter_dtype]
    image, vector = [None] * configuration.rank, [configuration.feature_count]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node(outputs=["Y", *outputs], **told)],
        "batch_normalization",
        [value("X", x, image), *(value(name, parameters, vector) for name in NAMES.values())],
        [value("Y", x, image), *(value(name, parameters, vector) for name in outputs)],
    )
    return checked(graph, opset)


def checked(graph: Any, opset: int) -> bytes:
    imports = [onnx.helper.make_opsetid("", opset)]
    made = onnx.helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSIONS[opset])
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())


# Equal models are loaded once per process.
@functools.cache
def runtime(model: bytes, device: str) -> Any:
    return onnxruntime.InferenceSession(model, providers=[PROVIDERS[device]])


@functools.cache
def reference(model: bytes, device: str) -> Any:
    return onnx.reference.ReferenceEvaluator(onnx.load_model_from_string(model))


def start(
    evaluator: Any, opset: int, node: Any, configuration: Configuration, state: Quantities, mode: str, device: str
) -> Any:
    models = {training: model(node, opset, configuration, training) for training in (True, False)}
    sessions = {training: evaluator(serialized, device) for training, serialized in models.items()}
    return SimpleNamespace(state=dict(state), sessions=sessions)


def start_folded(node: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    """After a Conv that changes nothing, with parameters and statistics as constants: the runtime makes one Conv of both."""
    initializers = {theirs: state[ours] for ours, theirs in NAMES.items()}
    initializers["W"] = np.ones((configuration.feature_count, *(1,) * (configuration.rank - 1)), configuration.dtype)
    images = [
        onnx.helper.make_tensor_value_info(name, TYPES[configuration.dtype], [None] * configuration.rank)
        for name in ("input", "Y")
    ]
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["input", "W"], ["X"], group=configuration.feature_count),
            node(outputs=["Y"], training_mode=0),
        ],
        "folded",
        images[:1],
        images[1:],
        [onnx.numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    session = runtime(checked(graph, OPSET), device)
    return SimpleNamespace(state=dict(state), session=session)


def state(live: Any) -> Quantities:
    return dict(live.state)


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    output, *updated = run(live, x, training=True)
    moved = len(UPDATED)
    live.state.update(zip(UPDATED, updated[:moved], strict=True))
    # What an earlier opset gives beside them.
    return {"output": output, **dict(zip(SAVED, updated[moved:], strict=False))}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return {"output": run(live, x, training=False)[0]}


def timed_infer_into(live: Any, x: Any, upstream: Any) -> Any:
    """With the output bound to a buffer."""
    session = live.sessions[False]
    if not hasattr(live, "binding"):
        live.buffer, live.binding = np.empty_like(x), session.io_binding()
        for ours, theirs in NAMES.items():
            live.binding.bind_cpu_input(theirs, live.state[ours])
        live.binding.bind_output("Y", "cpu", 0, x.dtype, x.shape, live.buffer.ctypes.data)
    live.binding.bind_cpu_input("X", x)
    session.run_with_iobinding(live.binding)
    return {"output": live.buffer}


def infer_folded(live: Any, x: Any, upstream: Any) -> Quantities:
    return {"output": live.session.run(None, {"input": x})[0]}


def run(live: Any, x: Any, training: bool) -> Any:
    feeds = {theirs: live.state[ours] for ours, theirs in NAMES.items()}
    return live.sessions[training].run(None, {"X": x, **feeds})


def reload(live: Any) -> Any:
    """The moving values are the caller's, who keeps them as ONNX tensors."""
    saved = {name: onnx.numpy_helper.from_array(value).SerializeToString() for name, value in live.state.items()}
    loaded = {name: onnx.load_tensor_from_string(serialized) for name, serialized in saved.items()}
    live.state = {name: onnx.numpy_helper.to_array(value).copy() for name, value in loaded.items()}
    return live


#: Arrays are NumPy's, computed at once.
TIMED: dict[str, Callable[..., Any]] = {"put": lambda array, device: array, "get": np.array, "wait": lambda *_: None}
RUNTIME = Implementation(
    name="onnxruntime.BatchNormalization",
    op="batch_norm",
    profile=(),
    modes=("eager",),
    devices=("cpu", "gpu") if PROVIDERS["gpu"] in onnxruntime.get_available_providers() else ("cpu",),
    # The kernel for bfloat16 is missing: Could not find an implementation for BatchNormalization(15) node.
    dtypes=("float64", "float32", "float16"),
    supports=supports_runtime,
    call=call,
    start=functools.partial(start, runtime, OPSET),
    state=state,
    steps={"train": train, "infer": infer, "reload": reload},
    given=tuple(NAMES),
    timed={**TIMED, "infer": infer, "infer_into": timed_infer_into, "train_forward": train},
    lacks=("grad_input", "grad_gamma", "grad_beta"),
    documentation="https://onnx.ai/onnx/operators/onnx__BatchNormalization.html",
    names={ours: f"*.{theirs}" for ours, theirs in NAMES.items()},
)

REFERENCE = replace(
    RUNTIME,
    name="onnx.reference.BatchNormalization",
    devices=("cpu",),
    dtypes=tuple(TYPES),
    supports=supports,
    start=functools.partial(start, reference, OPSET),
    timed={**TIMED, "infer": infer, "train_forward": train},
    documentation="https://onnx.ai/onnx/api/reference.html",
)
#: A node of another opset, of which no more is asked than whether it is the same operation.
EARLIER = replace(RUNTIME, op="transformed_batch_norm", devices=("cpu",), supports=supports_earlier, timed={})
FOLDED = replace(
    RUNTIME,
    name="onnxruntime.BatchNormalization+Conv",
    devices=("cpu",),
    # Could not find an implementation for Conv(11) node, with float64.
    dtypes=("float32", "float16"),
    supports=supports_folded,
    start=start_folded,
    steps={"infer": infer_folded},
    given=(),
    timed={},
    documentation="https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html",
)

ADAPTER = Adapter(
    library="onnx",
    versions={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
    settings={
        "opset": str(OPSET) + " where the name has no other",
        "providers": ", ".join(onnxruntime.get_available_providers()),
        "graph optimizations": str(onnxruntime.SessionOptions().graph_optimization_level),
        "threads within an op": str(onnxruntime.SessionOptions().intra_op_num_threads or "automatic"),
    },
    implementations=(
        RUNTIME,
        REFERENCE,
        FOLDED,
        *(
            replace(EARLIER, name=f"{RUNTIME.name}+opset_{opset}", start=functools.partial(start, runtime, opset))
            for opset in (7, 9, 14)
        ),
        replace(
            EARLIER,
            name=f"{REFERENCE.name}+opset_9",
            start=functools.partial(start, reference, 9),
            # The evaluator gives one output whatever is asked for: no training.
            steps={"infer": infer},
            documentation=REFERENCE.documentation,
        ),
    ),
)

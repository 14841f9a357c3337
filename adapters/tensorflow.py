"""TensorFlow: `tf.nn.moments` followed by `tf.nn.batch_normalization`; the caller keeps the moving values."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = [
    {
        "name": "tensorflow",
        "group": "tensorflow",
        "environment": {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
        "threads": {"TF_NUM_INTRAOP_THREADS": "{threads}", "TF_NUM_INTEROP_THREADS": "{threads}"},
    }
]

#: Our name -> TensorFlow's name for the same tensor.
NAMES = {
    "gamma": "scale",
    "beta": "offset",
    "moving_mean": "mean",
    "moving_variance": "variance",
}


def supports(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "tf.nn.moments returns the dtype of x, and operations between two dtypes raise InvalidArgumentError"
    return None


def call(configuration: Configuration) -> Call:
    return Call(
        path="tensorflow.nn.batch_normalization",
        keywords={"variance_epsilon": configuration.epsilon},
        function=True,
    )


def prepare(function: Any, mode: str) -> Any:
    """The function itself, or a graph traced from it per signature."""
    return function if mode == "eager" else tf.function(function)


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    shape = [1 if axis in configuration.reduction_axes else size for axis, size in enumerate(configuration.shape)]
    train_step = functools.partial(differentiate_batch, function, configuration.reduction_axes, shape)
    infer_step = functools.partial(differentiate_moving, function, shape)
    with tf.device(device):
        tensors = {NAMES[name]: tf.constant(value) for name, value in state.items()}
    return SimpleNamespace(
        state=state,
        learned={name: tensors[name] for name in ("scale", "offset") if name in tensors},
        moving={name: tensors[name] for name in ("mean", "variance")},
        train_step=prepare(train_step, mode),
        infer_step=prepare(infer_step, mode),
        mode=mode,
        device=device,
    )


def state(live: Any) -> Quantities:
    return dict(live.state)


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    with tf.device(live.device):
        results = live.train_step(tf.constant(x), tf.constant(upstream), live.learned)
    return {name: value.numpy() for name, value in results.items()}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    with tf.device(live.device):
        upstream = None if upstream is None else tf.constant(upstream)
        results = live.infer_step(tf.constant(x), upstream, live.learned, live.moving)
    return {name: value.numpy() for name, value in results.items()}


def differentiate_batch(function: Any, axes: Any, shape: Any, x: Any, upstream: Any, learned: Any) -> Any:
    """Normalizes with the moments of x."""
    with tf.GradientTape() as tape:
        tape.watch((x, learned))
        mean, variance = tf.nn.moments(x, axes, keepdims=True)
        output = normalize(function, shape, x, mean, variance, learned)
    gradients = differentiate(tape, output, x, upstream, learned)
    return {"output": output, "batch_mean": mean, "batch_variance": variance, **gradients}


def differentiate_moving(function: Any, shape: Any, x: Any, upstream: Any, learned: Any, moving: Any) -> Any:
    """Normalizes with the moving values that the caller keeps."""
    with tf.GradientTape() as tape:
        tape.watch((x, learned))
        mean, variance = tf.reshape(moving["mean"], shape), tf.reshape(moving["variance"], shape)
        output = normalize(function, shape, x, mean, variance, learned)
    if upstream is None:
        return {"output": output}
    return {"output": output, **differentiate(tape, output, x, upstream, learned)}


def normalize(function: Any, shape: Any, x: Any, mean: Any, variance: Any, learned: Any) -> Any:
    """Calls `tf.nn.batch_normalization`: all its tensors have the rank of x, the normalized axes of size one."""
    spread = {name: tf.reshape(value, shape) for name, value in learned.items()}
    return function(x, mean, variance, offset=spread.get("offset"), scale=spread.get("scale"))


def differentiate(tape: Any, output: Any, x: Any, upstream: Any, learned: Any) -> Any:
    names = {"grad_gamma": "scale", "grad_beta": "offset"}
    sources = {ours: learned[theirs] for ours, theirs in names.items() if theirs in learned}
    return tape.gradient(output, {"grad_input": x, **sources}, output_gradients=upstream)


def compilations(live: Any) -> int:
    steps = (live.train_step, live.infer_step) if live.mode == "compiled" else ()
    return sum(step.experimental_get_tracing_count() for step in steps)


def threads() -> str:
    """The size of the pool for one operation: the threads without a name that the first operation starts on Linux.

    TensorFlow itself gives back only what a program set. On a GPU it starts others too.
    """
    before = unnamed()
    tf.constant(0.0) + 1.0
    started = 0 if "gpu" in DEVICES else unnamed() - before
    return str(started or "unknown")


def unnamed() -> int:
    """The number of threads whose name is the process's own, as Linux counts them; 0 elsewhere."""
    time.sleep(0.1)  # a thread takes its name a moment after its start
    found = 0
    for file in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            found += file.read_text() == Path("/proc/self/comm").read_text()
    return found


CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="tf.nn.batch_normalization: mean and variance are arguments, at inference running averages of the moments",
)
DEVICES = ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)

ADAPTER = Adapter(
    library="tensorflow",
    versions={"tensorflow": tf.__version__},
    settings={
        "threads": threads(),
        "threads within an op": str(tf.config.threading.get_intra_op_parallelism_threads() or "automatic"),
        "threads between ops": str(tf.config.threading.get_inter_op_parallelism_threads() or "automatic"),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "deterministic ops": os.environ.get("TF_DETERMINISTIC_OPS", "default"),
        "TF32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    implementations=(
        Implementation(
            name="tf.nn.batch_normalization",
            op="batch_norm",
            profile=(CALLER_STATE,),
            modes=("eager", "compiled"),
            devices=DEVICES,
            dtypes=("float64", "float32", "float16", "bfloat16"),
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer},
            compilations=compilations,
            documentation="https://www.tensorflow.org/api_docs/python/tf/nn/batch_normalization",
        ),
    ),
)

"""TensorFlow: devices, modes and settings, steps that are compiled once, and a layer's passes with their gradients."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from conformance.protocol import Configuration, Quantities


def constant(array: Any) -> Any:
    return None if array is None else tf.constant(array)


def arrays(tensors: Any) -> Quantities:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def prepare(step: Any, mode: str) -> Any:
    """The step itself, or a graph traced from it per signature, which XLA compiles in its mode."""
    return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")


#: What was compiled.
COMPILED: dict[tuple[Any, Configuration, str, str], Any] = {}


def once(make: Callable[[], Any], call: Any, configuration: Configuration, mode: str, device: str) -> Any:
    """What it makes; compiled, what was made for the first equal call, which traces each signature once."""
    if mode == "eager":
        return make()
    key = call, replace(configuration, memory="contiguous"), mode, device
    if key not in COMPILED:
        COMPILED[key] = make()
    return COMPILED[key]


def compilations(live: Any) -> int:
    return 0 if live.mode == "eager" else int(live.step.experimental_get_tracing_count())


# A layer, which keeps its state: `live.step(x, upstream, training)` gives tensors by quantity.


def train_layer(live: Any, x: Any, upstream: Any) -> Quantities:
    live.gradients = run_layer(live, x, upstream, training=True)
    return arrays(live.gradients)


def infer_layer(live: Any, x: Any, upstream: Any) -> Quantities:
    return arrays(run_layer(live, x, upstream, training=False))


def run_layer(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    with tf.device(live.device):
        return live.step(tf.constant(x), constant(upstream), training)


def reload_checkpoint(live: Any) -> Any:
    checkpoint = tf.train.Checkpoint(layer=live.layer)
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.write(str(Path(folder, "layer")))
        for variable in live.layer.variables:
            variable.assign(tf.fill(variable.shape, tf.cast(7, variable.dtype)))
        checkpoint.read(path).assert_consumed()
    return live


# Functions whose caller keeps the moving values: `function(x, learned, moving)` gives tensors by quantity, in training
# without the moving values.


def start_function(
    function: Any, call: Any, configuration: Configuration, state: Quantities, mode: str, device: str
) -> Any:
    with tf.device(device):
        tensors = {name: tf.constant(value) for name, value in state.items()}
    step = functools.partial(differentiate_function, function)
    return SimpleNamespace(
        state=state,
        learned={name: tensors[name] for name in ("gamma", "beta") if name in tensors},
        moving={name: tensors[name] for name in ("moving_mean", "moving_variance") if name in tensors},
        step=once(functools.partial(prepare, step, mode), call, configuration, mode, device),
        mode=mode,
        device=device,
    )


def differentiate_function(function: Any, x: Any, upstream: Any, learned: Any, moving: Any) -> Any:
    """What the function gives, and the gradients of its output."""
    sources = {"grad_input": x, **{f"grad_{name}": tensor for name, tensor in learned.items()}}
    with tf.GradientTape() as tape:
        tape.watch(sources)
        quantities = function(x, learned, moving)
    if upstream is None:
        return quantities
    return {**quantities, **tape.gradient(quantities["output"], sources, output_gradients=upstream)}


def state_function(live: Any) -> Quantities:
    return dict(live.state)


def train_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return run_function(live, x, upstream, {})


def infer_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return run_function(live, x, upstream, live.moving)


def run_function(live: Any, x: Any, upstream: Any, moving: Any) -> Quantities:
    with tf.device(live.device):
        return arrays(live.step(tf.constant(x), constant(upstream), live.learned, moving))


# What throughput calls.


def put(array: Any, device: str) -> Any:
    with tf.device(device):
        return tf.constant(array)


def get(tensor: Any) -> Any:
    return tensor.numpy()


def wait(live: Any, results: Any) -> None:
    """A CPU computes at once."""
    if live.device == "gpu":
        tf.test.experimental.sync_devices()


def timed_infer_layer(live: Any, x: Any, upstream: Any) -> Any:
    return live.step(x, upstream, False)


def timed_train_layer(live: Any, x: Any, upstream: Any) -> Any:
    return live.step(x, upstream, True)


def timed_infer_function(live: Any, x: Any, upstream: Any) -> Any:
    return live.step(x, upstream, live.learned, live.moving)


def timed_train_function(live: Any, x: Any, upstream: Any) -> Any:
    return live.step(x, upstream, live.learned, {})


CONVERSION: dict[str, Callable[..., Any]] = {"put": put, "get": get, "wait": wait}
TIMED_LAYER: dict[str, Callable[..., Any]] = {
    **CONVERSION,
    "infer": timed_infer_layer,
    "train_forward": timed_train_layer,
    "train": timed_train_layer,
}
TIMED_FUNCTION: dict[str, Callable[..., Any]] = {
    **CONVERSION,
    "infer": timed_infer_function,
    "train_forward": timed_train_function,
    "train": timed_train_function,
}


def threads() -> dict[str, str]:
    return {
        "threads within an op": str(tf.config.threading.get_intra_op_parallelism_threads() or "automatic"),
        "threads between ops": str(tf.config.threading.get_inter_op_parallelism_threads() or "automatic"),
    }


def numerics() -> dict[str, str]:
    return {
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "deterministic ops": os.environ.get("TF_DETERMINISTIC_OPS", "default"),
        "TF32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    }


def pool() -> str | None:
    """How the names of the threads begin, which the first operation starts.

    Those within an operation have no name, and on a GPU others have none either.
    """
    tf.constant(0.0) + 1.0
    return None if "gpu" in DEVICES else ""


DEVICES = ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)
MODES = ("eager", "compiled", "xla")
DTYPES = ("float64", "float32", "float16", "bfloat16")

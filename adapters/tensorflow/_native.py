"""TensorFlow: devices, modes and settings, steps that are compiled once, and a layer's passes with their gradients."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from conformance.protocol import Configuration, Quantities
from conformance_adapters.tensorflow._process import numerics, once, threads


def constant(array: Any) -> Any:
    return None if array is None else tf.constant(array)


def arrays(tensors: Any) -> Quantities:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def prepare(step: Any, mode: str) -> Any:
    """The step itself, or a graph traced from it per signature, which XLA compiles in its mode."""
    return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")


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
        return timed_layer(live, tf.constant(x), constant(upstream), training)


def reload_checkpoint(live: Any) -> Any:
    checkpoint = tf.train.Checkpoint(layer=live.layer)
    with tf.device(live.device), tempfile.TemporaryDirectory() as folder:
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


def run_function(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    with tf.device(live.device):
        return arrays(timed_function(live, tf.constant(x), constant(upstream), training))


def passes(step: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The steps of one function that is told whether it trains."""
    return {"train": functools.partial(step, training=True), "infer": functools.partial(step, training=False)}


# What throughput calls.


def put(array: Any, device: str) -> Any:
    with tf.device(device):
        return tf.constant(array)


def wait(live: Any, results: Any) -> None:
    """A CPU computes at once."""
    if live.device == "gpu":
        tf.test.experimental.sync_devices()


def clock(live: Any) -> float:
    """Seconds, when the device has computed all that it was given: there are no events to read."""
    tf.test.experimental.sync_devices()
    return time.perf_counter()


def copy(live: Any, x: Any) -> Any:
    """A copy in other memory, which `tf.identity` need not be."""
    with tf.device(live.device):
        return tf.raw_ops.DeepCopy(x=x)


def placed(step: Callable[..., Any], live: Any, x: Any, upstream: Any, training: bool) -> Any:
    """The step on its device, which is not the one that TensorFlow would take where there are two."""
    with tf.device(live.device):
        return step(live, x, upstream, training)


def timed_layer(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    return live.step(x, upstream, training)


def timed_function(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    return live.step(x, upstream, live.learned, {} if training else live.moving)


def timed(step: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """A function that is told whether it trains, on tensors and on its device."""
    on_device = functools.partial(placed, step)
    tools: dict[str, Callable[..., Any]] = {
        "put": put,
        "get": lambda tensor: tensor.numpy(),
        "wait": wait,
        "clock": clock,
        "copy": copy,
    }
    return {**tools, **passes(on_device), "train_forward": functools.partial(on_device, training=True)}


def settings() -> dict[str, str]:
    return {**threads(tf), **numerics(tf)}


def pool() -> str | None:
    """How the names of the threads begin, which the first operation starts.

    Those within an operation have no name, and on a GPU others have none either.
    """
    tf.constant(0.0) + 1.0
    return None if "gpu" in DEVICES else ""


DEVICES = ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)
MODES = ("eager", "compiled", "xla")
DTYPES = ("float64", "float32", "float16", "bfloat16")

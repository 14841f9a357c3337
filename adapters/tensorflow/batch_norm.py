"""TensorFlow: `tf.nn.moments` followed by `tf.nn.batch_normalization`, and a `Centering` module.

The caller of the functions keeps the moving values.
"""

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

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "tensorflow"

#: Our name -> TensorFlow's name for the same tensor.
NAMES = {
    "gamma": "scale",
    "beta": "offset",
    "moving_mean": "mean",
    "moving_variance": "variance",
}


class Centering(tf.Module):
    """Subtracts the batch mean in training and the moving mean in inference; frozen, it infers."""

    def __init__(self, features: tuple[int, ...], axes: tuple[int, ...], decay: float, dtype: str) -> None:
        super().__init__()
        self.axes, self.decay, self.frozen = axes, decay, False
        self.moving_mean = tf.Variable(tf.zeros(features, dtype), trainable=False)

    def __call__(self, x: Any, training: bool) -> Any:
        if not training or self.frozen:
            shape = [1 if axis in self.axes else size for axis, size in enumerate(x.shape)]
            return x - tf.reshape(self.moving_mean, shape)
        wide = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
        mean = tf.reduce_mean(wide, self.axes, keepdims=True)
        old = tf.cast(self.moving_mean, wide.dtype)
        moved = self.decay * old + (1 - self.decay) * tf.reshape(mean, old.shape)
        self.moving_mean.assign(tf.cast(tf.where(tf.size(x) > 0, moved, old), self.moving_mean.dtype))
        return tf.cast(wide - mean, x.dtype)


def supports(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "tf.nn.moments returns the dtype of x, and operations between two dtypes raise InvalidArgumentError"
    return None


def supports_centering(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "the variable has the dtype of the input"
    return None


def call(configuration: Configuration) -> Call:
    return Call(
        path="tensorflow.nn.batch_normalization",
        keywords={"variance_epsilon": configuration.epsilon},
        function=True,
    )


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering",
        keywords={
            "features": configuration.features,
            "axes": configuration.reduction_axes,
            "decay": configuration.decay,
            "dtype": configuration.parameter_dtype,
        },
        function=True,
    )


def prepare(step: Callable[..., Any], mode: str) -> Any:
    """The step itself, or a graph traced from it per signature, which XLA compiles in its mode."""
    return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")


#: The steps that were compiled: equal configurations share them, and trace each signature once.
COMPILED: dict[tuple[Configuration, str, str], tuple[Any, Any]] = {}


def prepare_functions(function: Any, configuration: Configuration, mode: str, device: str) -> tuple[Any, Any]:
    """The steps of training and of inference."""
    key = replace(configuration, memory="contiguous"), mode, device
    if mode != "eager" and key in COMPILED:
        return COMPILED[key]
    shape = [1 if axis in configuration.reduction_axes else size for axis, size in enumerate(configuration.shape)]
    steps = (
        prepare(functools.partial(differentiate_batch, function, configuration.reduction_axes, shape), mode),
        prepare(functools.partial(differentiate_moving, function, shape), mode),
    )
    if mode != "eager":
        COMPILED[key] = steps
    return steps


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with tf.device(device):
        tensors = {NAMES[name]: tf.constant(value) for name, value in state.items()}
    train_step, infer_step = prepare_functions(function, configuration, mode, device)
    return SimpleNamespace(
        state=state,
        learned={name: tensors[name] for name in ("scale", "offset") if name in tensors},
        moving={name: tensors[name] for name in ("mean", "variance")},
        train_step=train_step,
        infer_step=infer_step,
        mode=mode,
        device=device,
    )


def start_centering(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with tf.device(device):
        layer = build()
        layer.moving_mean.assign(state["moving_mean"])
    step = functools.partial(differentiate_layer, layer)
    return SimpleNamespace(layer=layer, step=prepare(step, mode), mode=mode, device=device)


def state(live: Any) -> Quantities:
    return dict(live.state)


def state_centering(live: Any) -> Quantities:
    return {"moving_mean": live.layer.moving_mean.numpy()}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    with tf.device(live.device):
        results = live.train_step(tf.constant(x), tf.constant(upstream), live.learned)
    return {name: value.numpy() for name, value in results.items()}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    with tf.device(live.device):
        upstream = None if upstream is None else tf.constant(upstream)
        results = live.infer_step(tf.constant(x), upstream, live.learned, live.moving)
    return {name: value.numpy() for name, value in results.items()}


def train_centering(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, upstream, training=True)


def infer_centering(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, upstream, training=False)


def run(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    with tf.device(live.device):
        upstream = None if upstream is None else tf.constant(upstream)
        results = live.step(tf.constant(x), upstream, training)
    return {name: value.numpy() for name, value in results.items()}


def differentiate_batch(function: Any, axes: Any, shape: Any, x: Any, upstream: Any, learned: Any) -> Any:
    """Normalizes with the moments of x."""
    with tf.GradientTape() as tape:
        tape.watch((x, learned))
        mean, variance = tf.nn.moments(x, axes, keepdims=True)
        output = normalize(function, shape, x, mean, variance, learned)
    quantities = {"output": output, "batch_mean": mean, "batch_variance": variance}
    return quantities if upstream is None else {**quantities, **differentiate(tape, output, x, upstream, learned)}


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


def differentiate_layer(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, training)
    if upstream is None:
        return {"output": output}
    return {"output": output, "grad_input": tape.gradient(output, x, output_gradients=upstream)}


def put(array: Any, device: str) -> Any:
    with tf.device(device):
        return tf.constant(array)


def get(tensor: Any) -> Any:
    return tensor.numpy()


def wait(live: Any, results: Any) -> None:
    """A CPU computes at once."""
    if live.device == "gpu":
        tf.test.experimental.sync_devices()


def timed_infer(live: Any, x: Any, upstream: Any) -> Any:
    return live.infer_step(x, upstream, live.learned, live.moving)


def timed_train(live: Any, x: Any, upstream: Any) -> Any:
    return live.train_step(x, upstream, live.learned)


def timed_infer_centering(live: Any, x: Any, upstream: Any) -> Any:
    return live.step(x, upstream, False)


def timed_train_centering(live: Any, x: Any, upstream: Any) -> Any:
    return live.step(x, upstream, True)


def reload(live: Any) -> Any:
    checkpoint = tf.train.Checkpoint(layer=live.layer)
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.write(str(Path(folder, "layer")))
        live.layer.moving_mean.assign(tf.fill(live.layer.moving_mean.shape, tf.cast(7, live.layer.moving_mean.dtype)))
        checkpoint.read(path).assert_consumed()
    return live


def freeze(live: Any) -> None:
    live.layer.frozen = True
    live.step = prepare(functools.partial(differentiate_layer, live.layer), live.mode)


def unfreeze(live: Any) -> None:
    live.layer.frozen = False
    live.step = prepare(functools.partial(differentiate_layer, live.layer), live.mode)


def compilations(live: Any) -> int:
    steps = () if live.mode == "eager" else (live.train_step, live.infer_step)
    return sum(step.experimental_get_tracing_count() for step in steps)


def compilations_centering(live: Any) -> int:
    return 0 if live.mode == "eager" else int(live.step.experimental_get_tracing_count())


CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="tf.nn.batch_normalization: mean and variance are arguments, at inference running averages of the moments",
)
TIMED: dict[str, Callable[..., Any]] = {"put": put, "get": get, "wait": wait}
MODES = ("eager", "compiled", "xla")
DTYPES = ("float64", "float32", "float16", "bfloat16")
DEVICES = ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)

# The first operation starts the pools: that within an operation has no name, and on a GPU others have none either.
tf.constant(0.0) + 1.0

ADAPTER = Adapter(
    library="tensorflow",
    versions={"tensorflow": tf.__version__},
    settings={
        "threads within an op": str(tf.config.threading.get_intra_op_parallelism_threads() or "automatic"),
        "threads between ops": str(tf.config.threading.get_inter_op_parallelism_threads() or "automatic"),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "deterministic ops": os.environ.get("TF_DETERMINISTIC_OPS", "default"),
        "TF32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    pool=None if "gpu" in DEVICES else "",
    implementations=(
        Implementation(
            name="tf.nn.batch_normalization",
            op="batch_norm",
            profile=(CALLER_STATE,),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer},
            timed={**TIMED, "infer": timed_infer, "train_forward": timed_train, "train": timed_train},
            compilations=compilations,
            documentation="https://www.tensorflow.org/api_docs/python/tf/nn/batch_normalization",
        ),
        Implementation(
            name="tf.Centering",
            op="centering",
            profile=(),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports_centering,
            call=call_centering,
            start=start_centering,
            state=state_centering,
            steps={
                "train": train_centering,
                "infer": infer_centering,
                "reload": reload,
                "freeze": freeze,
                "unfreeze": unfreeze,
            },
            timed={
                **TIMED,
                "infer": timed_infer_centering,
                "train_forward": timed_train_centering,
                "train": timed_train_centering,
            },
            compilations=compilations_centering,
        ),
    ),
)

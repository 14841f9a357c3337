"""TensorFlow: `tf.nn.moments` followed by `tf.nn.batch_normalization`, a `Centering` module, and `tf.reduce_mean` itself.

The caller of the functions keeps the moving values.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities
from conformance_adapters.tensorflow._native import (
    DEVICES,
    DTYPES,
    MODES,
    compilations,
    infer_layer,
    passes,
    pool,
    prepare,
    reload_checkpoint,
    run_function,
    settings,
    start_function,
    state_function,
    timed,
    timed_function,
    timed_layer,
    train_layer,
)

PROCESSES = "tensorflow"


class Centering(tf.Module):
    """Subtracts the batch mean in training and the moving mean in inference; frozen, it infers."""

    def __init__(self, features: tuple[int, ...], axes: tuple[int, ...], decay: float, dtype: str) -> None:
        super().__init__()
        self.axes, self.decay, self.frozen = axes, decay, False
        self.moving_mean = tf.Variable(tf.zeros(features, dtype), trainable=False)

    def __call__(self, x: Any, training: bool) -> Any:
        x = x if x.dtype.is_floating else tf.cast(x, self.moving_mean.dtype)
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
        path="tensorflow.nn.batch_normalization", keywords={"variance_epsilon": configuration.epsilon}, function=True
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


def call_moments(configuration: Configuration) -> Call:
    return Call(path="tensorflow.nn.moments", keywords={"axes": configuration.reduction_axes}, function=True)


def supports_moments(configuration: Configuration) -> str | None:
    if configuration.dtype != "float32":
        return "no page says what integers become: the spec's float32 is taken"
    if configuration.input_dtype not in ("int32", "int64"):
        return "the squared difference has no kernel for truth values or for integers of 8 bits"
    return None


def call_mean(configuration: Configuration) -> Call:
    return Call(path="tensorflow.reduce_mean", keywords={"keepdims": True}, function=True)


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    step = functools.partial(normalize, function, configuration.reduction_axes)
    return start_function(step, function.func, configuration, state, mode, device)


def spread(tensor: Any, axes: Any) -> Any:
    """The tensor with axes of size one where those that are normalized over are."""
    for axis in axes:
        tensor = tf.expand_dims(tensor, axis)
    return tensor


def normalize(function: Any, axes: Any, x: Any, learned: Any, moving: Any) -> Any:
    """Normalizes with the moving values, else with the moments of x.

    All tensors of `tf.nn.batch_normalization` have the rank of x, the normalized axes of size one.
    """
    if moving:
        statistics = {}
        mean, variance = (spread(moving[name], axes) for name in ("moving_mean", "moving_variance"))
    else:
        mean, variance = tf.nn.moments(x, axes, keepdims=True)
        statistics = {"batch_mean": mean, "batch_variance": variance}
    spread_out = {name: spread(tensor, axes) for name, tensor in learned.items()}
    output = function(x, mean, variance, offset=spread_out.get("beta"), scale=spread_out.get("gamma"))
    return {"output": output, **statistics}


def start_mean(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    reduced = configuration.reduction_axes
    shape = [1 if axis in reduced else size for axis, size in enumerate(configuration.shape)]
    step = functools.partial(subtract, function, reduced, shape)
    return start_function(step, function.func, configuration, state, mode, device)


def subtract(function: Any, axes: Any, shape: Any, x: Any, learned: Any, moving: Any) -> Any:
    """Subtracts the moving mean, else the mean of x in the dtype of x, as one line of a user's does."""
    if moving:
        return {"output": x - tf.reshape(moving["moving_mean"], shape)}
    mean = function(x, axes)
    return {"output": x - mean, "batch_mean": mean}


def start_moments(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return SimpleNamespace(step=prepare(function, mode), mode=mode, device=device)


def no_state(live: Any) -> Quantities:
    return {}


def take_moments(live: Any, x: Any, upstream: Any) -> Quantities:
    with tf.device(live.device):
        mean, variance = live.step(tf.constant(x))
    return {"batch_mean": mean.numpy(), "batch_variance": variance.numpy()}


def start_centering(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with tf.device(device):
        layer = build()
        layer.moving_mean.assign(state["moving_mean"])
    step = prepare(functools.partial(differentiate, layer), mode)
    return SimpleNamespace(layer=layer, step=step, mode=mode, device=device)


def state_centering(live: Any) -> Quantities:
    return {"moving_mean": live.layer.moving_mean.numpy()}


def differentiate(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, training)
    if upstream is None:
        return {"output": output}
    return {"output": output, "grad_input": tape.gradient(output, x, output_gradients=upstream)}


def switch(frozen: bool, live: Any) -> None:
    live.layer.frozen = frozen
    live.step = prepare(functools.partial(differentiate, live.layer), live.mode)


CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="tf.nn.batch_normalization: mean and variance are arguments, at inference running averages of the moments",
)

FUNCTION = Implementation(
    name="tf.nn.batch_normalization",
    op="batch_norm",
    profile=(CALLER_STATE,),
    modes=MODES,
    devices=DEVICES,
    dtypes=DTYPES,
    supports=supports,
    call=call,
    start=start,
    state=state_function,
    steps=passes(run_function),
    given=("gamma", "beta", "moving_mean", "moving_variance"),
    timed=timed(timed_function),
    compilations=compilations,
    documentation="https://www.tensorflow.org/api_docs/python/tf/nn/batch_normalization",
    names={"gamma": "*/scale", "beta": "*/offset", "moving_mean": "*/mean", "moving_variance": "*/variance"},
)
CENTERING = replace(
    FUNCTION,
    name="tf.Centering",
    op="centering",
    profile=(),
    given=(),
    supports=supports_centering,
    call=call_centering,
    start=start_centering,
    state=state_centering,
    steps={
        "train": train_layer,
        "infer": infer_layer,
        "reload": reload_checkpoint,
        "freeze": functools.partial(switch, True),
        "unfreeze": functools.partial(switch, False),
    },
    timed=timed(timed_layer),
    documentation="",
)
MEAN = replace(
    FUNCTION,
    name="tf.reduce_mean",
    op="centering",
    profile=(replace(CALLER_STATE, where="tf.reduce_mean: returns the reduced tensor, and keeps nothing"),),
    supports=supports_centering,
    call=call_mean,
    start=start_mean,
    given=(),
    timed={},
    documentation="https://www.tensorflow.org/api_docs/python/tf/math/reduce_mean",
)
MOMENTS = replace(
    MEAN,
    name="tf.nn.moments",
    op="moments",
    profile=(),
    modes=("eager",),
    dtypes=("float32",),
    supports=supports_moments,
    call=call_moments,
    start=start_moments,
    state=no_state,
    steps={"infer": take_moments},
    compilations=None,
    documentation="https://www.tensorflow.org/api_docs/python/tf/nn/moments",
)

ADAPTER = Adapter(
    library="tensorflow",
    versions={"tensorflow": tf.__version__},
    settings=settings(),
    pool=pool(),
    implementations=(FUNCTION, CENTERING, MEAN, MOMENTS),
)

"""Legacy Keras: `tf_keras.layers.BatchNormalization`, fused where it can be, and unfused.

Beside it the functions of `tf_keras.backend`, and `tf.compat.v1.layers.BatchNormalization`, the layer of TensorFlow 1.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import tensorflow as tf
import tf_keras

from conformance.protocol import Call, Configuration, Declared, Quantities
from conformance_adapters.tensorflow._native import (
    passes,
    reload_checkpoint,
    run_function,
    start_function,
    state_function,
    timed,
    timed_function,
    timed_layer,
    train_layer,
)
from conformance_adapters.tf_keras._native import (
    FROZEN,
    LAYER,
    MOVING_CORRECTION,
    PAGES,
    adapter,
    call_layer,
    keywords,
    sgd_v1,
    start_layer,
    supports_layer,
)

PROCESSES = "tf-keras"


class Scheduled(tf_keras.layers.BatchNormalization):
    """Batch renormalization whose limits are variables, which Keras documents as scalar tensors."""

    def __init__(self, renorm_clipping: dict[str, float], **keywords: Any) -> None:
        limits = {name: tf.Variable(limit, trainable=False) for name, limit in renorm_clipping.items()}
        super().__init__(renorm_clipping=limits, **keywords)


class ScheduledV1(tf.compat.v1.layers.BatchNormalization):
    """The same of the layer of TensorFlow 1."""

    def __init__(self, renorm_clipping: dict[str, float], **keywords: Any) -> None:
        limits = {name: tf.Variable(limit, trainable=False) for name, limit in renorm_clipping.items()}
        super().__init__(renorm_clipping=limits, **keywords)


def supports_function(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`axis` is an integer, the axis that should be normalized"
    if configuration.rank == 4:
        return supports_layer(configuration)
    if configuration.parameter_dtype != configuration.dtype:
        return "operations between two dtypes raise InvalidArgumentError"
    return None


def call_v1(configuration: Configuration) -> Call:
    return Call(path="tensorflow.compat.v1.layers.BatchNormalization", keywords=keywords(configuration))


def call_renorm(layer: str, scheduled: str, configuration: Configuration) -> Call:
    options = configuration.options
    limits = {name: options[name] for name in ("rmin", "rmax", "dmax") if name in options}
    first = {name: limit[0] if isinstance(limit, tuple | list) else limit for name, limit in limits.items()}
    renorm = {"renorm": True, "renorm_clipping": first, "renorm_momentum": options["renorm_decay"]}
    return Call(path=layer if first == limits else scheduled, keywords={**keywords(configuration), **renorm})


def call_function(configuration: Configuration) -> Call:
    """The function of inference; training calls `normalize_batch_in_training` beside it."""
    return Call(
        path="tf_keras.backend.batch_normalization",
        keywords={"axis": configuration.feature_axes[0], "epsilon": configuration.epsilon},
        function=True,
    )


def start_renorm(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    live = start_layer(layer, configuration, state, mode, device)
    live.trained = 0
    return live


def train_renorm(live: Any, x: Any, upstream: Any) -> Quantities:
    """Limits that are variables are set before each step; the last of a list stays."""
    for name, limits in live.configuration.options.items():
        if isinstance(limits, tuple | list):
            live.layer.renorm_clipping[name].assign(limits[min(live.trained, len(limits) - 1)])
    live.trained += 1
    return train_layer(live, x, upstream)


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    reduced = configuration.reduction_axes
    spread = [1 if axis in reduced else -1 for axis in range(configuration.rank)]
    # `axis` places vectors where the rank is 4, and is ignored elsewhere: there they must broadcast by themselves.
    shape = [-1] if configuration.rank == 4 else spread
    step = functools.partial(normalize, function, list(reduced), shape)
    return start_function(step, function.func, configuration, state, mode, device)


def normalize(function: Any, axes: Any, shape: Any, x: Any, learned: Any, moving: Any) -> Any:
    """Normalizes with the moving values, else by the function for training."""
    gamma, beta = learned.get("gamma"), learned.get("beta")
    if not moving:
        epsilon = function.keywords["epsilon"]
        output, mean, variance = tf_keras.backend.normalize_batch_in_training(x, gamma, beta, axes, epsilon=epsilon)
        return {"output": output, "batch_mean": mean, "batch_variance": variance}
    shaped = {name: tf.reshape(tensor, shape) for name, tensor in {**learned, **moving}.items()}
    mean, variance = shaped["moving_mean"], shaped["moving_variance"]
    return {"output": function(x, mean, variance, shaped.get("beta"), shaped.get("gamma"))}


CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="tf_keras.backend.normalize_batch_in_training returns mean and variance; batch_normalization takes them",
)
V1 = {"reload": reload_checkpoint, "sgd": sgd_v1}
TIMED = replace(LAYER, timed=timed(timed_layer))
RENORM = replace(
    LAYER,
    name="tf_keras.layers.BatchNormalization+renorm",
    op="batch_renorm",
    profile=(FROZEN,),
    call=functools.partial(call_renorm, "tf_keras.layers.BatchNormalization", "Scheduled"),
    start=start_renorm,
    steps={**LAYER.steps, "train": train_renorm},
    documentation=PAGES + "compat/v1/layers/BatchNormalization",
)

ADAPTER = adapter(
    TIMED,
    replace(
        TIMED,
        name="tf_keras.layers.BatchNormalization+unfused",
        profile=(FROZEN,),
        call=functools.partial(call_layer, fused=False),
    ),
    replace(
        TIMED,
        name="tf.compat.v1.layers.BatchNormalization",
        profile=(MOVING_CORRECTION,),
        call=call_v1,
        steps={**LAYER.steps, **V1},
        documentation=PAGES + "compat/v1/layers/BatchNormalization",
    ),
    RENORM,
    replace(
        RENORM,
        name="tf.compat.v1.layers.BatchNormalization+renorm",
        profile=(),
        call=functools.partial(call_renorm, "tensorflow.compat.v1.layers.BatchNormalization", "ScheduledV1"),
        steps={**RENORM.steps, **V1},
    ),
    replace(
        LAYER,
        name="tf_keras.backend.batch_normalization",
        profile=(CALLER_STATE,),
        supports=supports_function,
        call=call_function,
        start=start,
        state=state_function,
        steps=passes(run_function),
        given=("gamma", "beta", "moving_mean", "moving_variance"),
        timed=timed(timed_function),
        documentation="",
    ),
)

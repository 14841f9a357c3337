"""Legacy Keras: `tf_keras.layers.LayerNormalization` and `GroupNormalization`; and TensorFlow's own functions, `tf.nn.moments` over each row."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
import tf_keras  # noqa: F401 - the call names it by its path

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.tensorflow._native import (
    infer_layer,
    passes,
    run_function,
    start_function,
    state_function,
    train_layer,
)
from conformance_adapters.tensorflow._process import once
from conformance_adapters.tf_keras._native import (
    LAYER,
    PAGES,
    adapter,
    built,
    differentiate,
    keywords,
    prepare_layer,
    reload_layer,
    sgd,
)

PROCESSES = "tf-keras"


def supports(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "the variables have the dtype of the layer"
    return None


def supports_function(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "operations between two dtypes raise InvalidArgumentError"
    return None


def call_layer_norm(configuration: Configuration) -> Call:
    given = keywords(configuration)
    del given["momentum"]
    return Call(path="tf_keras.layers.LayerNormalization", keywords=given)


def supports_group(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`axis` is an integer"
    if configuration.options.get("tracked"):
        return "there are no moving values"
    return supports(configuration)


def call_group(configuration: Configuration) -> Call:
    """With groups of -1 the layer is an instance normalization, as its page says."""
    given = {"groups": configuration.options.get("groups", -1), **call_layer_norm(configuration).keywords}
    return Call(path="tf_keras.layers.GroupNormalization", keywords=given)


def call_function(configuration: Configuration) -> Call:
    """The function that normalizes, to which `tf.nn.moments` hands mean and variance of each row."""
    return Call(
        path="tensorflow.nn.batch_normalization", keywords={"variance_epsilon": configuration.epsilon}, function=True
    )


def differentiate_rows(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    return differentiate(layer, layer, x, upstream)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    prepare = functools.partial(prepare_layer, differentiate_rows)
    make = functools.partial(built, layer, configuration.shape, mode, prepare)
    with tf.device(device):
        layer, step = once(make, type(layer), configuration, mode, device)
        for name, value in state.items():
            getattr(layer, name).assign(value)
    return SimpleNamespace(
        layer=layer, configuration=configuration, mode=mode, device=device, prepare=prepare, step=step, gradients={}
    )


def start_rows(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    spread = [size if axis in configuration.feature_axes else 1 for axis, size in enumerate(configuration.shape)]
    step = functools.partial(normalize, function, list(configuration.feature_axes), spread)
    return start_function(step, function.func, configuration, state, mode, device)


def normalize(function: Any, axes: Any, shape: Any, x: Any, learned: Any, moving: Any) -> Any:
    mean, variance = tf.nn.moments(x, axes, keepdims=True)
    shaped = {name: tf.reshape(tensor, shape) for name, tensor in learned.items()}
    return {"output": function(x, mean, variance, shaped.get("beta"), shaped.get("gamma"))}


ROWS = replace(
    LAYER,
    name="tf_keras.layers.LayerNormalization",
    op="layer_norm",
    profile=(),
    supports=supports,
    call=call_layer_norm,
    start=start,
    steps={"train": train_layer, "infer": infer_layer, "reload": reload_layer, "sgd": sgd},
    documentation=PAGES + "keras/layers/LayerNormalization",
)
GROUP = replace(
    ROWS,
    name="tf_keras.layers.GroupNormalization",
    op="group_norm",
    supports=supports_group,
    call=call_group,
    documentation=PAGES + "keras/layers/GroupNormalization",
)

ADAPTER = adapter(
    ROWS,
    GROUP,
    replace(GROUP, name="tf_keras.layers.GroupNormalization+instances", op="instance_norm"),
    replace(
        ROWS,
        name="tf.nn.moments+rows",
        supports=supports_function,
        call=call_function,
        start=start_rows,
        state=state_function,
        steps=passes(run_function),
        documentation="https://www.tensorflow.org/api_docs/python/tf/nn/moments",
    ),
)

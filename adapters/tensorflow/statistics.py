"""TensorFlow's statistics of a batch, and the gradient of a loss of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities
from conformance_adapters.tensorflow._native import arrays, pool, settings

PROCESSES = "tensorflow"

PAGES = "https://www.tensorflow.org/api_docs/python/tf/"


def supports_fused(configuration: Configuration) -> str | None:
    if configuration.rank != 4 or configuration.feature_axes != (3,):
        return "x is a tensor of 4 dimensions, the features last"
    return None


def call_moments(configuration: Configuration) -> Call:
    return Call(path="tensorflow.nn.moments", keywords={"axes": configuration.reduction_axes}, function=True)


def call_weighted(configuration: Configuration) -> Call:
    return Call(path="tensorflow.nn.weighted_moments", keywords={"axes": configuration.reduction_axes}, function=True)


def supports_present(configuration: Configuration) -> str | None:
    return "no page says that a NaN is a missing value" if configuration.options.get("missing", False) else None


def call_fused(configuration: Configuration) -> Call:
    return Call(path="tensorflow.raw_ops.FusedBatchNormV3", keywords={"is_training": True}, function=True)


def start(
    moments: Callable[..., Any], function: Any, configuration: Configuration, state: Quantities, mode: str, device: str
) -> Any:
    shape = [size if axis in configuration.feature_axes else 1 for axis, size in enumerate(configuration.shape)]
    return SimpleNamespace(moments=functools.partial(moments, function, configuration.feature_count), shape=shape)


def directly(function: Any, features: int, x: Any) -> Any:
    return function(x)


def with_weights(function: Any, features: int, x: Any, weights: Any) -> Any:
    return function(x, frequency_weights=weights)


def beside_output(function: Any, features: int, x: Any) -> Any:
    """What the op returns beside its output: "the computed batch mean" and "the computed batch variance"."""
    one, none = tf.ones(features), tf.constant([])
    return function(x=x, scale=one, offset=0 * one, mean=none, variance=none)[1:3]


def state(live: Any) -> Quantities:
    return {}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    """The loss is the sum of g·(mean + variance)."""
    x, pull = tf.constant(x), tf.constant(upstream)
    with tf.GradientTape() as tape:
        tape.watch(x)
        mean, variance = live.moments(x)
        loss = tf.reduce_sum(pull * tf.reshape(mean + variance, live.shape))
    gradient = tape.gradient(loss, x, unconnected_gradients="zero")
    return arrays({"batch_mean": mean, "batch_variance": variance, "grad_input": gradient})


def weigh(live: Any, x: Any, upstream: Any, weights: Any) -> Quantities:
    mean, variance = live.moments(tf.constant(x), tf.constant(weights))
    return arrays({"batch_mean": mean, "batch_variance": variance})


MOMENTS = Implementation(
    name="tf.nn.moments+loss",
    op="differentiated_moments",
    profile=(),
    modes=("eager",),
    dtypes=("float64", "float32"),
    supports=lambda configuration: None,
    call=call_moments,
    start=functools.partial(start, directly),
    state=state,
    steps={"train": train},
    documentation=PAGES + "nn/moments",
)

ADAPTER = Adapter(
    library="tensorflow",
    versions={"tensorflow": tf.__version__},
    settings=settings(),
    pool=pool(),
    implementations=(
        MOMENTS,
        replace(
            MOMENTS,
            name="tf.nn.weighted_moments",
            op="weighted_moments",
            supports=supports_present,
            call=call_weighted,
            start=functools.partial(start, with_weights),
            steps={"infer": weigh},
            documentation=PAGES + "nn/weighted_moments",
        ),
        replace(
            MOMENTS,
            name="tf.raw_ops.FusedBatchNormV3+loss",
            dtypes=("float32",),
            supports=supports_fused,
            call=call_fused,
            start=functools.partial(start, beside_output),
            documentation=PAGES + "raw_ops/FusedBatchNormV3",
        ),
    ),
)

"""TensorFlow's fused op: `tf.compat.v1.nn.fused_batch_norm` and `tf.raw_ops.FusedBatchNormV3`.

The first is asked for the new moving values, which its caller hands back in; the second for those of the batch.
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
    MODES,
    arrays,
    compilations,
    constant,
    passes,
    pool,
    prepare,
    settings,
    timed,
)
from conformance_adapters.tensorflow._process import once

PROCESSES = "tensorflow"

#: Our name -> TensorFlow's name for the same tensor.
NAMES = {"gamma": "scale", "beta": "offset", "moving_mean": "mean", "moving_variance": "variance"}
#: Rank and feature axis -> `data_format`.
FORMATS = {(4, 3): "NHWC", (4, 1): "NCHW", (5, 4): "NDHWC", (5, 1): "NCDHW"}


def supports(configuration: Configuration) -> str | None:
    if configuration.rank not in {4, 5}:
        return "x is a tensor of 4 or 5 dimensions"
    if len(configuration.feature_axes) != 1 or data_format(configuration) is None:
        return "`data_format` is NHWC or NCHW, NDHWC or NCDHW: the features are axis 1 or the last"
    if not (configuration.scale and configuration.center):
        return "`scale` and `offset` are tensors of one dimension, and neither can be left out"
    if configuration.parameter_dtype != "float32":
        return "scale, offset, mean and variance are float32 (attribute U), whatever the dtype of x"
    return None


def data_format(configuration: Configuration) -> str | None:
    return FORMATS.get((configuration.rank, configuration.feature_axes[0]))


def call(configuration: Configuration) -> Call:
    return Call(
        path="tensorflow.compat.v1.nn.fused_batch_norm",
        keywords={
            "epsilon": configuration.epsilon,
            "data_format": data_format(configuration),
            "exponential_avg_factor": 1 - configuration.decay,
        },
        function=True,
    )


def call_raw(configuration: Configuration) -> Call:
    """With the factor 1 the op returns mean and variance of the batch."""
    return Call(
        path="tensorflow.raw_ops.FusedBatchNormV3",
        keywords={
            "epsilon": configuration.epsilon,
            "data_format": data_format(configuration),
            "exponential_avg_factor": 1.0,
        },
        function=True,
    )


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with tf.device(device):
        tensors = {NAMES[name]: tf.Variable(value) for name, value in state.items()}
    step = functools.partial(differentiate, function)
    return SimpleNamespace(
        tensors=tensors,
        averages=configuration.decay > 0,
        step=once(functools.partial(prepare, step, mode), function.func, configuration, mode, device),
        mode=mode,
        device=device,
        gradients={},
    )


def state(live: Any) -> Quantities:
    return {ours: live.tensors[theirs].numpy() for ours, theirs in NAMES.items()}


def run(step: Any, live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    with tf.device(live.device):
        return arrays(step(live, tf.constant(x), constant(upstream), training))


def differentiate(function: Any, x: Any, upstream: Any, tensors: Any, training: bool) -> Any:
    """Quantities, and mean and variance as the op returns them."""
    sources = {"grad_input": x, "grad_gamma": tensors["scale"], "grad_beta": tensors["offset"]}
    with tf.GradientTape() as tape:
        tape.watch(sources)
        output, mean, variance, *_ = function(x=x, **tensors, is_training=training)
    statistics = {"mean": mean, "variance": variance}
    if upstream is None:
        return {"output": output}, statistics
    return {"output": output, **tape.gradient(output, sources, output_gradients=upstream)}, statistics


def step_moving(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    # exponential_avg_factor 1: "Mean must be None"
    asked = live.averages or not training
    arguments = live.tensors if asked else {**live.tensors, "mean": None, "variance": None}
    quantities, statistics = live.step(x, upstream, read(arguments), training)
    if training:
        live.gradients = quantities
        for name, value in statistics.items():
            live.tensors[name].assign(value)
    return quantities


def step_raw(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    # "Used for inference only; must be empty for training"
    empty = {"mean": tf.constant([]), "variance": tf.constant([])} if training else {}
    quantities, statistics = live.step(x, upstream, read({**live.tensors, **empty}), training)
    of_batch = {f"batch_{name}": value for name, value in statistics.items()} if training else {}
    return {**quantities, **of_batch}


def read(tensors: Any) -> Any:
    return {name: None if value is None else tf.convert_to_tensor(value) for name, value in tensors.items()}


def sgd(live: Any, learning_rate: float) -> None:
    pairs = [(live.gradients[f"grad_{name}"], live.tensors[NAMES[name]]) for name in ("gamma", "beta")]
    tf.compat.v1.train.GradientDescentOptimizer(learning_rate).apply_gradients(pairs)


DOCUMENTATION = "https://www.tensorflow.org/api_docs/python/tf/"
MOVING_CORRECTION = Declared(
    field="moving_correction",
    value=1,
    source="source code",
    where="tensorflow/core/kernels/fused_batch_norm_op.cc: Apply Bessel's correction: rest_size / (rest_size - 1)",
)
CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="tf.raw_ops.FusedBatchNormV3: batch_mean and batch_variance, to be used to compute the running values",
)
FUSED = Implementation(
    name="tf.compat.v1.nn.fused_batch_norm",
    op="batch_norm",
    profile=(MOVING_CORRECTION,),
    modes=MODES,
    devices=DEVICES,
    dtypes=("float32", "float16", "bfloat16"),
    supports=supports,
    call=call,
    start=start,
    state=state,
    steps={**passes(functools.partial(run, step_moving)), "sgd": sgd},
    given=tuple(NAMES),
    timed=timed(step_moving),
    compilations=compilations,
    documentation=DOCUMENTATION + "compat/v1/nn/fused_batch_norm",
)

RAW = replace(
    FUSED,
    name="tf.raw_ops.FusedBatchNormV3",
    profile=(CALLER_STATE,),
    call=call_raw,
    steps=passes(functools.partial(run, step_raw)),
    timed=timed(step_raw),
    documentation=DOCUMENTATION + "raw_ops/FusedBatchNormV3",
)

ADAPTER = Adapter(
    library="tensorflow",
    versions={"tensorflow": tf.__version__},
    settings=settings(),
    pool=pool(),
    implementations=(FUSED, RAW),
)

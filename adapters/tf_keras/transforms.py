"""Legacy Keras: virtual batches of the layers that offer them, `tf.recompute_grad`, and further derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tensorflow as tf

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.tensorflow._native import arrays, infer_layer, passes, train_layer
from conformance_adapters.tf_keras._native import (
    LAYER,
    MOVING_CORRECTION,
    PAGES,
    adapter,
    differentiate,
    keywords,
    learned,
    reload_layer,
    sgd_v1,
    start_layer,
    supports_layer,
)

PROCESSES = "tf-keras-alone"


def supports_single(configuration: Configuration) -> str | None:
    if 0 in configuration.feature_axes:
        return "one layer: a stack of them is mapped over"
    return supports_layer(configuration)


def call_virtual(configuration: Configuration, path: str) -> Call:
    size = configuration.options["virtual_batch"]
    return Call(path=path, keywords={**keywords(configuration), "virtual_batch_size": size})


def differentiate_recomputed(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    return differentiate(layer, tf.recompute_grad(functools.partial(layer, training=training)), x, upstream)


def run_further(live: Any, x: Any, upstream: Any, tangent: Any, training: bool) -> Quantities:
    with tf.device(live.device):
        return arrays(further(live.layer, tf.constant(x), tf.constant(upstream), tf.constant(tangent), training))


def further(layer: Any, x: Any, upstream: Any, tangent: Any, training: bool) -> Any:
    """One forward pass under an accumulator and two tapes, which differentiate it and each other's derivatives."""
    variables = learned(layer)
    none = {"unconnected_gradients": tf.UnconnectedGradients.ZERO}
    with tf.GradientTape(persistent=True) as outer:
        outer.watch((x, upstream))
        with tf.autodiff.ForwardAccumulator(x, tangent) as forward:
            with tf.GradientTape() as inner:
                inner.watch(x)
                output = layer(x, training=training)
            gradients = inner.gradient(output, {"grad_input": x, **variables}, output_gradients=upstream)
        along = forward.jvp(output, **none)
        orders = {"forward_over_reverse": forward.jvp(gradients["grad_input"], **none)}
    orders["reverse_over_forward"] = outer.gradient(along, x, output_gradients=upstream, **none)
    sources = {"second_grad_input": x, "second_grad_upstream": upstream}
    if "grad_gamma" in variables:
        sources["second_grad_gamma"] = variables["grad_gamma"]
    second = outer.gradient(gradients["grad_input"], sources, output_gradients=tangent, **none)
    return {"output": output, "tangent_output": along, **gradients, **orders, **second}


STEPS: dict[str, Callable[..., Any]] = {"train": train_layer, "infer": infer_layer, "sgd": sgd_v1}
VIRTUAL = replace(
    LAYER,
    name="tf_keras.layers.BatchNormalization+virtual",
    op="virtual_batch_norm",
    profile=(),
    call=functools.partial(call_virtual, path="tf_keras.layers.BatchNormalization"),
    steps={**STEPS, "reload": reload_layer},
)
TRANSFORMED = replace(
    LAYER,
    name="tf_keras.layers.BatchNormalization+recompute_grad",
    op="transformed_batch_norm",
    profile=(MOVING_CORRECTION,),
    supports=supports_single,
    start=functools.partial(start_layer, differentiate=differentiate_recomputed),
    steps=STEPS,
    documentation=PAGES + "recompute_grad",
)

ADAPTER = adapter(
    VIRTUAL,
    replace(
        VIRTUAL,
        name="tf.compat.v1.layers.BatchNormalization+virtual",
        call=functools.partial(call_virtual, path="tensorflow.compat.v1.layers.BatchNormalization"),
        steps=STEPS,
        documentation=PAGES + "compat/v1/layers/BatchNormalization",
    ),
    replace(
        TRANSFORMED,
        name="tf_keras.layers.BatchNormalization+derivatives",
        op="differentiated_batch_norm",
        modes=("eager",),
        start=start_layer,
        steps=passes(run_further),
        # Accumulators nest, but tracing the derivative of every operation's derivative takes seconds a shape.
        lacks=("forward_over_forward",),
        documentation=PAGES + "autodiff/ForwardAccumulator",
    ),
    TRANSFORMED,
    threaded=False,
)

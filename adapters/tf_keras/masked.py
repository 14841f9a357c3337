"""Legacy Keras's masks: `tf_keras.layers.BatchNormalization` called with `mask`, fused where it can be, and not."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import tensorflow as tf

from conformance.protocol import Quantities
from conformance_adapters.tensorflow._native import arrays, constant, passes
from conformance_adapters.tf_keras._native import (
    FREEZING,
    FROZEN,
    LAYER,
    adapter,
    call_layer,
    differentiate,
    start_layer,
)

PROCESSES = "tf-keras"


def differentiate_masked(layer: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Any:
    return differentiate(layer, functools.partial(layer, training=training, mask=mask), x, upstream)


def run(live: Any, x: Any, upstream: Any, mask: Any = None, *, training: bool) -> Quantities:
    """The mask as it is: the layer adds a last dimension to it."""
    with tf.device(live.device):
        return arrays(live.step(tf.constant(x), constant(upstream), constant(mask), training))


MASKED = replace(
    LAYER,
    name="tf_keras.layers.BatchNormalization+mask",
    op="masked_batch_norm",
    start=functools.partial(start_layer, differentiate=differentiate_masked),
    steps={**passes(run), **FREEZING},
)

ADAPTER = adapter(
    MASKED,
    replace(
        MASKED,
        name="tf_keras.layers.BatchNormalization+mask+unfused",
        profile=(FROZEN,),
        call=functools.partial(call_layer, fused=False),
    ),
    replace(
        MASKED,
        name="tf_keras.layers.BatchNormalization+mask+synchronized",
        profile=(FROZEN,),
        # Statistics over replicas, of which there is one here: another algorithm, by sums of squares.
        call=functools.partial(call_layer, synchronized=True),
    ),
)

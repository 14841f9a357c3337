"""Legacy Keras's masks: `tf_keras.layers.BatchNormalization` called with `mask`, fused where it can be, and not."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import tensorflow as tf

from conformance.protocol import Adapter, Implementation, Quantities
from conformance_adapters.tensorflow._native import (
    DEVICES,
    DTYPES,
    MODES,
    arrays,
    compilations,
    constant,
    numerics,
    pool,
    threads,
)
from conformance_adapters.tf_keras._native import (
    FROZEN,
    KERAS,
    MOVING_CORRECTION,
    PAGES,
    VERSIONS,
    call_layer,
    differentiate,
    freeze,
    start_layer,
    state_layer,
    supports_layer,
    unfreeze,
)

PROCESSES = "tf-keras"


def differentiate_masked(layer: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Any:
    return differentiate(layer, functools.partial(layer, training=training, mask=mask), x, upstream)


def train(live: Any, x: Any, upstream: Any, mask: Any = None) -> Quantities:
    """The mask as it is: the layer adds a last dimension to it."""
    return run(live, x, upstream, mask, training=True)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, upstream, None, training=False)


def run(live: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Quantities:
    with tf.device(live.device):
        return arrays(live.step(tf.constant(x), constant(upstream), constant(mask), training))


MASKED = Implementation(
    name="tf_keras.layers.BatchNormalization+mask",
    op="masked_batch_norm",
    profile=(FROZEN, MOVING_CORRECTION),
    modes=MODES,
    devices=DEVICES,
    dtypes=DTYPES,
    supports=supports_layer,
    call=call_layer,
    start=functools.partial(start_layer, differentiate=differentiate_masked),
    state=state_layer,
    steps={"train": train, "infer": infer, "freeze": freeze, "unfreeze": unfreeze},
    compilations=compilations,
    documentation=PAGES + "keras/layers/BatchNormalization",
)

ADAPTER = Adapter(
    library="tf_keras",
    versions=VERSIONS,
    settings={**KERAS, **threads(), **numerics()},
    pool=pool(),
    implementations=(
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
    ),
)

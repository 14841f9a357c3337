"""Keras 3's masks: `keras.layers.BatchNormalization` called with `mask`, on the backend of the process."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import keras

from conformance.protocol import Quantities
from conformance_adapters.keras._backend import BACKEND, differentiate
from conformance_adapters.keras._native import (
    FREEZING,
    LAYER,
    adapter,
    array,
    learned,
    passes,
    prepare,
    pulled,
    start_layer,
    tensor,
)

PROCESSES = "keras"


def prepare_masked(layer: Any, mode: str) -> Any:
    return prepare(layer, mode, differentiate_masked, differentiate_masked_pure)


def forward_masked(layer: Any, training: bool, mask: Any, x: Any) -> Any:
    return {"output": layer(x, training=training, mask=mask)}


def differentiate_masked(layer: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Any:
    return differentiate(functools.partial(forward_masked, layer, training, mask), x, upstream, learned(layer))


def differentiate_masked_pure(
    layer: Any, trainable: Any, others: Any, x: Any, upstream: Any, mask: Any, training: bool
) -> Any:
    def forward(x: Any, trainable: Any) -> Any:
        return layer.stateless_call(trainable, others, x, training=training, mask=mask)

    return pulled(layer, forward, x, upstream, trainable)


def run(live: Any, x: Any, upstream: Any, mask: Any = None, *, training: bool) -> Quantities:
    """The mask as it is: the layer asks for one dimension less than the inputs."""
    with keras.device(live.device):
        quantities = live.step(tensor(x), tensor(upstream), tensor(mask), training=training)
    return {name: array(value) for name, value in quantities.items()}


ADAPTER = adapter(
    replace(
        LAYER,
        name=f"keras.layers.BatchNormalization+mask+{BACKEND}",
        op="masked_batch_norm",
        start=functools.partial(start_layer, prepare=prepare_masked),
        steps={**passes(run), **FREEZING},
    )
)

"""Keras 3's batch normalization computed again in the backward pass, called twice, and as a stateless call."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import Any

import keras

from conformance.protocol import Adapter, Configuration, Quantities
from conformance_adapters.keras._backend import BACKEND, MODES, compiled, differentiate, pool, switches, versions
from conformance_adapters.keras._native import (
    DOCUMENTATION,
    LAYER,
    array,
    assign,
    infer_layer,
    learned,
    prepare,
    pulled,
    run_layer,
    sgd,
    start_layer,
    train_layer,
    values,
)

PROCESSES = "keras-alone"


def prepare_remat(layer: Any, mode: str) -> Any:
    return prepare(layer, mode, differentiate_remat, differentiate_remat_pure)


def forward_remat(layer: Any, training: bool, x: Any) -> Any:
    return {"output": keras.remat(functools.partial(layer, training=training))(x)}


def differentiate_remat(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    return differentiate(functools.partial(forward_remat, layer, training), x, upstream, learned(layer))


def differentiate_remat_pure(layer: Any, trainable: Any, others: Any, x: Any, upstream: Any, training: bool) -> Any:
    def forward(x: Any, trainable: Any) -> Any:
        return layer.stateless_call(trainable, others, x, training=training)

    return pulled(layer, keras.remat(forward), x, upstream, trainable)


def start_shared(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    size = configuration.options["virtual_batch"]
    return start_layer(layer, configuration, state, mode, device, functools.partial(prepare_shared, size))


def prepare_shared(size: int, layer: Any, mode: str) -> Any:
    return prepare(
        layer, mode, functools.partial(differentiate_shared, size), functools.partial(differentiate_shared_pure, size)
    )


def in_parts(size: int, layer: Any, training: bool, x: Any) -> Any:
    """One step that calls the layer on one part after another."""
    parts = keras.ops.split(x, x.shape[0] // size) if training and x.shape[0] else [x]
    return {"output": keras.ops.concatenate([layer(part, training=training) for part in parts])}


def differentiate_shared(size: int, layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    return differentiate(functools.partial(in_parts, size, layer, training), x, upstream, learned(layer))


def differentiate_shared_pure(
    size: int, layer: Any, trainable: Any, others: Any, x: Any, upstream: Any, training: bool
) -> Any:
    variables = [*layer.trainable_variables, *layer.non_trainable_variables]

    def forward(x: Any, trainable: Any) -> Any:
        with keras.StatelessScope(zip(variables, [*trainable, *others], strict=True)) as scope:
            output = in_parts(size, layer, training, x)["output"]
        return output, [scope.get_current_value(variable) for variable in layer.non_trainable_variables]

    return pulled(layer, forward, x, upstream, trainable)


def start_scope(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    """A layer takes the scope it is made in."""
    with keras.device(device), keras.RematScope(mode="full"):
        layer = type(layer).from_config(layer.get_config())
    return start_layer(layer, configuration, state, mode, device)


def prepare_stateless(layer: Any, mode: str) -> Any:
    return compiled(functools.partial(differentiate_stateless, layer), mode)


def forward_stateless(layer: Any, training: bool, moved: list[Any], x: Any) -> Any:
    output, after = layer.stateless_call(*values(layer), x, training=training)
    moved.extend(after)
    return {"output": output}


def differentiate_stateless(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    """Beside the quantities what the variables become that are not trained: the caller assigns it."""
    moved: list[Any] = []
    forward = functools.partial(forward_stateless, layer, training, moved)
    return differentiate(forward, x, upstream, learned(layer)), moved


def train_stateless(live: Any, x: Any, upstream: Any) -> Quantities:
    live.gradients = run_stateless(live, x, upstream, training=True)
    return {name: array(value) for name, value in live.gradients.items()}


def infer_stateless(live: Any, x: Any, upstream: Any) -> Quantities:
    return {name: array(value) for name, value in run_stateless(live, x, upstream, training=False).items()}


def run_stateless(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    quantities, moved = run_layer(live, x, upstream, training)
    assign(live.layer, moved)
    return quantities


REMAT = replace(
    LAYER,
    name=f"keras.layers.BatchNormalization+remat+{BACKEND}",
    op="transformed_batch_norm",
    profile=(),
    modes=MODES if BACKEND == "tensorflow" else ("eager",),
    start=functools.partial(start_layer, prepare=prepare_remat),
    steps={"train": train_layer, "infer": infer_layer, "sgd": sgd},
    documentation=DOCUMENTATION + "utils/remat/",
)
SCOPE = replace(REMAT, name=f"keras.layers.BatchNormalization+RematScope+{BACKEND}", start=start_scope)
STATELESS = replace(
    REMAT,
    name=f"keras.layers.BatchNormalization+stateless_call+{BACKEND}",
    start=functools.partial(start_layer, prepare=prepare_stateless),
    steps={"train": train_stateless, "infer": infer_stateless, "sgd": sgd},
    documentation=DOCUMENTATION + "layers/base_layer/",
)
SHARED = replace(
    REMAT,
    name=f"keras.layers.BatchNormalization+shared+{BACKEND}",
    op="virtual_batch_norm",
    modes=("eager",),
    start=start_shared,
    documentation=LAYER.documentation,
)

ADAPTER = Adapter(
    library="keras",
    versions=versions(),
    settings={
        "backend": BACKEND,
        "floatx": keras.config.floatx(),
        "image data format": keras.config.image_data_format(),
        **switches(),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    pool=pool(),
    # On JAX the ordinary rows are stateless calls already.
    implementations=(REMAT, SCOPE, SHARED) if BACKEND == "jax" else (REMAT, SCOPE, SHARED, STATELESS),
)

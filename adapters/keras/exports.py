"""Keras 3 on its way out: a model of the layer exported as a SavedModel, which TensorFlow loads without Keras."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from typing import Any

import tensorflow as tf

from conformance.protocol import Configuration, Quantities
from conformance_adapters.keras._backend import BACKEND, differentiate
from conformance_adapters.keras._native import DOCUMENTATION, LAYER, adapter, array, model_of, start_layer, tensor

PROCESSES = "keras-exports"


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    live = start_layer(layer, configuration, state, mode, device)
    with tempfile.TemporaryDirectory() as folder:
        model_of(live).export(folder, verbose=False)
        live.loaded = tf.saved_model.load(folder)
    return live


def serve(live: Any, x: Any) -> Any:
    return {"output": live.loaded.serve(x)}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities = differentiate(functools.partial(serve, live), tensor(x), tensor(upstream), {})
    return {name: array(value) for name, value in quantities.items()}


ADAPTER = adapter(
    replace(
        LAYER,
        name=f"keras.layers.BatchNormalization+export+{BACKEND}",
        modes=("eager",),
        start=start,
        steps={"infer": infer},
        # The program has constants and variables of its own, and names none of them gamma.
        lacks=("grad_gamma", "grad_beta"),
        compilations=None,
        documentation=DOCUMENTATION + "models/model_saving_apis/export/",
    )
)

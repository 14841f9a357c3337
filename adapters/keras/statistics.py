"""Keras 3's `keras.ops.moments`, and the gradient of a loss of them, on the backend of the process."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import keras

from conformance.protocol import Call, Configuration, Implementation, Quantities
from conformance_adapters.keras._backend import BACKEND, DTYPES, differentiate, differentiate_jax
from conformance_adapters.keras._native import DOCUMENTATION, adapter, array, tensor

PROCESSES = "keras-alone"


def call(configuration: Configuration) -> Call:
    return Call(path="keras.ops.moments", keywords={"axes": configuration.reduction_axes}, function=True)


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    shape = tuple(size if axis in configuration.feature_axes else 1 for axis, size in enumerate(configuration.shape))
    return SimpleNamespace(forward=functools.partial(forward, function, shape), device=device)


def state(live: Any) -> Quantities:
    return {}


def forward(function: Any, shape: tuple[int, ...], x: Any) -> Any:
    """The moments, and their sum where every value of the input has one: its gradient is asked for."""
    mean, variance = function(x)
    output = keras.ops.broadcast_to(keras.ops.reshape(mean + variance, shape), x.shape)
    return {"output": output, "batch_mean": mean, "batch_variance": variance}


def forward_jax(forward: Any, x: Any, learned: Any) -> Any:
    quantities = forward(x)
    return quantities.pop("output"), quantities


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    with keras.device(live.device):
        x, upstream = tensor(x), tensor(upstream)
        if BACKEND == "jax":
            quantities, _, statistics = differentiate_jax(functools.partial(forward_jax, live.forward), x, upstream, ())
            quantities = {**quantities, **statistics}
        else:
            quantities = differentiate(live.forward, x, upstream, {})
    return {name: array(value) for name, value in quantities.items() if name != "output"}


ADAPTER = adapter(
    Implementation(
        name=f"keras.ops.moments+loss+{BACKEND}",
        op="differentiated_moments",
        profile=(),
        modes=("eager",),
        dtypes=tuple(dtype for dtype in DTYPES if dtype in ("float32", "float64")),
        supports=lambda configuration: None,
        call=call,
        start=start,
        state=state,
        steps={"train": train},
        documentation=DOCUMENTATION + "ops/nn/",
    )
)

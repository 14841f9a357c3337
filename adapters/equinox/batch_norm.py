"""Equinox: `equinox.nn.BatchNorm` in its two modes, "ema" and "batch"."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from conformance.protocol import Call, Configuration, Declared, Quantities
from conformance_adapters.equinox._native import CALL, EMA, call_ema, leaves, over_batch, supports_channels, with_leaves
from conformance_adapters.jax._native import (
    adapter,
    differentiate,
    prepare,
    row,
    supports_dtype,
    timed,
    with_gradients,
    with_keywords,
)

PROCESSES = "jax"

#: Inference divides the statistics of mode "batch" by 1 - momentum**counter: after so many batches that is 1, and they
#: are what they were set to.
LONG_TRAINED = 2**20


def supports(configuration: Configuration) -> str | None:
    if reason := supports_channels(configuration):
        return reason
    if not 0 < configuration.decay < 1:
        return "`momentum` should be a value between 0 and 1 exclusive"
    if configuration.parameter_dtype != configuration.dtype:
        return "`dtype` is that of the running statistics, weight and bias, and the output is promoted to it"
    return supports_dtype(configuration)


def call_batch(configuration: Configuration) -> Call:
    return with_keywords(call_ema(configuration), mode="batch")


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    layer, stored = built(build, device)
    values = jax.device_put(state, device)
    layer = with_leaves(layer, values)
    stored = stored.set(statistics(layer), (values["moving_mean"], values["moving_variance"]))
    if layer.mode == "batch" and not fresh(state):
        stored = stored.set(layer.batch_counter, jnp.asarray(LONG_TRAINED, device=device))
    return SimpleNamespace(
        build=build,
        layer=layer,
        stored=stored,
        step=prepare(step, (), configuration, mode, eqx.filter_jit, layer.mode),
        mode=mode,
        device=device,
        gradients=None,
    )


def fresh(state: Quantities) -> bool:
    """Whether the moving values are those of a layer that has seen no batch."""
    return bool(np.all(state["moving_mean"] == 0) and np.all(state["moving_variance"] == 1))


def built(build: Any, device: Any) -> Any:
    """A fresh layer and its state."""
    with jax.default_device(device):
        return eqx.nn.make_with_state(build)()


def statistics(layer: Any) -> Any:
    """Where the state has the pair of running statistics."""
    return layer.ema_state_index if layer.mode == "ema" else layer.batch_state_index


def state(live: Any) -> Quantities:
    mean, variance = live.stored.get(statistics(live.layer))
    if live.layer.mode == "batch":
        # What inference divides by: equinox/nn/_batch_norm.py, BatchNorm.__call__.
        counter = live.stored.get(live.layer.batch_counter)
        scale = jnp.where(counter == 0, 1, 1 - live.layer.momentum**counter)
        mean, variance = mean / scale, variance / scale
    values = {"moving_mean": mean, "moving_variance": variance, **leaves(live.layer)}
    return {name: np.asarray(value) for name, value in values.items()}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, live.gradients, live.stored = run(live, live.layer, x, upstream)
    return with_gradients(quantities, leaves(live.gradients))


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, _ = run(live, eqx.nn.inference_mode(live.layer), x, upstream)
    return with_gradients(quantities, leaves(gradients))


def run(live: Any, layer: Any, x: Any, upstream: Any) -> Any:
    x, upstream = jax.device_put((x, upstream), live.device)
    # The layer makes a flag of its own while it trains.
    with jax.default_device(live.device):
        return live.step(layer, live.stored, x, upstream)


def step(layer: Any, stored: Any, x: Any, upstream: Any) -> Any:
    """Quantities, gradients of the layer's leaves, and the state after one call."""

    def forward(layer: Any, x: Any) -> Any:
        return over_batch(layer, x, stored)

    return differentiate(forward, layer, x, upstream, eqx.filter_vjp)


def reload(live: Any) -> Any:
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, (live.layer, live.stored))
    file.seek(0)
    with jax.default_device(live.device):
        live.layer, live.stored = eqx.tree_deserialise_leaves(file, built(live.build, live.device))
    return live


def sgd(live: Any, learning_rate: float) -> None:
    optimizer = optax.sgd(learning_rate)
    updates, _ = optimizer.update(live.gradients, optimizer.init(eqx.filter(live.layer, eqx.is_inexact_array)))
    live.layer = eqx.apply_updates(live.layer, updates)


def compilations_filtered(live: Any) -> int:
    return int(live.step._cached._cache_size()) if live.mode == "compiled" else 0


DEBIASED = Declared(
    field="update",
    value="zero_debiased",
    source="source code",
    where=CALL + "Zero-debias approach: mean = hidden_mean / (1 - momentum^counter)",
)
LAYER = row(
    name="equinox.nn.BatchNorm+ema",
    profile=EMA,
    supports=supports,
    call=call_ema,
    start=start,
    state=state,
    steps={"train": train, "infer": infer, "reload": reload, "sgd": sgd},
    timed=timed(train, infer),
    compilations=compilations_filtered,
    documentation="https://docs.kidger.site/equinox/api/nn/normalisation/#equinox.nn.BatchNorm",
    # The moving values are a pair in the state that `make_with_state` returns beside the layer.
    names={
        "gamma": "*.weight",
        "beta": "*.bias",
        "moving_mean": "*.ema_state_index.0",
        "moving_variance": "*.ema_state_index.1",
    },
)

ADAPTER = adapter(
    "equinox",
    {"equinox": eqx.__version__},
    LAYER,
    replace(
        LAYER,
        name="equinox.nn.BatchNorm+batch",
        profile=(DEBIASED,),
        call=call_batch,
        # Its moving values are kept biased, beside the counter that they are divided by.
        names={"gamma": "*.weight", "beta": "*.bias"},
    ),
)

"""Flax's linen: `flax.linen.BatchNorm`, with `use_fast_variance` as it is by default and switched off, and with masks."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.flax._native import (
    FLAX,
    FLAX_NAMES,
    PROFILE_LINEN,
    by_our_names,
    call_linen,
    reload_linen,
    run_linen,
    sgd_linen,
    state_linen,
    step_linen,
    train_linen,
    variables_of,
)
from conformance_adapters.jax._native import adapter, prepare, row, supports_dtype, timed, with_gradients, with_keywords

PROCESSES = "jax"


def call_two_pass(configuration: Configuration) -> Call:
    return with_keywords(call_linen(configuration), use_fast_variance=False)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    initialize = functools.partial(layer.init, use_running_average=True)
    x = jax.ShapeDtypeStruct(configuration.shape, jnp.dtype(configuration.dtype))
    collections = jax.eval_shape(initialize, jax.random.key(0), x)
    stored = {name: variable for collection in collections.values() for name, variable in collection.items()}
    values = {name: value.astype(stored[FLAX_NAMES[name]].dtype) for name, value in state.items()}
    return SimpleNamespace(
        variables=variables_of(values, device),
        step=prepare(step_linen, (layer,), configuration, mode),
        mode=mode,
        device=device,
        feature_axes=configuration.feature_axes,
        gradients={},
    )


def train_masked(live: Any, x: Any, upstream: Any, mask: Any = None) -> Quantities:
    """The mask in a shape broadcastable to that of the input, where there is one."""
    spread = None if mask is None else np.expand_dims(mask, live.feature_axes)
    return train_linen(live, x, upstream, mask=spread)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, _ = run_linen(live, x, upstream, training=False)
    return with_gradients(quantities, by_our_names(gradients))


LAYER = row(
    name="flax.linen.BatchNorm",
    profile=PROFILE_LINEN,
    supports=supports_dtype,
    call=call_linen,
    start=start,
    state=state_linen,
    steps={"train": train_linen, "infer": infer, "reload": reload_linen, "sgd": sgd_linen},
    timed=timed(train_linen, infer),
    documentation="https://flax.readthedocs.io/en/latest/api_reference/flax.linen/layers.html#flax.linen.BatchNorm",
    names={
        ours: f"{'batch_stats' if ours.startswith('moving') else 'params'}/*/{theirs}"
        for ours, theirs in FLAX_NAMES.items()
    },
)
MASKED = replace(
    LAYER, name="flax.linen.BatchNorm+mask", op="masked_batch_norm", steps={**LAYER.steps, "train": train_masked}
)

ADAPTER = adapter(
    "flax",
    FLAX,
    LAYER,
    replace(LAYER, name="flax.linen.BatchNorm+two_pass", call=call_two_pass),
    MASKED,
    replace(MASKED, name="flax.linen.BatchNorm+mask+two_pass", call=call_two_pass),
)

"""Flax's `flax.nnx.BatchNorm`, which keeps its state, through the transformations of nnx: remat, vmap over a stack; and called twice."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.flax._native import (
    FLAX,
    SINGLE_NNX,
    axis_within,
    begun_nnx,
    call_nnx,
    compilations_nnx,
    differentiate_nnx,
    infer_nnx,
    sgd_nnx,
    state_nnx,
    supports_stack,
    train_nnx,
)
from conformance_adapters.jax._native import adapter, row, supports_dtype, with_keywords

PROCESSES = "jax-alone"


def supports(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1 or configuration.feature_axes[0] == 0:
        return "one layer with one feature axis: a stack of them is mapped over"
    return supports_dtype(configuration)


def call(configuration: Configuration) -> Call:
    """Two passes, as for linen."""
    return with_keywords(call_nnx(configuration), axis=axis_within(configuration), use_fast_variance=False)


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str, transform: Any) -> Any:
    device = jax.devices(device)[0]
    with jax.default_device(device):
        layer = built(build, configuration)
    return begun_nnx(layer, transform, configuration, state, mode, device)


def built(build: Any, configuration: Configuration) -> Any:
    """A layer, or a stack of them."""
    if configuration.feature_axes[0] != 0:
        return build(rngs=nnx.Rngs(0))
    keys = jax.random.split(jax.random.key(0), configuration.shape[0])
    return nnx.vmap(lambda key: build(rngs=nnx.Rngs(key)))(keys)


def rematted(layer: Any, x: Any, upstream: Any) -> Any:
    return differentiate_nnx(nnx.remat(forward), layer, x, upstream)


def mapped(layer: Any, x: Any, upstream: Any) -> Any:
    return differentiate_nnx(nnx.vmap(forward), layer, x, upstream)


def forward(layer: Any, x: Any) -> Any:
    return layer(x)


def start_shared(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    size = configuration.options["virtual_batch"]
    return start(build, configuration, state, mode, device, functools.partial(shared, size))


def shared(size: int, layer: Any, x: Any, upstream: Any) -> Any:
    """One step that calls the layer on one part after another."""
    count = 1 if layer.use_running_average else max(x.shape[0] // size, 1)

    def in_parts(layer: Any, x: Any) -> Any:
        return jnp.concatenate([layer(part) for part in jnp.split(x, count)])

    return differentiate_nnx(in_parts, layer, x, upstream)


DOCUMENTATION = "https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/transforms.html#"
REMAT = row(
    name="flax.nnx.BatchNorm+remat",
    op="transformed_batch_norm",
    profile=(SINGLE_NNX,),
    supports=supports,
    call=call,
    start=functools.partial(start, transform=rematted),
    state=state_nnx,
    steps={"train": train_nnx, "infer": infer_nnx, "sgd": sgd_nnx},
    compilations=compilations_nnx,
    documentation=DOCUMENTATION + "flax.nnx.remat",
)

ADAPTER = adapter(
    "flax",
    FLAX,
    REMAT,
    replace(
        REMAT,
        name="flax.nnx.BatchNorm+vmap",
        supports=supports_stack,
        start=functools.partial(start, transform=mapped),
        documentation=DOCUMENTATION + "flax.nnx.vmap",
    ),
    replace(
        REMAT,
        name="flax.nnx.BatchNorm+shared",
        op="virtual_batch_norm",
        modes=("compiled",),
        start=start_shared,
        documentation=DOCUMENTATION + "flax.nnx.vjp",
    ),
)

"""Equinox: `equinox.nn.LayerNorm` and `RMSNorm`, mapped over every axis that they do not normalize, and `GroupNorm`."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.equinox._native import leaves, with_leaves
from conformance_adapters.jax._native import adapter, differentiate, prepare, row, supports_dtype, with_gradients

PROCESSES = "jax"


def supports(configuration: Configuration) -> str | None:
    rank, count = configuration.rank, len(configuration.feature_axes)
    if configuration.feature_axes != tuple(range(rank - count, rank)):
        return "`shape` is that of what the layer is called with, which within `vmap` are the last axes"
    return supports_dtype(configuration)


def supports_rms(configuration: Configuration) -> str | None:
    if any(configuration.options.values()):
        return "the weight multiplies as it is, before the result is rounded, and eps is inside the root"
    return supports(configuration)


def supports_group(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "within `vmap` a sample has the shape (channels, ...)"
    if configuration.scale != configuration.center:
        return "`channelwise_affine` switches weight and bias together"
    return supports_dtype(configuration)


def call_group(configuration: Configuration) -> Call:
    return Call(
        path="equinox.nn.GroupNorm",
        keywords={
            "groups": configuration.options["groups"],
            "channels": configuration.feature_count,
            "eps": configuration.epsilon,
            "channelwise_affine": configuration.scale,
            "dtype": configuration.parameter_dtype,
        },
        function=True,
    )


def call(path: str, configuration: Configuration) -> Call:
    return Call(
        path=path,
        keywords={
            "shape": configuration.features,
            "eps": configuration.epsilon,
            "use_weight": configuration.scale,
            "use_bias": configuration.center,
            "dtype": configuration.parameter_dtype,
        },
        function=True,
    )


def call_layer(configuration: Configuration) -> Call:
    return call("equinox.nn.LayerNorm", configuration)


def call_rms(configuration: Configuration) -> Call:
    return call("equinox.nn.RMSNorm", configuration)


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    with jax.default_device(device):
        layer = with_leaves(build(), jax.device_put(state, device))
    return SimpleNamespace(
        build=build,
        layer=layer,
        step=prepare(step, (), configuration, mode, eqx.filter_jit, (build.func, mapped_axes(configuration))),
        mode=mode,
        device=device,
        mapped=mapped_axes(configuration),
        gradients=None,
    )


def mapped_axes(configuration: Configuration) -> int:
    """How many leading axes the layer is mapped over: those of the samples where it has groups."""
    return 1 if configuration.op == "group_norm" else len(configuration.reduction_axes)


def state(live: Any) -> Quantities:
    return {name: np.asarray(value) for name, value in leaves(live.layer).items()}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, live.gradients = run(live, x, upstream)
    return quantities


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, _ = run(live, x, upstream)
    return quantities


def run(live: Any, x: Any, upstream: Any) -> tuple[Quantities, Any]:
    """The quantities, and the gradients of the layer's leaves."""
    x, upstream = jax.device_put((x, upstream), live.device)
    quantities, gradients, _ = live.step(live.layer, x, upstream, live.mapped)
    return with_gradients(quantities, leaves(gradients) if upstream is not None else {}), gradients


def step(layer: Any, x: Any, upstream: Any, mapped: int) -> Any:
    """Quantities and gradients of the layer's leaves, of one call mapped over so many axes."""

    def forward(layer: Any, x: Any) -> Any:
        call = layer
        for _ in range(mapped):
            call = jax.vmap(call)
        return call(x), None

    return differentiate(forward, layer, x, upstream, eqx.filter_vjp)


def reload(live: Any) -> Any:
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, live.layer)
    file.seek(0)
    live.layer = eqx.tree_deserialise_leaves(file, live.build())
    return live


def sgd(live: Any, learning_rate: float) -> None:
    optimizer = optax.sgd(learning_rate)
    updates, _ = optimizer.update(live.gradients, optimizer.init(eqx.filter(live.layer, eqx.is_inexact_array)))
    live.layer = eqx.apply_updates(live.layer, updates)


def compilations_filtered(live: Any) -> int:
    return int(live.step._cached._cache_size()) if live.mode == "compiled" else 0


PAGE = "https://docs.kidger.site/equinox/api/nn/normalisation/#equinox.nn."
LAYER = row(
    name="equinox.nn.LayerNorm",
    op="layer_norm",
    supports=supports,
    call=call_layer,
    start=start,
    state=state,
    steps={"train": train, "infer": infer, "reload": reload, "sgd": sgd},
    compilations=compilations_filtered,
    documentation=PAGE + "LayerNorm",
    names={"gamma": "*.weight", "beta": "*.bias"},
)

ADAPTER = adapter(
    "equinox",
    {"equinox": eqx.__version__},
    LAYER,
    replace(
        LAYER,
        name="equinox.nn.RMSNorm",
        op="rms_norm",
        supports=supports_rms,
        call=call_rms,
        documentation=PAGE + "RMSNorm",
    ),
    replace(
        LAYER,
        name="equinox.nn.GroupNorm",
        op="group_norm",
        supports=supports_group,
        call=call_group,
        documentation=PAGE + "GroupNorm",
    ),
)

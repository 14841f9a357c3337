"""Flax's linen: `flax.linen.LayerNorm`, `RMSNorm`, `GroupNorm` and `InstanceNorm`; layer and group norm two-pass as well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flax
import jax
import jax.numpy as jnp

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.flax._native import FLAX, FLAX_NAMES, by_our_names
from conformance_adapters.jax._native import (
    adapter,
    begun_pure,
    infer_pure,
    row,
    sgd_pure,
    state_pure,
    supports_dtype,
    train_pure,
    with_keywords,
)

PROCESSES = "jax"


def supports_rms(configuration: Configuration) -> str | None:
    if configuration.center:
        return "there is a scale and no bias"
    if any(configuration.options.values()):
        return "the scale multiplies as it is, before the result is rounded, and epsilon is inside the root"
    return supports_dtype(configuration)


def supports_last(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (configuration.rank - 1,):
        return "the reduction axes include the last one, which is the feature axis"
    if configuration.options.get("tracked"):
        return "there are no moving values"
    return supports_dtype(configuration)


def supports_instance(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1 or configuration.options.get("tracked"):
        return "there are no moving values, and one axis of features"
    return supports_dtype(configuration)


def call_rms(configuration: Configuration) -> Call:
    return Call(
        path="flax.linen.RMSNorm",
        keywords={
            "epsilon": configuration.epsilon,
            "dtype": configuration.dtype,
            "param_dtype": configuration.parameter_dtype,
            "use_scale": configuration.scale,
            "reduction_axes": configuration.feature_axes,
            "feature_axes": configuration.feature_axes,
        },
    )


def call_layer(configuration: Configuration) -> Call:
    keywords = {**call_rms(configuration).keywords, "use_bias": configuration.center}
    return Call(path="flax.linen.LayerNorm", keywords=keywords)


def affine(configuration: Configuration) -> dict[str, Any]:
    return {
        "epsilon": configuration.epsilon,
        "dtype": configuration.dtype,
        "param_dtype": configuration.parameter_dtype,
        "use_bias": configuration.center,
        "use_scale": configuration.scale,
    }


def call_group(configuration: Configuration) -> Call:
    keywords = {"num_groups": configuration.options["groups"], **affine(configuration)}
    return Call(path="flax.linen.GroupNorm", keywords=keywords)


def call_group_two_pass(configuration: Configuration) -> Call:
    return with_keywords(call_group(configuration), use_fast_variance=False)


def call_instance(configuration: Configuration) -> Call:
    keywords = {"feature_axes": configuration.feature_axes, **affine(configuration)}
    return Call(path="flax.linen.InstanceNorm", keywords=keywords)


def call_two_pass(configuration: Configuration) -> Call:
    return with_keywords(call_layer(configuration), use_fast_variance=False)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    parameters = {FLAX_NAMES[name]: value for name, value in state.items()}
    return begun_pure(apply, layer, (parameters, {}), by_our_names, configuration, mode, jax.devices(device)[0])


def apply(layer: Any, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
    return layer.apply({"params": parameters}, x), moving


def reload(live: Any) -> Any:
    saved = flax.serialization.to_bytes(live.parameters)
    fresh = jax.tree.map(jnp.zeros_like, live.parameters)
    live.parameters = jax.device_put(flax.serialization.from_bytes(fresh, saved), live.device)
    return live


PAGE = "https://flax.readthedocs.io/en/latest/api_reference/flax.linen/layers.html#flax.linen."
LAYER = row(
    name="flax.linen.LayerNorm",
    op="layer_norm",
    supports=supports_dtype,
    call=call_layer,
    start=start,
    state=state_pure,
    steps={"train": train_pure, "infer": infer_pure, "reload": reload, "sgd": sgd_pure},
    documentation=PAGE + "LayerNorm",
    names={"gamma": "params/*/scale", "beta": "params/*/bias"},
)
GROUP = replace(
    LAYER,
    name="flax.linen.GroupNorm",
    op="group_norm",
    supports=supports_last,
    call=call_group,
    documentation=PAGE + "GroupNorm",
)

ADAPTER = adapter(
    "flax",
    FLAX,
    LAYER,
    replace(LAYER, name="flax.linen.LayerNorm+two_pass", call=call_two_pass),
    replace(
        LAYER,
        name="flax.linen.RMSNorm",
        op="rms_norm",
        supports=supports_rms,
        call=call_rms,
        documentation=PAGE + "RMSNorm",
        names={"gamma": "params/*/scale"},
    ),
    GROUP,
    replace(GROUP, name="flax.linen.GroupNorm+two_pass", call=call_group_two_pass),
    replace(
        LAYER,
        name="flax.linen.InstanceNorm",
        op="instance_norm",
        supports=supports_instance,
        call=call_instance,
        documentation=PAGE + "InstanceNorm",
    ),
)

"""Flax's nnx: `flax.nnx.LayerNorm`, by default and two-pass, `RMSNorm`, `GroupNorm` and `InstanceNorm`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
from flax import nnx

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.flax._native import (
    FLAX,
    begun_nnx,
    compilations_nnx,
    differentiate_nnx,
    infer_nnx,
    sgd_nnx,
    state_nnx,
    train_nnx,
)
from conformance_adapters.jax._native import adapter, row, supports_dtype, with_keywords

PROCESSES = "jax"


def supports(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`num_features` is one integer, the size of scale and bias"
    return supports_dtype(configuration)


def supports_rms(configuration: Configuration) -> str | None:
    if configuration.center:
        return "there is a scale and no bias"
    if any(configuration.options.values()):
        return "the scale multiplies as it is, before the result is rounded, and epsilon is inside the root"
    return supports(configuration)


def supports_last(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (configuration.rank - 1,):
        return "the reduction axes include the last one, which is the feature axis"
    return supports_instance(configuration)


def supports_instance(configuration: Configuration) -> str | None:
    return "there are no moving values" if configuration.options.get("tracked") else supports(configuration)


def call_rms(configuration: Configuration) -> Call:
    """The constructor without its `rngs`, which is not data."""
    return Call(
        path="flax.nnx.RMSNorm",
        keywords={
            "num_features": configuration.feature_count,
            "epsilon": configuration.epsilon,
            "dtype": configuration.dtype,
            "param_dtype": configuration.parameter_dtype,
            "use_scale": configuration.scale,
            "reduction_axes": configuration.feature_axes[0],
            "feature_axes": configuration.feature_axes[0],
        },
        function=True,
    )


def call_layer(configuration: Configuration) -> Call:
    keywords = {**call_rms(configuration).keywords, "use_bias": configuration.center}
    return Call(path="flax.nnx.LayerNorm", keywords=keywords, function=True)


def affine(configuration: Configuration) -> dict[str, Any]:
    return {
        "num_features": configuration.feature_count,
        "epsilon": configuration.epsilon,
        "dtype": configuration.dtype,
        "param_dtype": configuration.parameter_dtype,
        "use_bias": configuration.center,
        "use_scale": configuration.scale,
    }


def call_group(configuration: Configuration) -> Call:
    keywords = {**affine(configuration), "num_groups": configuration.options["groups"]}
    return Call(path="flax.nnx.GroupNorm", keywords=keywords, function=True)


def call_instance(configuration: Configuration) -> Call:
    keywords = {**affine(configuration), "feature_axes": configuration.feature_axes[0]}
    return Call(path="flax.nnx.InstanceNorm", keywords=keywords, function=True)


def call_two_pass(configuration: Configuration) -> Call:
    return with_keywords(call_layer(configuration), use_fast_variance=False)


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    with jax.default_device(device):
        layer = build(rngs=nnx.Rngs(0))
    return begun_nnx(layer, step, configuration, state, mode, device)


def step(layer: Any, x: Any, upstream: Any) -> Any:
    return differentiate_nnx(forward, layer, x, upstream)


def forward(layer: Any, x: Any) -> Any:
    return layer(x)


PAGE = "https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/normalization.html#flax.nnx."
LAYER = row(
    name="flax.nnx.LayerNorm",
    op="layer_norm",
    supports=supports,
    call=call_layer,
    start=start,
    state=state_nnx,
    steps={"train": train_nnx, "infer": infer_nnx, "sgd": sgd_nnx},
    compilations=compilations_nnx,
    documentation=PAGE + "LayerNorm",
    names={"gamma": "*/scale", "beta": "*/bias"},
)

ADAPTER = adapter(
    "flax",
    FLAX,
    LAYER,
    replace(LAYER, name="flax.nnx.LayerNorm+two_pass", call=call_two_pass),
    replace(
        LAYER,
        name="flax.nnx.RMSNorm",
        op="rms_norm",
        supports=supports_rms,
        call=call_rms,
        documentation=PAGE + "RMSNorm",
        names={"gamma": "*/scale"},
    ),
    replace(
        LAYER,
        name="flax.nnx.GroupNorm",
        op="group_norm",
        supports=supports_last,
        call=call_group,
        documentation=PAGE + "GroupNorm",
    ),
    replace(
        LAYER,
        name="flax.nnx.InstanceNorm",
        op="instance_norm",
        supports=supports_instance,
        call=call_instance,
        documentation=PAGE + "InstanceNorm",
    ),
)

"""Haiku: `haiku.LayerNorm`, two-pass as by default and with `use_fast_variance`, `RMSNorm`, `GroupNorm`, `InstanceNorm`."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.haiku._native import filled, read_haiku
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

#: By operation, our name -> Haiku's names of the module and of the value.
NAMES = {
    "layer_norm": {"gamma": ("layer_norm", "scale"), "beta": ("layer_norm", "offset")},
    "rms_norm": {"gamma": ("rms_norm", "scale")},
    "group_norm": {"gamma": ("group_norm", "scale"), "beta": ("group_norm", "offset")},
    "instance_norm": {"gamma": ("instance_norm", "scale"), "beta": ("instance_norm", "offset")},
}


def supports(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "parameters have the dtype of the inputs"
    return supports_dtype(configuration)


def supports_rms(configuration: Configuration) -> str | None:
    if configuration.center:
        return "there is a scale and no offset"
    if any(configuration.options.values()):
        return "the scale multiplies as it is, before the result is rounded, and eps is inside the root"
    return supports(configuration)


def supports_channels(configuration: Configuration) -> str | None:
    if configuration.feature_axes not in ((1,), (configuration.rank - 1,)):
        return "`data_format` is channels_first or channels_last"
    if configuration.options.get("tracked"):
        return "there are no moving values"
    return supports(configuration)


def call_rms(configuration: Configuration) -> Call:
    axes = configuration.feature_axes
    keywords = {"axis": axes, "param_axis": axes, "create_scale": configuration.scale, "eps": configuration.epsilon}
    return Call(path="haiku.RMSNorm", keywords=keywords, function=True)


def call_layer(configuration: Configuration) -> Call:
    keywords = {**call_rms(configuration).keywords, "create_offset": configuration.center}
    return Call(path="haiku.LayerNorm", keywords=keywords, function=True)


def call_instance(configuration: Configuration) -> Call:
    last = configuration.feature_axes == (configuration.rank - 1,)
    keywords = {
        "create_scale": configuration.scale,
        "create_offset": configuration.center,
        "eps": configuration.epsilon,
        "data_format": "channels_last" if last else "channels_first",
    }
    return Call(path="haiku.InstanceNorm", keywords=keywords, function=True)


def call_group(configuration: Configuration) -> Call:
    keywords = {"groups": configuration.options["groups"], **call_instance(configuration).keywords}
    return Call(path="haiku.GroupNorm", keywords=keywords, function=True)


def call_fast(configuration: Configuration) -> Call:
    return with_keywords(call_layer(configuration), use_fast_variance=True)


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    pure = transformed(build.func, tuple(build.keywords.items()))
    names = NAMES[configuration.op]
    x = jax.ShapeDtypeStruct(configuration.shape, jnp.dtype(configuration.dtype))
    shaped: Any = jax.eval_shape(pure.init, jax.random.key(0), x)
    values, read = filled((shaped, {}), names, state), functools.partial(read_haiku, names)
    return begun_pure(apply, pure, values, read, configuration, mode, jax.devices(device)[0])


@functools.lru_cache(maxsize=64)
def transformed(module: Any, keywords: tuple[tuple[str, Any], ...]) -> Any:
    """The pure functions `init` and `apply`."""
    return hk.transform(functools.partial(forward, functools.partial(module, **dict(keywords))))


def forward(build: Any, x: Any) -> Any:
    return build()(x)


def apply(pure: Any, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
    return pure.apply(parameters, None, x), moving


DOCUMENTATION = "https://dm-haiku.readthedocs.io/en/latest/api.html#"
LAYER = row(
    name="haiku.LayerNorm",
    op="layer_norm",
    supports=supports,
    call=call_layer,
    start=start,
    state=state_pure,
    steps={"train": train_pure, "infer": infer_pure, "sgd": sgd_pure},
    documentation=DOCUMENTATION + "layernorm",
    names={"gamma": "*/scale", "beta": "*/offset"},
)

ADAPTER = adapter(
    "haiku",
    {"haiku": hk.__version__},
    LAYER,
    replace(LAYER, name="haiku.LayerNorm+fast", call=call_fast),
    replace(
        LAYER,
        name="haiku.RMSNorm",
        op="rms_norm",
        supports=supports_rms,
        call=call_rms,
        documentation=DOCUMENTATION + "rmsnorm",
        names={"gamma": "*/scale"},
    ),
    replace(
        LAYER,
        name="haiku.GroupNorm",
        op="group_norm",
        supports=supports_channels,
        call=call_group,
        documentation=DOCUMENTATION + "groupnorm",
    ),
    replace(
        LAYER,
        name="haiku.InstanceNorm",
        op="instance_norm",
        supports=supports_channels,
        call=call_instance,
        documentation=DOCUMENTATION + "instancenorm",
    ),
)

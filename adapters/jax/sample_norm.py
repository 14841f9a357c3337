"""JAX: layer and RMS normalization written out in `jax.numpy`, and `jax.nn.standardize` over each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conformance.protocol import Call, Configuration, Quantities
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


@dataclass(frozen=True, kw_only=True)
class LayerNorm:
    """Layer normalization with statistics in float32 or wider."""

    axes: tuple[int, ...]
    epsilon: float

    def __call__(self, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
        x = floating(fitting(x, parameters, self.axes))
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean, variance = (statistic(wide, self.axes, keepdims=True) for statistic in (jnp.mean, jnp.var))
        output = scaled(parameters, (wide - mean) * jax.lax.rsqrt(variance + self.epsilon))
        return output.astype(x.dtype), moving


@dataclass(frozen=True, kw_only=True)
class RMSNorm:
    """RMS normalization with the mean square in float32 or wider; `unit_offset` adds one to gamma, as Gemma's code does."""

    axes: tuple[int, ...]
    epsilon: float
    unit_offset: bool

    def __call__(self, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
        x = floating(fitting(x, parameters, self.axes))
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        square = jnp.mean(jnp.square(wide), self.axes, keepdims=True)
        if self.unit_offset and "gamma" in parameters:
            parameters = {**parameters, "gamma": 1 + parameters["gamma"].astype(wide.dtype)}
        return scaled(parameters, wide * jax.lax.rsqrt(square + self.epsilon)).astype(x.dtype), moving


def fitting(x: Any, parameters: Any, axes: Any) -> Any:
    """The input, whose rows are of the size of the parameters."""
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(x.shape))
    wrong = [value.shape for value in parameters.values() if value.shape != shape]
    if wrong:
        raise ValueError(f"parameters of shape {wrong[0]} do not fit an input of shape {x.shape}")
    return x


def floating(x: Any) -> Any:
    """The input, integers and truth values in JAX's own dtype for Python's floats."""
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


def scaled(parameters: Any, normalized: Any) -> Any:
    if "gamma" in parameters:
        normalized = normalized * parameters["gamma"].astype(normalized.dtype)
    return normalized + parameters["beta"].astype(normalized.dtype) if "beta" in parameters else normalized


def supports_rms(configuration: Configuration) -> str | None:
    if configuration.options.get("epsilon") == "outside":
        return "written with epsilon inside the root"
    if configuration.options.get("cast") == "before_gamma":
        return "written to round once, after gamma"
    return supports_dtype(configuration)


def supports_standardize(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "the result has the dtype of `x`, and arithmetic between two dtypes promotes it to the wider"
    return supports_dtype(configuration)


def call_layer(configuration: Configuration) -> Call:
    return Call(path="LayerNorm", keywords={"axes": configuration.feature_axes, "epsilon": configuration.epsilon})


def call_rms(configuration: Configuration) -> Call:
    keywords = {**call_layer(configuration).keywords, "unit_offset": configuration.options.get("unit_offset", False)}
    return Call(path="RMSNorm", keywords=keywords)


def call_standardize(configuration: Configuration) -> Call:
    keywords = {"axis": configuration.feature_axes, "epsilon": configuration.epsilon}
    return Call(path="jax.nn.standardize", keywords=keywords, function=True)


def call_stable(configuration: Configuration) -> Call:
    return with_keywords(call_standardize(configuration), algorithm="stable")


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return begun(type(layer).__call__, layer, configuration, state, mode, device)


def start_standardize(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return begun(standardize, tuple(function.keywords.items()), configuration, state, mode, device)


def begun(
    apply: Callable[..., Any], layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str
) -> Any:
    """Gamma and beta in a shape that broadcasts against the input, and no moving values."""
    spread = {name: np.expand_dims(value, configuration.reduction_axes) for name, value in state.items()}
    return begun_pure(apply, layer, (spread, {}), dict, configuration, mode, jax.devices(device)[0])


def standardize(keywords: Any, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
    named = dict(keywords)
    return scaled(parameters, jax.nn.standardize(fitting(x, parameters, named["axis"]), **named)), moving


STEPS = {"train": train_pure, "infer": infer_pure, "sgd": sgd_pure}
LAYER = row(
    name="jax.numpy.LayerNorm",
    op="layer_norm",
    supports=supports_dtype,
    call=call_layer,
    start=start,
    state=state_pure,
    steps=STEPS,
    documentation="https://docs.jax.dev/en/latest/jax.numpy.html",
)
STANDARDIZE = replace(
    LAYER,
    name="jax.nn.standardize+rows",
    supports=supports_standardize,
    call=call_standardize,
    start=start_standardize,
    documentation="https://docs.jax.dev/en/latest/_autosummary/jax.nn.standardize.html",
)

ADAPTER = adapter(
    "jax",
    {},
    LAYER,
    replace(LAYER, name="jax.numpy.RMSNorm", op="rms_norm", supports=supports_rms, call=call_rms),
    STANDARDIZE,
    replace(STANDARDIZE, name="jax.nn.standardize+rows+stable", call=call_stable),
)

"""Flax: its batch norm layers as data, and how linen's variables and nnx's layers are filled, run and saved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import flax
import flax.linen  # noqa: F401 - calls name it by its path
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from conformance.protocol import Call, Configuration, Declared, Quantities
from conformance_adapters.jax._native import X64, descended, differentiate, prepare, supports_dtype, with_gradients

#: Our name -> Flax's name for the same variable.
FLAX_NAMES = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}


def supports_one_axis(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`num_features` is one integer, and `axis` the one feature axis"
    return None


def supports_stack(configuration: Configuration) -> str | None:
    if configuration.feature_axes[0] != 0 or len(configuration.feature_axes) != 2:
        return "a stack of layers, one for each index of axis 0, with one feature axis each"
    return supports_dtype(configuration)


def call_linen(configuration: Configuration) -> Call:
    axes = configuration.feature_axes
    return Call(path="flax.linen.BatchNorm", keywords=keywords(configuration, axes[0] if len(axes) == 1 else axes))


def call_nnx(configuration: Configuration) -> Call:
    """The constructor without its `rngs`, which is not data."""
    size = {"num_features": configuration.features[-1]}
    return Call(
        path="flax.nnx.BatchNorm",
        keywords={**size, **keywords(configuration, configuration.feature_axes[-1])},
        function=True,
    )


def keywords(configuration: Configuration, axis: Any) -> dict[str, Any]:
    return {
        "axis": axis,
        "momentum": configuration.decay,
        "epsilon": configuration.epsilon,
        "dtype": configuration.dtype,
        "param_dtype": configuration.parameter_dtype,
        "use_bias": configuration.center,
        "use_scale": configuration.scale,
    }


def axis_within(configuration: Configuration) -> int:
    """The feature axis that a layer sees: an axis 0 of features is one of layers, mapped over."""
    return configuration.feature_axes[-1] - (0 in configuration.feature_axes)


def by_our_names(values: Any) -> dict[str, Any]:
    return {ours: values[theirs] for ours, theirs in FLAX_NAMES.items() if theirs in values}


def variables_of(values: Any, device: Any) -> dict[str, dict[str, Any]]:
    """Linen's collections of variables."""
    variables: dict[str, dict[str, Any]] = {"params": {}, "batch_stats": {}}
    for ours, theirs in FLAX_NAMES.items():
        if ours in values:
            collection = "batch_stats" if ours.startswith("moving") else "params"
            variables[collection][theirs] = jax.device_put(values[ours], device)
    return variables


def state_linen(live: Any) -> Quantities:
    stored = by_our_names({**live.variables["params"], **live.variables["batch_stats"]})
    return {name: np.asarray(value) for name, value in stored.items()}


def train_linen(live: Any, x: Any, upstream: Any, **further: Any) -> Quantities:
    quantities, live.gradients, live.variables = run_linen(live, x, upstream, training=True, **further)
    return with_gradients(quantities, by_our_names(live.gradients))


def run_linen(live: Any, x: Any, upstream: Any, training: bool, **further: Any) -> Any:
    x, upstream, further = jax.device_put((x, upstream, further), live.device)
    return live.step(live.variables, x, upstream, training=training, **further)


def step_linen(layer: Any, variables: Any, x: Any, upstream: Any, training: bool, mask: Any = None) -> Any:
    return differentiate_linen(forward_linen(layer, variables, training, mask), variables, x, upstream)


def forward_linen(layer: Any, variables: Any, training: bool, mask: Any = None) -> Any:
    """The layer's call as a function of what is differentiated; it gives the output and the new statistics."""

    def forward(params: Any, x: Any) -> Any:
        collections = {**variables, "params": params}
        return layer.apply(collections, x, use_running_average=not training, mask=mask, mutable=["batch_stats"])

    return forward


def differentiate_linen(forward: Any, variables: Any, x: Any, upstream: Any) -> Any:
    """Quantities, gradients of the parameters, and the variables after one call."""
    quantities, gradients, updated = differentiate(forward, variables["params"], x, upstream)
    return quantities, gradients, {**variables, **updated}


def reload_linen(live: Any) -> Any:
    saved = flax.serialization.to_bytes(live.variables)
    fresh = jax.tree.map(jnp.zeros_like, live.variables)
    live.variables = jax.device_put(flax.serialization.from_bytes(fresh, saved), live.device)
    return live


def sgd_linen(live: Any, learning_rate: float) -> None:
    params = descended(live.variables["params"], live.gradients, learning_rate)
    live.variables = {**live.variables, "params": params}


def fill_nnx(layer: Any, state: Quantities, device: Any) -> None:
    for ours, theirs in FLAX_NAMES.items():
        if ours in state:
            variable = getattr(layer, theirs)
            variable[...] = jax.device_put(state[ours].astype(variable[...].dtype), device)


def begun_nnx(layer: Any, step: Any, configuration: Configuration, state: Quantities, mode: str, device: Any) -> Any:
    """What the steps need: the layer with its state, and the step, itself or jitted."""
    fill_nnx(layer, state, device)
    return SimpleNamespace(
        layer=layer,
        step=prepare(step, (), configuration, mode, nnx.jit, nnx.graphdef(layer)),
        mode=mode,
        device=device,
        feature_axes=configuration.feature_axes,
        gradients={},
    )


def state_nnx(live: Any) -> Quantities:
    stored = by_our_names(nnx.to_pure_dict(nnx.state(live.layer)))
    return {name: np.asarray(value) for name, value in stored.items()}


def train_nnx(live: Any, x: Any, upstream: Any, *further: Any) -> Quantities:
    live.layer.train()
    quantities, live.gradients = run_nnx(live, x, upstream, *further)
    return with_gradients(quantities, by_our_names(nnx.to_pure_dict(live.gradients)))


def infer_nnx(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    quantities, gradients = run_nnx(live, x, upstream)
    return with_gradients(quantities, by_our_names(nnx.to_pure_dict(gradients)))


def run_nnx(live: Any, *arrays: Any) -> Any:
    return live.step(live.layer, *jax.device_put(arrays, live.device))


def differentiate_nnx(call: Any, layer: Any, x: Any, upstream: Any) -> Any:
    """Quantities and gradients of the parameters; the layer keeps its statistics."""
    if upstream is None:
        return {"output": call(layer, x)}, nnx.State({})
    output, pullback = nnx.vjp(call, layer, x, graph=False)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, nnx.state(gradients, nnx.Param)


def sgd_nnx(live: Any, learning_rate: float) -> None:
    nnx.Optimizer(live.layer, optax.sgd(learning_rate), wrt=nnx.Param).update(live.layer, live.gradients)


def compilations_nnx(live: Any) -> int:
    return int(live.step.jitted_fn._cache_size()) if live.mode == "compiled" else 0


SINGLE_LINEN = Declared(
    field="statistics_dtype",
    value="float32",
    source="source code",
    where="flax/linen/normalization.py, BatchNorm.__call__: jnp.zeros(s, jnp.float32 if force_float32_reductions ...)",
)
#: Under x64 the statistics begin as float32, and the first update makes them float64.
PROFILE_LINEN = () if X64 else (SINGLE_LINEN,)
SINGLE_NNX = Declared(
    field="statistics_dtype",
    value="float32",
    source="source code",
    where="flax/nnx/nn/normalization.py, BatchNorm.__init__: nnx.BatchStat(jnp.zeros(feature_shape, jnp.float32))",
)
FLAX = {"flax": flax.__version__}

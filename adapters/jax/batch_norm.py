"""JAX: batch normalization written out in `jax.numpy`, with statistics in float32 or wider."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.jax._native import (
    X64,
    adapter,
    begun_pure,
    differentiate,
    infer_pure,
    parted,
    prepare,
    row,
    sgd_pure,
    state_pure,
    supports_dtype,
    timed,
    train_pure,
)

PROCESSES = "jax"


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """Two-pass batch normalization as a pure function; an empty batch leaves the moving values alone."""

    axes: tuple[int, ...]
    decay: float
    epsilon: float

    def __call__(self, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
        x = self.fitting(x, moving["moving_mean"])
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if training and x.size:
            mean, variance = jnp.mean(wide, self.axes), jnp.var(wide, self.axes)
            moving = {
                "moving_mean": self.move(moving["moving_mean"], mean),
                "moving_variance": self.move(moving["moving_variance"], variance),
            }
        else:
            mean, variance = moving["moving_mean"], moving["moving_variance"]
        inverse = jax.lax.rsqrt(self.spread(variance, wide) + self.epsilon)
        output = (wide - self.spread(mean, wide)) * inverse
        if "gamma" in parameters:
            output = output * self.spread(parameters["gamma"], wide)
        if "beta" in parameters:
            output = output + self.spread(parameters["beta"], wide)
        return output.astype(x.dtype), moving

    def fitting(self, x: Any, moving: Any) -> Any:
        """The input, whose features are those of the moving values, in floating-point numbers."""
        features = tuple(size for axis, size in enumerate(x.shape) if axis not in self.axes)
        if features != moving.shape:
            raise ValueError(f"made for features of {moving.shape}, got an input of shape {x.shape}")
        return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(moving.dtype)

    def move(self, old: Any, batch: Any) -> Any:
        moved = self.decay * old.astype(batch.dtype) + (1 - self.decay) * batch
        return moved.astype(old.dtype)

    def spread(self, value: Any, x: Any) -> Any:
        return jnp.expand_dims(value.astype(x.dtype), self.axes)


def call(configuration: Configuration) -> Call:
    return Call(
        path="BatchNorm",
        keywords={"axes": configuration.reduction_axes, "decay": configuration.decay, "epsilon": configuration.epsilon},
    )


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return begun_pure(BatchNorm.__call__, layer, parted(state), dict, configuration, mode, jax.devices(device)[0])


def start_exported(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    live = start(layer, configuration, state, mode, device)
    live.step = prepare(exported, (layer,), configuration, mode)
    return live


def exported(layer: Any, parameters: Any, moving: Any, x: Any, upstream: Any, training: bool) -> Any:
    """The call as a program of StableHLO that was saved, its backward pass with it, and loaded from the bytes."""
    call = jax.jit(functools.partial(layer, training=training))
    saved = jax.export.export(call)(parameters, moving, x).serialize(vjp_order=1)
    loaded = jax.export.deserialize(saved)
    return differentiate(lambda parameters, x: loaded.call(parameters, moving, x), parameters, x, upstream)


def reload(live: Any) -> Any:
    live.parameters, live.moving = jax.tree.map(saved_and_loaded, (live.parameters, live.moving))
    return live


def saved_and_loaded(value: Any) -> Any:
    file = io.BytesIO()
    jnp.save(file, value)
    file.seek(0)
    return jax.device_put(jnp.load(file), value.device)


def supports_moments(configuration: Configuration) -> str | None:
    if X64:
        return "with jax_enable_x64 the mean of integers is float64 or float32, as no page says"
    return None


def call_moments(configuration: Configuration) -> Call:
    return Call(path="jax.numpy.mean", keywords={"axis": configuration.reduction_axes}, function=True)


def start_moments(mean: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return SimpleNamespace(
        step=prepare(moments, (mean.keywords["axis"],), configuration, mode), mode=mode, device=jax.devices(device)[0]
    )


def moments(axis: Any, x: Any, training: bool) -> Any:
    return {"batch_mean": jnp.mean(x, axis), "batch_variance": jnp.var(x, axis)}


def no_state(live: Any) -> Quantities:
    return {}


def take_moments(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities = live.step(jax.device_put(x, live.device), training=False)
    return {name: np.asarray(value) for name, value in quantities.items()}


ADAPTER = adapter(
    "jax",
    {},
    row(
        name="jax.numpy",
        supports=supports_dtype,
        call=call,
        start=start,
        state=state_pure,
        steps={"train": train_pure, "infer": infer_pure, "reload": reload, "sgd": sgd_pure},
        timed=timed(train_pure, infer_pure),
        documentation="https://docs.jax.dev/en/latest/jax.numpy.html",
    ),
    row(
        name="jax.numpy+export",
        op="transformed_batch_norm",
        modes=("compiled",),
        supports=supports_dtype,
        call=call,
        start=start_exported,
        state=state_pure,
        steps={"train": train_pure, "infer": infer_pure, "reload": reload, "sgd": sgd_pure},
        documentation="https://docs.jax.dev/en/latest/export/export.html",
    ),
    row(
        name="jax.numpy.mean",
        op="moments",
        supports=supports_moments,
        call=call_moments,
        start=start_moments,
        state=no_state,
        steps={"infer": take_moments},
        documentation="https://docs.jax.dev/en/latest/_autosummary/jax.numpy.mean.html",
    ),
)

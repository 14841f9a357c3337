"""Haiku: `haiku.BatchNorm`, and a `Centering` module around `haiku.ExponentialMovingAverage`."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import jmp
import numpy as np

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.haiku._native import DEBIASED, HAIKU_NAMES, apply_haiku, call_haiku, filled, read_haiku
from conformance_adapters.jax._native import (
    adapter,
    begun_pure,
    infer_pure,
    row,
    sgd_pure,
    state_pure,
    supports_dtype,
    timed,
    train_pure,
)

PROCESSES = "jax"


class Centering(hk.Module):
    """Subtracts the batch mean in training and its exponential moving average in inference."""

    def __init__(self, axes: tuple[int, ...], decay: float) -> None:
        super().__init__()
        self.axes = axes
        self.mean_ema = hk.ExponentialMovingAverage(decay, name="mean_ema")

    def __call__(self, x: Any, is_training: bool) -> Any:
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if not is_training:
            return (wide - self.mean_ema.average).astype(x.dtype)
        if 0 in (x.shape[axis] for axis in self.axes):
            return x
        mean = jnp.mean(wide, self.axes, keepdims=True)
        self.mean_ema(mean)
        return (wide - mean).astype(x.dtype)


CENTERING_NAMES = {"moving_mean": ("centering/~/mean_ema", "average")}


def supports(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype not in (configuration.dtype, "float32"):
        return "parameters have the dtype of the inputs, or that of a mixed precision policy"
    return supports_average(configuration)


def supports_centering(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != np.promote_types(configuration.dtype, "float32").name:
        return "the average has the dtype of the mean, which is taken in float32 or wider"
    return supports_average(configuration)


def supports_average(configuration: Configuration) -> str | None:
    if configuration.decay == 1:
        return "the decay of an ExponentialMovingAverage must be in [0, 1)"
    return supports_dtype(configuration)


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering", keywords={"axes": configuration.reduction_axes, "decay": configuration.decay}, function=True
    )


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    mixed = configuration.op == "batch_norm" and configuration.parameter_dtype != configuration.dtype
    pure = transformed(build.func, tuple(build.keywords.items()), configuration.dtype if mixed else None)
    names = CENTERING_NAMES if configuration.op == "centering" else HAIKU_NAMES
    x = jax.ShapeDtypeStruct(configuration.shape, jnp.dtype(configuration.dtype))
    shaped = jax.eval_shape(functools.partial(pure.init, is_training=True), jax.random.key(0), x)
    values, read = filled(shaped, names, state), functools.partial(read_haiku, names)
    return begun_pure(apply_haiku, pure, values, read, configuration, mode, jax.devices(device)[0])


@functools.lru_cache(maxsize=64)
def transformed(module: Any, keywords: tuple[tuple[str, Any], ...], output: str | None) -> Any:
    """The pure functions `init` and `apply`; `output` is what a mixed precision policy gives out, where there is one."""
    build = functools.partial(module, **dict(keywords))
    # As in Haiku's ImageNet example, batch normalization itself stays in full precision.
    policy = output and jmp.get_policy(f"params=float32,compute=float32,output={output}")
    return hk.transform_with_state(functools.partial(forward, build, policy))


def forward(build: Any, policy: Any, x: Any, is_training: bool) -> Any:
    if policy is None:
        return build()(x, is_training)
    with hk.mixed_precision.push_policy(hk.BatchNorm, policy):
        return build()(x, is_training)


DOCUMENTATION = "https://dm-haiku.readthedocs.io/en/latest/api.html#"
LAYER = row(
    name="haiku.BatchNorm",
    profile=(DEBIASED,),
    supports=supports,
    call=call_haiku,
    start=start,
    state=state_pure,
    steps={"train": train_pure, "infer": infer_pure, "sgd": sgd_pure},
    timed=timed(train_pure, infer_pure),
    documentation=DOCUMENTATION + "batchnorm",
    names={ours: f"{module.replace('batch_norm', '*')}/{theirs}" for ours, (module, theirs) in HAIKU_NAMES.items()},
)

ADAPTER = adapter(
    "haiku",
    {"haiku": hk.__version__, "jmp": jmp.__version__},
    LAYER,
    replace(
        LAYER,
        name="haiku.Centering",
        op="centering",
        supports=supports_centering,
        call=call_centering,
        steps={"train": train_pure, "infer": infer_pure},
        documentation=DOCUMENTATION + "exponentialmovingaverage",
    ),
)

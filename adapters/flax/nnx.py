"""Flax's nnx: `flax.nnx.BatchNorm`, with `use_fast_variance` as by default and switched off, with masks, and `Centering`."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
from flax import nnx

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.flax._native import (
    FLAX,
    FLAX_NAMES,
    SINGLE_NNX,
    begun_nnx,
    call_nnx,
    compilations_nnx,
    differentiate_nnx,
    infer_nnx,
    sgd_nnx,
    state_nnx,
    supports_one_axis,
    train_nnx,
)
from conformance_adapters.jax._native import adapter, row, supports_dtype, timed, with_keywords

PROCESSES = "jax"


class Centering(nnx.Module):
    """Subtracts the batch mean in training and the moving mean in inference; frozen, it infers."""

    def __init__(
        self, features: tuple[int, ...], axes: tuple[int, ...], decay: float, param_dtype: Any, *, rngs: nnx.Rngs
    ) -> None:
        self.axes, self.decay = axes, decay
        self.use_running_average = self.frozen = False
        self.mean = nnx.BatchStat(jnp.zeros(features, param_dtype))

    def __call__(self, x: Any) -> Any:
        moving = self.mean[...]
        features = tuple(size for axis, size in enumerate(x.shape) if axis not in self.axes)
        if features != moving.shape:
            raise ValueError(f"made for features of {moving.shape}, got an input of shape {x.shape}")
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(moving.dtype)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if self.use_running_average or self.frozen or not x.size:
            return (wide - jnp.expand_dims(moving, self.axes)).astype(x.dtype)
        mean = jnp.mean(wide, self.axes)
        old = moving.astype(wide.dtype)
        self.mean[...] = (self.decay * old + (1 - self.decay) * mean).astype(moving.dtype)
        return (wide - jnp.expand_dims(mean, self.axes)).astype(x.dtype)


def supports(configuration: Configuration) -> str | None:
    return supports_one_axis(configuration) or supports_dtype(configuration)


def call_two_pass(configuration: Configuration) -> Call:
    return with_keywords(call_nnx(configuration), use_fast_variance=False)


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering",
        keywords={
            "features": configuration.features,
            "axes": configuration.reduction_axes,
            "decay": configuration.decay,
            "param_dtype": configuration.parameter_dtype,
        },
        function=True,
    )


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    with jax.default_device(device):
        layer = build(rngs=nnx.Rngs(0))
    return begun_nnx(layer, step, configuration, state, mode, device)


def step(layer: Any, x: Any, upstream: Any, mask: Any = None) -> Any:
    keywords = {} if mask is None else {"mask": mask}
    return differentiate_nnx(functools.partial(forward, keywords), layer, x, upstream)


def forward(keywords: Any, layer: Any, x: Any) -> Any:
    return layer(x, **keywords)


def train_masked(live: Any, x: Any, upstream: Any, mask: Any = None) -> Quantities:
    """The mask in a shape broadcastable to that of the input, where there is one."""
    spread = None if mask is None else np.expand_dims(mask, live.feature_axes)
    return train_nnx(live, x, upstream, spread)


def reload(live: Any) -> Any:
    definition, stored = nnx.split(live.layer)
    fresh = jax.tree.map(jnp.zeros_like, stored)
    with tempfile.TemporaryDirectory() as folder, orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(folder, "state"), stored)
        checkpointer.wait_until_finished()
        live.layer = nnx.merge(definition, checkpointer.restore(Path(folder, "state"), fresh))
    return live


def switch(frozen: bool, live: Any) -> None:
    live.layer.frozen = frozen


STEPS = {"train": train_nnx, "infer": infer_nnx, "reload": reload}
LAYER = row(
    name="flax.nnx.BatchNorm",
    profile=(SINGLE_NNX,),
    supports=supports,
    call=call_nnx,
    start=start,
    state=state_nnx,
    steps={**STEPS, "sgd": sgd_nnx},
    timed=timed(train_nnx, infer_nnx),
    compilations=compilations_nnx,
    documentation="https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/normalization.html#flax.nnx.BatchNorm",
    names={ours: f"*/{theirs}" for ours, theirs in FLAX_NAMES.items()},
)
MASKED = replace(
    LAYER, name="flax.nnx.BatchNorm+mask", op="masked_batch_norm", steps={**LAYER.steps, "train": train_masked}
)

ADAPTER = adapter(
    "flax",
    {**FLAX, "orbax-checkpoint": orbax.checkpoint.__version__},
    LAYER,
    replace(LAYER, name="flax.nnx.BatchNorm+two_pass", call=call_two_pass),
    MASKED,
    replace(MASKED, name="flax.nnx.BatchNorm+mask+two_pass", call=call_two_pass),
    replace(
        LAYER,
        name="flax.Centering",
        op="centering",
        profile=(),
        supports=supports_dtype,
        call=call_centering,
        steps={**STEPS, "freeze": functools.partial(switch, True), "unfreeze": functools.partial(switch, False)},
        documentation="",
    ),
)

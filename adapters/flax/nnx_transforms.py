"""Flax's `flax.nnx.BatchNorm`, which keeps its state, through the transformations of nnx: remat, and vmap over a stack."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import flax
import jax
import jaxlib
import numpy as np
import optax
from flax import nnx

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "jax-alone"

#: Our name -> Flax's name for the same variable.
NAMES = {
    "gamma": "scale",
    "beta": "bias",
    "moving_mean": "mean",
    "moving_variance": "var",
}


def supports(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1 or configuration.feature_axes[0] == 0:
        return "one layer with one feature axis: a stack of them is mapped over"
    return supports_dtype(configuration)


def supports_stack(configuration: Configuration) -> str | None:
    if configuration.feature_axes[0] != 0 or len(configuration.feature_axes) != 2:
        return "a stack of layers, one for each index of axis 0, with one feature axis each"
    return supports_dtype(configuration)


def supports_dtype(configuration: Configuration) -> str | None:
    if "float64" in (configuration.dtype, configuration.parameter_dtype) and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def call(configuration: Configuration) -> Call:
    """The constructor without its `rngs`, which is not data; two passes, as for linen."""
    stacked = 0 in configuration.feature_axes
    return Call(
        path="flax.nnx.BatchNorm",
        keywords={
            "num_features": configuration.features[-1],
            "axis": configuration.feature_axes[-1] - stacked,
            "momentum": configuration.decay,
            "epsilon": configuration.epsilon,
            "dtype": configuration.dtype,
            "param_dtype": configuration.parameter_dtype,
            "use_bias": configuration.center,
            "use_scale": configuration.scale,
            "use_fast_variance": False,
        },
        function=True,
    )


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str, transform: Any) -> Any:
    device = jax.devices(device)[0]
    with jax.default_device(device):
        layer = made(build, configuration)
    for ours, value in state.items():
        variable = getattr(layer, NAMES[ours])
        variable[...] = jax.device_put(value.astype(variable[...].dtype), device)
    step = functools.partial(transform)
    return SimpleNamespace(
        layer=layer, step=nnx.jit(step) if mode == "compiled" else step, mode=mode, device=device, gradients={}
    )


def made(build: Any, configuration: Configuration) -> Any:
    """A layer, or a stack of them."""
    if configuration.feature_axes[0] != 0:
        return build(rngs=nnx.Rngs(0))
    keys = jax.random.split(jax.random.key(0), configuration.shape[0])
    return nnx.vmap(lambda key: build(rngs=nnx.Rngs(key)))(keys)


def state(live: Any) -> Quantities:
    stored = nnx.to_pure_dict(nnx.state(live.layer))
    return {ours: np.asarray(stored[theirs]) for ours, theirs in NAMES.items() if theirs in stored}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.train()
    return run(live, x, upstream)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    return run(live, x, upstream)


def run(live: Any, x: Any, upstream: Any) -> Quantities:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    quantities, live.gradients = live.step(live.layer, jax.device_put(x, live.device), upstream)
    return named(quantities, nnx.to_pure_dict(live.gradients))


def rematted(layer: Any, x: Any, upstream: Any) -> Any:
    return differentiate(nnx.remat(forward), layer, x, upstream)


def mapped(layer: Any, x: Any, upstream: Any) -> Any:
    return differentiate(nnx.vmap(forward), layer, x, upstream)


def differentiate(call: Any, layer: Any, x: Any, upstream: Any) -> Any:
    """Quantities and gradients of the parameters; the layer keeps its statistics."""
    if upstream is None:
        return {"output": call(layer, x)}, nnx.State({})
    output, pullback = nnx.vjp(call, layer, x, graph=False)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, nnx.state(gradients, nnx.Param)


def forward(layer: Any, x: Any) -> Any:
    return layer(x)


def sgd(live: Any, learning_rate: float) -> None:
    nnx.Optimizer(live.layer, optax.sgd(learning_rate), wrt=nnx.Param).update(live.layer, live.gradients)


def compilations(live: Any) -> int:
    return int(live.step.jitted_fn._cache_size()) if live.mode == "compiled" else 0


def named(quantities: Any, gradients: Any) -> Quantities:
    names = {"grad_gamma": "scale", "grad_beta": "bias"}
    return {**quantities, **{ours: gradients[theirs] for ours, theirs in names.items() if theirs in gradients}}


STATISTICS = Declared(
    field="statistics_dtype",
    value="float32",
    source="source code",
    where="flax/nnx/nn/normalization.py, BatchNorm.__init__: nnx.BatchStat(jnp.zeros(feature_shape, jnp.float32))",
)
X64 = jax.config.jax_enable_x64


def implementation(
    name: str, page: str, transform: Callable[..., Any], supports: Callable[..., str | None]
) -> Implementation:
    """A row: the layer of nnx through one of its own transformations."""
    return Implementation(
        name=f"flax.nnx.BatchNorm+{name}",
        op="transformed_batch_norm",
        profile=(STATISTICS,),
        modes=("eager", "compiled"),
        devices=("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",),
        dtypes=("float64",) if X64 else ("float32", "float16", "bfloat16"),
        supports=supports,
        call=call,
        start=functools.partial(start, transform=transform),
        state=state,
        steps={"train": train, "infer": infer, "sgd": sgd},
        compilations=compilations,
        documentation="https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/transforms.html#" + page,
    )


ADAPTER = Adapter(
    library="flax",
    versions={
        "flax": flax.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "optax": optax.__version__,
    },
    settings={
        "x64": str(X64),
        "platform": jax.default_backend(),
        "matmul precision": str(jax.config.jax_default_matmul_precision),
        "dtype promotion": str(jax.config.jax_numpy_dtype_promotion),
        "jit disabled": str(jax.config.jax_disable_jit),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    pool="tf_XLAEigen",
    implementations=(
        implementation("remat", "flax.nnx.remat", rematted, supports),
        implementation("vmap", "flax.nnx.vmap", mapped, supports_stack),
    ),
)

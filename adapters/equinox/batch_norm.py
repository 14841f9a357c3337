"""Equinox: `equinox.nn.BatchNorm` in its two modes, "ema" and "batch"."""

from __future__ import annotations

import functools
import io
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "jax"

#: Our name -> Equinox's name for the same leaf.
NAMES = {"gamma": "weight", "beta": "bias"}

#: Inference divides the statistics of mode "batch" by 1 - momentum**counter: after so many batches that is 1, and they
#: are what they were set to.
LONG_TRAINED = 2**20

#: JAX keeps every program it compiled, those of eager operations too, some 1.5 MB each: forgotten every so many starts.
FORGET_EVERY = 192
STARTS = itertools.count(1)


def supports(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "within `vmap` an example has the shape (input_size, dim_1, ..., dim_N): the features are axis 1"
    if configuration.scale != configuration.center:
        return "`channelwise_affine` switches weight and bias together"
    if not 0 < configuration.decay < 1:
        return "`momentum` should be a value between 0 and 1 exclusive"
    if configuration.parameter_dtype != configuration.dtype:
        return "`dtype` is that of the running statistics, weight and bias, and the output is promoted to it"
    if configuration.dtype == "float64" and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def call(configuration: Configuration, mode: str) -> Call:
    return Call(
        path="equinox.nn.BatchNorm",
        keywords={
            "input_size": configuration.feature_count,
            "axis_name": "batch",
            "eps": configuration.epsilon,
            "channelwise_affine": configuration.scale,
            "momentum": configuration.decay,
            "dtype": configuration.parameter_dtype,
            "mode": mode,
        },
        function=True,
    )


def call_ema(configuration: Configuration) -> Call:
    return call(configuration, "ema")


def call_batch(configuration: Configuration) -> Call:
    return call(configuration, "batch")


def prepare(layer: Any, configuration: Configuration, mode: str) -> Any:
    if next(STARTS) % FORGET_EVERY == 0:
        jax.clear_caches()
    return step if mode == "eager" else compiled(layer.mode, replace(configuration, memory="contiguous"))


@functools.lru_cache(maxsize=64)
def compiled(layer_mode: str, configuration: Configuration) -> Any:
    """The jitted step of one mode and configuration, whatever the order in memory, which jax.Array does not keep."""
    return eqx.filter_jit(functools.partial(step))


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    layer, stored = made(build, device)
    values = {name: jax.device_put(value, device) for name, value in state.items()}
    for ours, theirs in NAMES.items():
        if ours in values:
            layer = eqx.tree_at(lambda each, name=theirs: getattr(each, name), layer, values[ours])
    stored = stored.set(statistics(layer), (values["moving_mean"], values["moving_variance"]))
    if layer.mode == "batch" and not fresh(state):
        stored = stored.set(layer.batch_counter, jnp.asarray(LONG_TRAINED, device=device))
    return SimpleNamespace(
        build=build,
        layer=layer,
        stored=stored,
        step=prepare(layer, configuration, mode),
        mode=mode,
        device=device,
        gradients=None,
    )


def fresh(state: Quantities) -> bool:
    """Whether the moving values are those of a layer that has seen no batch."""
    return bool(np.all(state["moving_mean"] == 0) and np.all(state["moving_variance"] == 1))


def made(build: Any, device: Any) -> Any:
    """A fresh layer and its state."""
    with jax.default_device(device):
        return eqx.nn.make_with_state(build)()


def statistics(layer: Any) -> Any:
    """Where the state has the pair of running statistics."""
    return layer.ema_state_index if layer.mode == "ema" else layer.batch_state_index


def state(live: Any) -> Quantities:
    mean, variance = live.stored.get(statistics(live.layer))
    if live.layer.mode == "batch":
        # What inference divides by: equinox/nn/_batch_norm.py, BatchNorm.__call__.
        counter = live.stored.get(live.layer.batch_counter)
        scale = jnp.where(counter == 0, 1, 1 - live.layer.momentum**counter)
        mean, variance = mean / scale, variance / scale
    learned = {ours: getattr(live.layer, theirs) for ours, theirs in NAMES.items()}
    values = {"moving_mean": mean, "moving_variance": variance, **learned}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, live.gradients, live.stored = run(live, live.layer, x, upstream)
    return named(quantities, live.gradients)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, _ = run(live, eqx.nn.inference_mode(live.layer), x, upstream)
    return named(quantities, gradients)


def run(live: Any, layer: Any, x: Any, upstream: Any) -> Any:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    return live.step(layer, live.stored, jax.device_put(x, live.device), upstream)


def named(quantities: Any, gradients: Any) -> Quantities:
    learned = {f"grad_{ours}": getattr(gradients, theirs, None) for ours, theirs in NAMES.items()}
    return {**quantities, **{name: value for name, value in learned.items() if value is not None}}


def step(layer: Any, stored: Any, x: Any, upstream: Any) -> Any:
    """Quantities, gradients of the layer's leaves, and the state after one call on every example of the batch."""

    def forward(layer: Any, x: Any) -> Any:
        return jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, stored)

    if upstream is None:
        output, updated = forward(layer, x)
        return {"output": output}, None, updated
    output, pullback, updated = eqx.filter_vjp(forward, layer, x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, gradients, updated


def reload(live: Any) -> Any:
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, (live.layer, live.stored))
    file.seek(0)
    live.layer, live.stored = eqx.tree_deserialise_leaves(file, made(live.build, live.device))
    return live


def sgd(live: Any, learning_rate: float) -> None:
    optimizer = optax.sgd(learning_rate)
    updates, _ = optimizer.update(live.gradients, optimizer.init(eqx.filter(live.layer, eqx.is_inexact_array)))
    live.layer = eqx.apply_updates(live.layer, updates)


def put(array: Any, device: str) -> Any:
    return jax.device_put(array, jax.devices(device)[0])


def wait(live: Any, results: Any) -> None:
    jax.block_until_ready(results)


def copy(live: Any, x: Any) -> Any:
    return jnp.copy(x)


def compilations(live: Any) -> int:
    return int(live.step._cached._cache_size()) if live.mode == "compiled" else 0


#: Steps that convert nothing where they are given JAX's own arrays.
TIMED: dict[str, Callable[..., Any]] = {
    "put": put,
    "get": np.asarray,
    "wait": wait,
    "copy": copy,
    "infer": infer,
    "train_forward": train,
    "train": train,
}
SOURCE = "equinox/nn/_batch_norm.py, BatchNorm.__call__: "
EMA = (
    Declared(
        field="update",
        value="first_batch",
        source="documentation",
        where="equinox.nn.BatchNorm: the batch statistics are used to fill in the running statistics until populated",
    ),
    Declared(
        field="normalizes_with",
        value="moving_after",
        source="source code",
        where=SOURCE + "in training too, mean and var are the running statistics just updated",
    ),
)
BATCH = (
    Declared(
        field="update",
        value="zero_debiased",
        source="source code",
        where=SOURCE + "Zero-debias approach: mean = hidden_mean / (1 - momentum^counter)",
    ),
)
X64 = jax.config.jax_enable_x64


def implementation(mode: str, call: Callable[[Configuration], Call], profile: tuple[Declared, ...]) -> Implementation:
    """A row: the layer in one of its modes."""
    return Implementation(
        name=f"equinox.nn.BatchNorm+{mode}",
        op="batch_norm",
        profile=profile,
        modes=("eager", "compiled"),
        devices=("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",),
        dtypes=("float64",) if X64 else ("float32", "float16", "bfloat16"),
        supports=supports,
        call=call,
        start=start,
        state=state,
        steps={"train": train, "infer": infer, "reload": reload, "sgd": sgd},
        timed=TIMED,
        compilations=compilations,
        documentation="https://docs.kidger.site/equinox/api/nn/normalisation/#equinox.nn.BatchNorm",
    )


ADAPTER = Adapter(
    library="equinox",
    versions={
        "equinox": eqx.__version__,
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
    implementations=(implementation("ema", call_ema, EMA), implementation("batch", call_batch, BATCH)),
)

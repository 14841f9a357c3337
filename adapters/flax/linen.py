"""Flax's linen: `flax.linen.BatchNorm`, with `use_fast_variance` as it is by default and switched off, and with masks."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import flax
import flax.linen  # noqa: F401 - calls name it by its path
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "jax"

#: Our name -> Flax's name for the same variable, and its collection.
NAMES = {
    "gamma": "scale",
    "beta": "bias",
    "moving_mean": "mean",
    "moving_variance": "var",
}
COLLECTIONS = {"scale": "params", "bias": "params", "mean": "batch_stats", "var": "batch_stats"}

#: JAX keeps every program it compiled, those of eager operations too, some 1.5 MB each: forgotten every so many starts.
FORGET_EVERY = 192
STARTS = itertools.count(1)


def supports(configuration: Configuration) -> str | None:
    """`axis` takes one axis or several, and `param_dtype` any dtype that JAX has switched on."""
    if "float64" in (configuration.dtype, configuration.parameter_dtype) and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def call(configuration: Configuration) -> Call:
    axes = configuration.feature_axes
    return Call(
        path="flax.linen.BatchNorm",
        keywords={
            "axis": axes[0] if len(axes) == 1 else axes,
            "momentum": configuration.decay,
            "epsilon": configuration.epsilon,
            "dtype": configuration.dtype,
            "param_dtype": configuration.parameter_dtype,
            "use_bias": configuration.center,
            "use_scale": configuration.scale,
        },
    )


def call_two_pass(configuration: Configuration) -> Call:
    fast = call(configuration)
    return replace(fast, keywords={**fast.keywords, "use_fast_variance": False})


def prepare(layer: Any, configuration: Configuration, mode: str) -> Any:
    if next(STARTS) % FORGET_EVERY == 0:
        jax.clear_caches()
    if mode == "eager":
        return functools.partial(step, layer)
    return compiled(layer, replace(configuration, memory="contiguous"))


@functools.lru_cache(maxsize=64)
def compiled(layer: Any, configuration: Configuration) -> Any:
    """The jitted step of one configuration, whatever the order in memory, which jax.Array does not keep."""
    return jax.jit(functools.partial(step, layer), static_argnames="training")


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    initialize = functools.partial(layer.init, use_running_average=True)
    x = jax.ShapeDtypeStruct(configuration.shape, jnp.dtype(configuration.dtype))
    stored = jax.eval_shape(initialize, jax.random.key(0), x)
    variables: dict[str, dict[str, Any]] = {"params": {}, "batch_stats": {}}
    for ours, value in state.items():
        collection, theirs = COLLECTIONS[NAMES[ours]], NAMES[ours]
        kept = value.astype(stored[collection][theirs].dtype)
        variables[collection][theirs] = jax.device_put(kept, device)
    return SimpleNamespace(
        variables=variables,
        step=prepare(layer, configuration, mode),
        mode=mode,
        device=device,
        feature_axes=configuration.feature_axes,
        gradients={},
    )


def state(live: Any) -> Quantities:
    stored = {**live.variables["params"], **live.variables["batch_stats"]}
    return {ours: np.asarray(stored[theirs]) for ours, theirs in NAMES.items() if theirs in stored}


def train(live: Any, x: Any, upstream: Any, mask: Any = None) -> Quantities:
    """The mask in a shape broadcastable to that of the input, where there is one."""
    spread = None if mask is None else jax.device_put(np.expand_dims(mask, live.feature_axes), live.device)
    quantities, live.gradients, live.variables = run(live, x, upstream, training=True, mask=spread)
    return named(quantities, live.gradients)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, _ = run(live, x, upstream, training=False)
    return named(quantities, gradients)


def run(live: Any, x: Any, upstream: Any, training: bool, mask: Any = None) -> Any:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    return live.step(live.variables, jax.device_put(x, live.device), upstream, training=training, mask=mask)


def named(quantities: Any, gradients: Any) -> Quantities:
    names = {"grad_gamma": "scale", "grad_beta": "bias"}
    return {**quantities, **{ours: gradients[theirs] for ours, theirs in names.items() if theirs in gradients}}


def step(layer: Any, variables: Any, x: Any, upstream: Any, training: bool, mask: Any = None) -> Any:
    """Quantities, gradients of the parameters, and the variables after one call."""

    def forward(params: Any, x: Any) -> Any:
        given = {**variables, "params": params}
        return layer.apply(given, x, use_running_average=not training, mask=mask, mutable=["batch_stats"])

    if upstream is None:
        output, updated = forward(variables["params"], x)
        return {"output": output}, {}, {**variables, **updated}
    output, pullback, updated = jax.vjp(forward, variables["params"], x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, gradients, {**variables, **updated}


def reload(live: Any) -> Any:
    saved = flax.serialization.to_bytes(live.variables)
    fresh = jax.tree.map(jnp.zeros_like, live.variables)
    live.variables = jax.device_put(flax.serialization.from_bytes(fresh, saved), live.device)
    return live


def sgd(live: Any, learning_rate: float) -> None:
    optimizer, params = optax.sgd(learning_rate), live.variables["params"]
    updates, _ = optimizer.update(live.gradients, optimizer.init(params))
    live.variables = {**live.variables, "params": optax.apply_updates(params, updates)}


def put(array: Any, device: str) -> Any:
    return jax.device_put(array, jax.devices(device)[0])


def wait(live: Any, results: Any) -> None:
    jax.block_until_ready(results)


def copy(live: Any, x: Any) -> Any:
    return jnp.copy(x)


def compilations(live: Any) -> int:
    return int(live.step._cache_size()) if live.mode == "compiled" else 0


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
STATISTICS = Declared(
    field="statistics_dtype",
    value="float32",
    source="source code",
    where="flax/linen/normalization.py, BatchNorm.__call__: jnp.zeros(s, jnp.float32 if force_float32_reductions ...)",
)
X64 = jax.config.jax_enable_x64
DOCUMENTATION = "https://flax.readthedocs.io/en/latest/api_reference/flax.linen/layers.html#flax.linen.BatchNorm"


def implementation(name: str, call: Callable[[Configuration], Call], op: str = "batch_norm") -> Implementation:
    """A row: the layer by one way of calling its constructor."""
    return Implementation(
        name=name,
        op=op,
        # Under x64 the statistics begin as float32, and the first update makes them float64.
        profile=() if X64 else (STATISTICS,),
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
        documentation=DOCUMENTATION,
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
        implementation("flax.linen.BatchNorm", call),
        implementation("flax.linen.BatchNorm+two_pass", call_two_pass),
        implementation("flax.linen.BatchNorm+mask", call, "masked_batch_norm"),
        implementation("flax.linen.BatchNorm+mask+two_pass", call_two_pass, "masked_batch_norm"),
    ),
)

"""Flax's `flax.linen.BatchNorm`, a pure function of its variables, through JAX's transformations.

Checkpoints, donated buffers, stacks, accumulated gradients, further derivatives.
"""

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

PROCESSES = "jax-alone"

#: Our name -> Flax's name for the same variable, and linen's collection.
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
    if 0 in configuration.feature_axes:
        return "one layer: a stack of them is mapped over"
    if "float64" in (configuration.dtype, configuration.parameter_dtype) and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def supports_stack(configuration: Configuration) -> str | None:
    if configuration.feature_axes[0] != 0 or len(configuration.feature_axes) != 2:
        return "a stack of layers, one for each index of axis 0, with one feature axis each"
    if configuration.dtype == "float64" and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def call(configuration: Configuration) -> Call:
    """Two passes: what a transformation does shall not hide behind what one pass loses."""
    return Call(path="flax.linen.BatchNorm", keywords=keywords(configuration))


def keywords(configuration: Configuration) -> dict[str, Any]:
    stacked = 0 in configuration.feature_axes
    return {
        "axis": configuration.feature_axes[-1] - stacked,
        "momentum": configuration.decay,
        "epsilon": configuration.epsilon,
        "dtype": configuration.dtype,
        "param_dtype": configuration.parameter_dtype,
        "use_bias": configuration.center,
        "use_scale": configuration.scale,
        "use_fast_variance": False,
    }


def start(
    layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str, transform: Any, donates: bool
) -> Any:
    if next(STARTS) % FORGET_EVERY == 0:
        jax.clear_caches()
    device = jax.devices(device)[0]
    variables: dict[str, dict[str, Any]] = {"params": {}, "batch_stats": {}}
    for ours, value in state.items():
        # The statistics are float32, and those of float64 parameters are stored as float64 in later steps.
        kept = (
            value if COLLECTIONS[NAMES[ours]] == "params" else value.astype(jnp.promote_types(value.dtype, "float32"))
        )
        variables[COLLECTIONS[NAMES[ours]]][NAMES[ours]] = jax.device_put(kept, device)
    parts = configuration.options.get("virtual_batch", configuration.shape[0])
    pure = functools.partial(transform, layer, parts)
    if mode == "eager":
        step = pure
    else:
        step = compiled(layer, transform, parts, replace(configuration, memory="contiguous"), donates)
    return SimpleNamespace(
        variables=variables,
        step=step,
        mode=mode,
        device=device,
        gradients={},
    )


@functools.lru_cache(maxsize=64)
def compiled(layer: Any, transform: Any, parts: int, configuration: Configuration, donates: bool) -> Any:
    """The jitted step of one configuration, whatever the order in memory, which jax.Array does not keep."""
    given = (0, 1, 2) if donates else ()
    return jax.jit(functools.partial(transform, layer, parts), static_argnames="training", donate_argnums=given)


def state(live: Any) -> Quantities:
    stored = {**live.variables["params"], **live.variables["batch_stats"]}
    return {ours: np.asarray(stored[theirs]) for ours, theirs in NAMES.items() if theirs in stored}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, live.gradients, live.variables = run(live, x, upstream, training=True)
    return named(quantities, live.gradients)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, live.variables = run(live, x, upstream, training=False)
    return named(quantities, gradients)


def run(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    return live.step(live.variables, jax.device_put(x, live.device), upstream, training=training)


def named(quantities: Any, gradients: Any) -> Quantities:
    names = {"grad_gamma": "scale", "grad_beta": "bias"}
    return {**quantities, **{ours: gradients[theirs] for ours, theirs in names.items() if theirs in gradients}}


def step(layer: Any, checkpointed: bool, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    """Quantities, gradients of the parameters, and the variables after one call."""

    def forward(params: Any, x: Any) -> Any:
        given = {**variables, "params": params}
        return layer.apply(given, x, use_running_average=not training, mutable=["batch_stats"])

    call = jax.checkpoint(forward) if checkpointed else forward
    if upstream is None:
        output, updated = call(variables["params"], x)
        return {"output": output}, {}, {**variables, **updated}
    output, pullback, updated = jax.vjp(call, variables["params"], x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, gradients, {**variables, **updated}


def checkpointed(layer: Any, _: int, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    return step(layer, True, variables, x, upstream, training)


def plain(layer: Any, _: int, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    return step(layer, False, variables, x, upstream, training)


def stacked(layer: Any, _: int, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    return jax.vmap(functools.partial(step, layer, False, training=training))(variables, x, upstream)


def accumulated(layer: Any, parts: int, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    """One train step in parts: a scan that carries the gradients and the statistics."""
    if not training or not x.shape[0]:
        return step(layer, False, variables, x, upstream, training)

    def each(carried: Any, given: Any) -> Any:
        (gradients, variables), (x, upstream) = carried, given
        quantities, own, variables = step(layer, False, variables, x, upstream, training=True)
        return (jax.tree.map(jnp.add, gradients, own), variables), quantities

    divided = [array.reshape(-1, parts, *array.shape[1:]) for array in (x, upstream)]
    none = jax.tree.map(jnp.zeros_like, variables["params"])
    (gradients, variables), quantities = jax.lax.scan(each, (none, variables), divided)
    return jax.tree.map(lambda array: array.reshape(x.shape), quantities), gradients, variables


def train_further(live: Any, x: Any, upstream: Any, tangent: Any) -> Quantities:
    return run_further(live, x, upstream, tangent, training=True)


def infer_further(live: Any, x: Any, upstream: Any, tangent: Any) -> Quantities:
    return run_further(live, x, upstream, tangent, training=False)


def run_further(live: Any, x: Any, upstream: Any, tangent: Any, training: bool) -> Quantities:
    given = [jax.device_put(each, live.device) for each in (x, upstream, tangent)]
    quantities, gradients, second, live.variables = live.step(live.variables, *given, training=training)
    again = {"second_grad_gamma": second["scale"]} if "scale" in second else {}
    return {**named(quantities, gradients), **again}


def derivatives(layer: Any, _: int, variables: Any, x: Any, upstream: Any, tangent: Any, training: bool) -> Any:
    """Forward along the tangent, backward, and the input gradient backward once more."""

    def forward(params: Any, x: Any) -> Any:
        given = {**variables, "params": params}
        return layer.apply(given, x, use_running_average=not training, mutable=["batch_stats"])

    def backward(params: Any, x: Any, upstream: Any) -> Any:
        output, pullback, updated = jax.vjp(forward, params, x, has_aux=True)
        gradients, grad_input = pullback(upstream)
        return grad_input, (output, gradients, updated)

    params = variables["params"]
    _, along, _ = jax.jvp(functools.partial(forward, params), (x,), (tangent,), has_aux=True)
    grad_input, pullback, (output, gradients, updated) = jax.vjp(backward, params, x, upstream, has_aux=True)
    second, second_input, second_upstream = pullback(tangent)
    quantities = {
        "output": output,
        "grad_input": grad_input,
        "tangent_output": along,
        "second_grad_input": second_input,
        "second_grad_upstream": second_upstream,
    }
    return quantities, gradients, second, {**variables, **updated}


def sgd(live: Any, learning_rate: float) -> None:
    optimizer, params = optax.sgd(learning_rate), live.variables["params"]
    updates, _ = optimizer.update(live.gradients, optimizer.init(params))
    live.variables = {**live.variables, "params": optax.apply_updates(params, updates)}


def reload(live: Any) -> Any:
    saved = flax.serialization.to_bytes(live.variables)
    fresh = jax.tree.map(jnp.zeros_like, live.variables)
    live.variables = jax.device_put(flax.serialization.from_bytes(fresh, saved), live.device)
    return live


def compilations(live: Any) -> int:
    return int(live.step._cache_size()) if live.mode == "compiled" else 0


STATISTICS = Declared(
    field="statistics_dtype",
    value="float32",
    source="source code",
    where="flax/linen/normalization.py, BatchNorm.__call__: jnp.zeros(s, jnp.float32 if force_float32_reductions ...)",
)
X64 = jax.config.jax_enable_x64
DOCUMENTATION = "https://docs.jax.dev/en/latest/_autosummary/"


def linen(
    name: str, op: str, page: str, transform: Callable[..., Any], *, donates: bool = False, **fields: Any
) -> Implementation:
    """A row: linen's layer through one transformation."""
    return Implementation(
        **{
            "name": f"flax.linen.BatchNorm+{name}",
            "op": op,
            # Under x64 the statistics begin as float32, and the first update makes them float64.
            "profile": () if X64 else (STATISTICS,),
            "modes": ("compiled",) if donates else ("eager", "compiled"),
            "devices": ("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",),
            "dtypes": ("float64",) if X64 else ("float32", "float16", "bfloat16"),
            "supports": supports,
            "call": call,
            "start": functools.partial(start, transform=transform, donates=donates),
            "state": state,
            "steps": {"train": train, "infer": infer, "reload": reload, "sgd": sgd},
            "compilations": compilations,
            "documentation": DOCUMENTATION + page,
            **fields,
        }
    )


TRANSFORMED = "transformed_batch_norm"

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
        linen("checkpoint", TRANSFORMED, "jax.checkpoint.html", checkpointed),
        linen("donated", TRANSFORMED, "jax.jit.html", plain, donates=True),
        linen("vmap", TRANSFORMED, "jax.vmap.html", stacked, supports=supports_stack),
        linen("accumulation", "virtual_batch_norm", "jax.lax.scan.html", accumulated),
        linen(
            "derivatives",
            "differentiated_batch_norm",
            "jax.jvp.html",
            derivatives,
            steps={"train": train_further, "infer": infer_further},
        ),
    ),
)

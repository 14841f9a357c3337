"""JAX: its dtypes, devices and settings; how a pure step is jitted, differentiated, timed and followed by an optimizer."""

from __future__ import annotations

import functools
import itertools
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

X64 = jax.config.jax_enable_x64
DTYPES = ("float64",) if X64 else ("float32", "float16", "bfloat16")

#: JAX keeps every program it compiled, those of eager operations too, some 1.5 MB each: forgotten every so many starts.
FORGET_EVERY = 192
STARTS = itertools.count(1)

#: How a step is jitted: one program in training, another in inference.
JIT = functools.partial(jax.jit, static_argnames="training")


def supports_dtype(configuration: Configuration) -> str | None:
    """Any dtype that JAX has switched on."""
    if "float64" in (configuration.dtype, configuration.parameter_dtype) and not X64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def with_keywords(call: Call, **keywords: Any) -> Call:
    """The call with these keywords too, or in place of its own."""
    return replace(call, keywords={**call.keywords, **keywords})


def prepare(
    step: Any, arguments: tuple[Any, ...], configuration: Configuration, mode: str, jit: Any = JIT, key: Any = None
) -> Any:
    """The step with its first arguments, itself or jitted; `key` is what else one program of it depends on."""
    if next(STARTS) % FORGET_EVERY == 0:
        jax.clear_caches()
    if mode == "eager":
        return functools.partial(step, *arguments)
    return jitted(step, arguments, replace(configuration, memory="contiguous", upstream_memory=None), jit, key)


@functools.lru_cache(maxsize=64)
def jitted(step: Any, arguments: tuple[Any, ...], configuration: Configuration, jit: Any, key: Any) -> Any:
    """The jitted step of one configuration, whatever the order in memory, which jax.Array does not keep."""
    return jit(functools.partial(step, *arguments))


def compilations(live: Any) -> int:
    return int(live.step._cache_size()) if live.mode == "compiled" else 0


def begun_pure(
    apply: Any, layer: Any, values: Any, read: Any, configuration: Configuration, mode: str, device: Any
) -> Any:
    """What the steps need of `apply(layer, parameters, moving, x, training)`, which gives output and moving values.

    `values` are the parameters and the moving values, and `read` names the values of either as we do.
    """
    parameters, moving = jax.device_put(values, device)
    return SimpleNamespace(
        parameters=parameters,
        moving=moving,
        read=read,
        step=prepare(step_pure, (apply, layer), configuration, mode),
        mode=mode,
        device=device,
        gradients={},
    )


def parted(values: Any) -> tuple[Any, Any]:
    """The values by our names as parameters and moving values."""
    moving = {name: value for name, value in values.items() if name.startswith("moving")}
    return {name: value for name, value in values.items() if name not in moving}, moving


def state_pure(live: Any) -> Quantities:
    values = {**live.read(live.parameters), **live.read(live.moving)}
    return {name: np.asarray(value) for name, value in values.items()}


def train_pure(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, live.gradients, live.moving = run_pure(live, x, upstream, training=True)
    return with_gradients(quantities, live.read(live.gradients))


def infer_pure(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, _ = run_pure(live, x, upstream, training=False)
    return with_gradients(quantities, live.read(gradients))


def run_pure(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    x, upstream = jax.device_put((x, upstream), live.device)
    return live.step(live.parameters, live.moving, x, upstream, training=training)


def with_gradients(quantities: Any, learned: Any) -> Quantities:
    """The quantities, and the gradients of gamma and beta."""
    return {**quantities, **{f"grad_{name}": gradient for name, gradient in learned.items()}}


def step_pure(
    apply: Any, layer: Any, parameters: Any, moving: Any, x: Any, upstream: Any, training: bool
) -> tuple[Any, Any, Any]:
    """Quantities, gradients of the parameters, and the moving values after one call."""

    def forward(parameters: Any, x: Any) -> Any:
        return apply(layer, parameters, moving, x, training)

    return differentiate(forward, parameters, x, upstream)


def differentiate(forward: Any, parameters: Any, x: Any, upstream: Any, vjp: Any = jax.vjp) -> tuple[Any, Any, Any]:
    """Quantities, gradients of the parameters, and what the call gives beside its output."""
    if upstream is None:
        output, updated = forward(parameters, x)
        return {"output": output}, {}, updated
    output, pullback, updated = vjp(forward, parameters, x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, gradients, updated


def sgd_pure(live: Any, learning_rate: float) -> None:
    live.parameters = descended(live.parameters, live.gradients, learning_rate)


def descended(parameters: Any, gradients: Any, learning_rate: float) -> Any:
    """The parameters after a step of the optimizer."""
    optimizer = optax.sgd(learning_rate)
    updates, _ = optimizer.update(gradients, optimizer.init(parameters))
    return optax.apply_updates(parameters, updates)


def timed(train: Callable[..., Any], infer: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Steps that convert nothing where they are given JAX's own arrays."""
    return {
        "put": lambda array, device: jax.device_put(array, jax.devices(device)[0]),
        "get": np.asarray,
        "wait": lambda live, results: jax.block_until_ready(results),
        "copy": lambda live, x: jnp.copy(x),
        "infer": infer,
        "train_forward": train,
        "train": train,
    }


#: When each stretch of tracing, lowering or compiling began, and how long it took; none lies within another.
STRETCHES: list[tuple[float, float]] = []


def note(event: str, seconds: float, **_: Any) -> None:
    """Keep a stretch that JAX tells the end of, in place of those that lie within it."""
    if event.startswith("/jax/core/compile/"):
        began = time.monotonic() - seconds
        while STRETCHES and STRETCHES[-1][0] >= began:
            STRETCHES.pop()
        STRETCHES.append((began, seconds))


jax.monitoring.register_event_duration_secs_listener(note)


def compile_seconds() -> float:
    return math.fsum(seconds for _, seconds in STRETCHES)


#: How the names of the threads begin in which XLA computes.
POOL = "tf_XLAEigen"


def row(**fields: Any) -> Implementation:
    """A row of a library on JAX, with what is so in most of them where it is not among the fields."""
    most = {
        "op": "batch_norm",
        "profile": (),
        "modes": ("eager", "compiled"),
        "devices": ("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",),
        "dtypes": DTYPES,
        "compilations": compilations,
    }
    return Implementation(**{**most, **fields})


def adapter(library: str, versions: dict[str, str], *rows: Implementation) -> Adapter:
    """The adapter of a library on JAX, of these versions and JAX's."""
    return Adapter(
        library=library,
        versions={**versions, "jax": jax.__version__, "jaxlib": jaxlib.__version__, "optax": optax.__version__},
        settings={
            "x64": str(X64),
            "platform": jax.default_backend(),
            "matmul precision": str(jax.config.jax_default_matmul_precision),
            "dtype promotion": str(jax.config.jax_numpy_dtype_promotion),
            "jit disabled": str(jax.config.jax_disable_jit),
            "preallocation": os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "default"),
            "XLA flags": os.environ.get("XLA_FLAGS", ""),
        },
        pool=POOL,
        compiling=compile_seconds,
        implementations=rows,
    )

"""JAX: batch normalization written out in `jax.numpy`, with statistics in float32 or wider."""

from __future__ import annotations

import functools
import io
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "jax"


#: JAX keeps every program it compiled, those of eager operations too, some 1.5 MB each: forgotten every so many starts.
FORGET_EVERY = 192
STARTS = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """Two-pass batch normalization as a pure function; an empty batch leaves the moving values alone."""

    axes: tuple[int, ...]
    decay: float
    epsilon: float

    def __call__(self, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
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

    def move(self, old: Any, batch: Any) -> Any:
        moved = self.decay * old.astype(batch.dtype) + (1 - self.decay) * batch
        return moved.astype(old.dtype)

    def spread(self, value: Any, x: Any) -> Any:
        return jnp.expand_dims(value.astype(x.dtype), self.axes)


def supports(configuration: Configuration) -> str | None:
    """Every axis, and every dtype that JAX has switched on."""
    if "float64" in (configuration.dtype, configuration.parameter_dtype) and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def call(configuration: Configuration) -> Call:
    return Call(
        path="BatchNorm",
        keywords={
            "axes": configuration.reduction_axes,
            "decay": configuration.decay,
            "epsilon": configuration.epsilon,
        },
    )


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
    values = {name: jax.device_put(value, device) for name, value in state.items()}
    return SimpleNamespace(
        parameters={name: values[name] for name in ("gamma", "beta") if name in values},
        moving={name: values[name] for name in ("moving_mean", "moving_variance")},
        step=prepare(layer, configuration, mode),
        mode=mode,
        device=device,
        gradients={},
    )


def state(live: Any) -> Quantities:
    return {name: np.asarray(value) for name, value in {**live.parameters, **live.moving}.items()}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    upstream = jax.device_put(upstream, live.device)
    results = live.step(live.parameters, live.moving, jax.device_put(x, live.device), upstream, training=True)
    quantities, live.gradients, live.moving = results
    return quantities


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    results = live.step(live.parameters, live.moving, jax.device_put(x, live.device), upstream, training=False)
    quantities, _, _ = results
    return quantities


def step(layer: Any, parameters: Any, moving: Any, x: Any, upstream: Any, training: bool) -> Any:
    """Quantities, gradients of the parameters, and the moving values after one call."""
    if upstream is None:
        output, moving = layer(parameters, moving, x, training)
        return {"output": output}, {}, moving

    def forward(parameters: Any, x: Any) -> Any:
        return layer(parameters, moving, x, training)

    output, pullback, moving = jax.vjp(forward, parameters, x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    learned = {f"grad_{name}": value for name, value in gradients.items()}
    return {"output": output, "grad_input": grad_input, **learned}, gradients, moving


def reload(live: Any) -> Any:
    live.parameters, live.moving = jax.tree.map(saved_and_loaded, (live.parameters, live.moving))
    return live


def saved_and_loaded(value: Any) -> Any:
    file = io.BytesIO()
    jnp.save(file, value)
    file.seek(0)
    return jax.device_put(jnp.load(file), value.device)


def sgd(live: Any, learning_rate: float) -> None:
    optimizer = optax.sgd(learning_rate)
    updates, _ = optimizer.update(live.gradients, optimizer.init(live.parameters))
    live.parameters = optax.apply_updates(live.parameters, updates)


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

ADAPTER = Adapter(
    library="jax",
    versions={"jax": jax.__version__, "jaxlib": jaxlib.__version__, "optax": optax.__version__},
    settings={
        "x64": str(jax.config.jax_enable_x64),
        "platform": jax.default_backend(),
        "matmul precision": str(jax.config.jax_default_matmul_precision),
        "dtype promotion": str(jax.config.jax_numpy_dtype_promotion),
        "jit disabled": str(jax.config.jax_disable_jit),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    pool="tf_XLAEigen",
    implementations=(
        Implementation(
            name="jax.numpy",
            op="batch_norm",
            profile=(),
            modes=("eager", "compiled"),
            devices=("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",),
            dtypes=("float64",) if jax.config.jax_enable_x64 else ("float32", "float16", "bfloat16"),
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer, "reload": reload, "sgd": sgd},
            timed=TIMED,
            compilations=compilations,
            documentation="https://docs.jax.dev/en/latest/jax.numpy.html",
        ),
    ),
)

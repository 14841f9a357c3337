"""JAX: `jax.nn.standardize` by its two algorithms, times gamma plus beta."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "jax"

#: JAX keeps every program it compiled, those of eager operations too, some 1.5 MB each: forgotten every so many starts.
FORGET_EVERY = 192
STARTS = itertools.count(1)


def supports(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "the result has the dtype of `x`, and arithmetic between two dtypes promotes it to the wider"
    if configuration.dtype == "float64" and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def call(configuration: Configuration) -> Call:
    return Call(
        path="jax.nn.standardize",
        keywords={"axis": configuration.reduction_axes, "epsilon": configuration.epsilon},
        function=True,
    )


def call_stable(configuration: Configuration) -> Call:
    fast = call(configuration)
    return replace(fast, keywords={**fast.keywords, "algorithm": "stable"})


def prepare(function: Any, configuration: Configuration, mode: str) -> Any:
    if next(STARTS) % FORGET_EVERY == 0:
        jax.clear_caches()
    if mode == "eager":
        return functools.partial(step, function)
    return compiled(tuple(function.keywords.items()), replace(configuration, memory="contiguous"))


@functools.lru_cache(maxsize=64)
def compiled(keywords: tuple[tuple[str, Any], ...], configuration: Configuration) -> Any:
    """The jitted step of one configuration, whatever the order in memory, which jax.Array does not keep."""
    return jax.jit(functools.partial(step, functools.partial(jax.nn.standardize, **dict(keywords))))


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    spread = {name: np.expand_dims(value, configuration.reduction_axes) for name, value in state.items()}
    values = {name: jax.device_put(value, device) for name, value in spread.items()}
    return SimpleNamespace(
        parameters={name: values[name] for name in ("gamma", "beta") if name in values},
        moving={"mean": values["moving_mean"], "variance": values["moving_variance"]},
        step=prepare(function, configuration, mode),
        mode=mode,
        device=device,
        gradients={},
    )


def state(live: Any) -> Quantities:
    stored = {**live.parameters, "moving_mean": live.moving["mean"], "moving_variance": live.moving["variance"]}
    return {name: np.asarray(value) for name, value in stored.items()}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, live.gradients = run(live, x, upstream, {})
    return quantities


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, _ = run(live, x, upstream, live.moving)
    return quantities


def run(live: Any, x: Any, upstream: Any, statistics: Any) -> Any:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    return live.step(live.parameters, statistics, jax.device_put(x, live.device), upstream)


def step(function: Any, parameters: Any, statistics: Any, x: Any, upstream: Any) -> Any:
    """Quantities and gradients of the parameters; without statistics those of `x` are taken."""

    def forward(parameters: Any, x: Any) -> Any:
        output = function(x, **statistics)
        if "gamma" in parameters:
            output = output * parameters["gamma"]
        return output + parameters["beta"] if "beta" in parameters else output

    if upstream is None:
        return {"output": forward(parameters, x)}, {}
    output, pullback = jax.vjp(forward, parameters, x)
    gradients, grad_input = pullback(upstream)
    learned = {f"grad_{name}": value for name, value in gradients.items()}
    return {"output": output, "grad_input": grad_input, **learned}, gradients


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
CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="jax.nn.standardize: optionally specify the mean and the variance used for standardization",
)
X64 = jax.config.jax_enable_x64


def implementation(name: str, call: Callable[[Configuration], Call]) -> Implementation:
    """A row: the function by one algorithm."""
    return Implementation(
        name=name,
        op="batch_norm",
        profile=(CALLER_STATE,),
        modes=("eager", "compiled"),
        devices=("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",),
        dtypes=("float64",) if X64 else ("float32", "float16", "bfloat16"),
        supports=supports,
        call=call,
        start=start,
        state=state,
        steps={"train": train, "infer": infer, "sgd": sgd},
        timed=TIMED,
        compilations=compilations,
        documentation="https://docs.jax.dev/en/latest/_autosummary/jax.nn.standardize.html",
    )


ADAPTER = Adapter(
    library="jax",
    versions={"jax": jax.__version__, "jaxlib": jaxlib.__version__, "optax": optax.__version__},
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
        implementation("jax.nn.standardize", call),
        implementation("jax.nn.standardize+stable", call_stable),
    ),
)

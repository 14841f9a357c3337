"""Haiku: `haiku.BatchNorm`, and a `Centering` module around `haiku.ExponentialMovingAverage`."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import jaxlib
import jmp
import numpy as np
import optax

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "jax"


class Centering(hk.Module):
    """Subtracts the batch mean in training and its exponential moving average in inference."""

    def __init__(self, axes: tuple[int, ...], decay: float) -> None:
        super().__init__()
        self.axes = axes
        self.mean_ema = hk.ExponentialMovingAverage(decay, name="mean_ema")

    def __call__(self, x: Any, is_training: bool) -> Any:
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if not is_training:
            return (wide - self.mean_ema.average).astype(x.dtype)
        if not x.size:
            return x
        mean = jnp.mean(wide, self.axes, keepdims=True)
        self.mean_ema(mean)
        return (wide - mean).astype(x.dtype)


#: Our name -> Haiku's names of the module and of the value.
PARAMETERS = {"gamma": ("batch_norm", "scale"), "beta": ("batch_norm", "offset")}
AVERAGES = {
    "batch_norm": {
        "moving_mean": ("batch_norm/~/mean_ema", "average"),
        "moving_variance": ("batch_norm/~/var_ema", "average"),
    },
    "centering": {"moving_mean": ("centering/~/mean_ema", "average")},
}

#: JAX keeps every program it compiled, those of eager operations too, some 1.5 MB each: forgotten every so many starts.
FORGET_EVERY = 192
STARTS = itertools.count(1)


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
    if "float64" in (configuration.dtype, configuration.parameter_dtype) and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def call(configuration: Configuration) -> Call:
    """The constructor, which runs within `haiku.transform_with_state`."""
    return Call(
        path="haiku.BatchNorm",
        keywords={
            "create_scale": configuration.scale,
            "create_offset": configuration.center,
            "decay_rate": configuration.decay,
            "eps": configuration.epsilon,
            "axis": configuration.reduction_axes,
        },
        function=True,
    )


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering",
        keywords={"axes": configuration.reduction_axes, "decay": configuration.decay},
        function=True,
    )


def transformed(build: Any, configuration: Configuration) -> Any:
    """The pure functions `init` and `apply`."""
    mixed = configuration.op == "batch_norm" and configuration.parameter_dtype != configuration.dtype
    # As in Haiku's ImageNet example, batch normalization itself stays in full precision.
    policy = jmp.get_policy(f"params=float32,compute=float32,output={configuration.dtype}") if mixed else None
    return hk.transform_with_state(functools.partial(forward, build, policy))


def forward(build: Any, policy: Any, x: Any, is_training: bool) -> Any:
    if policy is None:
        return build()(x, is_training)
    with hk.mixed_precision.push_policy(hk.BatchNorm, policy):
        return build()(x, is_training)


def prepare(build: Any, configuration: Configuration, mode: str) -> Any:
    if next(STARTS) % FORGET_EVERY == 0:
        jax.clear_caches()
    if mode == "eager":
        return functools.partial(step, transformed(build, configuration).apply)
    return compiled(build.func, tuple(build.keywords.items()), replace(configuration, memory="contiguous"))


@functools.lru_cache(maxsize=64)
def compiled(module: Any, keywords: tuple[tuple[str, Any], ...], configuration: Configuration) -> Any:
    """The jitted step of one configuration, whatever the order in memory, which jax.Array does not keep."""
    build = functools.partial(module, **dict(keywords))
    return jax.jit(functools.partial(step, transformed(build, configuration).apply), static_argnames="is_training")


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    initialize = functools.partial(transformed(build, configuration).init, is_training=True)
    x = jax.ShapeDtypeStruct(configuration.shape, jnp.dtype(configuration.dtype))
    fresh = jax.tree.map(
        lambda each: np.zeros(each.shape, each.dtype), jax.eval_shape(initialize, jax.random.key(0), x)
    )
    for tree, names in zip(fresh, (PARAMETERS, AVERAGES[configuration.op]), strict=True):
        for ours in names.keys() & state.keys():
            module, theirs = names[ours]
            tree[module][theirs] = state[ours].reshape(tree[module][theirs].shape)
    parameters, averages = jax.device_put(fresh, device)
    return SimpleNamespace(
        parameters=parameters,
        averages=averages,
        names=AVERAGES[configuration.op],
        step=prepare(build, configuration, mode),
        mode=mode,
        device=device,
        gradients={},
    )


def state(live: Any) -> Quantities:
    stored = {**named(live.parameters, PARAMETERS), **named(live.averages, live.names)}
    return {name: np.asarray(value) for name, value in stored.items()}


def named(tree: Any, names: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """The values of Haiku's tree under our names."""
    return {ours: tree[module][theirs] for ours, (module, theirs) in names.items() if theirs in tree.get(module, {})}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, live.gradients, live.averages = run(live, x, upstream, is_training=True)
    return {**quantities, **{f"grad_{name}": value for name, value in named(live.gradients, PARAMETERS).items()}}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, _ = run(live, x, upstream, is_training=False)
    return {**quantities, **{f"grad_{name}": value for name, value in named(gradients, PARAMETERS).items()}}


def run(live: Any, x: Any, upstream: Any, is_training: bool) -> Any:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    x = jax.device_put(x, live.device)
    return live.step(live.parameters, live.averages, x, upstream, is_training=is_training)


def step(apply: Any, parameters: Any, averages: Any, x: Any, upstream: Any, is_training: bool) -> Any:
    """Quantities, gradients of the parameters, and the state after one call."""

    def forward(parameters: Any, x: Any) -> Any:
        return apply(parameters, averages, None, x, is_training)

    if upstream is None:
        output, updated = forward(parameters, x)
        return {"output": output}, {}, updated
    output, pullback, updated = jax.vjp(forward, parameters, x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, gradients, updated


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
DEBIASED = Declared(
    field="update",
    value="zero_debiased",
    source="documentation",
    where="haiku.ExponentialMovingAverage: This uses the Adam debiasing procedure (zero_debias=True by default)",
)
X64 = jax.config.jax_enable_x64
MODES = ("eager", "compiled")
DEVICES = ("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",)
DTYPES = ("float64",) if X64 else ("float32", "float16", "bfloat16")
DOCUMENTATION = "https://dm-haiku.readthedocs.io/en/latest/api.html#"

ADAPTER = Adapter(
    library="haiku",
    versions={
        "haiku": hk.__version__,
        "jmp": jmp.__version__,
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
        Implementation(
            name="haiku.BatchNorm",
            op="batch_norm",
            profile=(DEBIASED,),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer, "sgd": sgd},
            timed=TIMED,
            compilations=compilations,
            documentation=DOCUMENTATION + "batchnorm",
        ),
        Implementation(
            name="haiku.Centering",
            op="centering",
            profile=(DEBIASED,),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports_centering,
            call=call_centering,
            start=start,
            state=state,
            steps={"train": train, "infer": infer},
            timed=TIMED,
            compilations=compilations,
            documentation=DOCUMENTATION + "exponentialmovingaverage",
        ),
    ),
)

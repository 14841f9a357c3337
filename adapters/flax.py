"""Flax: `flax.linen.BatchNorm`, `flax.nnx.BatchNorm`, and a `Centering` module of nnx."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flax
import flax.linen  # noqa: F401 - calls name it by its path
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax
import orbax.checkpoint
from flax import nnx

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = [
    {
        "name": "flax",
        "group": "jax",
        "environment": {"JAX_ENABLE_X64": "0", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        "dtypes": ["float32", "float16", "bfloat16"],
        "threads": {"NPROC": "{threads}"},
    },
    # Without x64, jax.numpy turns float64 into float32.
    {
        "name": "flax-x64",
        "group": "jax",
        "environment": {"JAX_ENABLE_X64": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        "dtypes": ["float64"],
        "threads": {"NPROC": "{threads}"},
    },
]

#: Our name -> Flax's name for the same variable, and linen's collection of it.
NAMES = {
    "gamma": "scale",
    "beta": "bias",
    "moving_mean": "mean",
    "moving_variance": "var",
}
COLLECTIONS = {"scale": "params", "bias": "params", "mean": "batch_stats", "var": "batch_stats"}


class Centering(nnx.Module):
    """Subtracts the batch mean in training and the moving mean in inference; frozen, it infers."""

    def __init__(
        self, features: tuple[int, ...], axes: tuple[int, ...], decay: float, param_dtype: Any, *, rngs: nnx.Rngs
    ) -> None:
        self.axes, self.decay = axes, decay
        self.use_running_average = self.frozen = False
        self.mean = nnx.BatchStat(jnp.zeros(features, param_dtype))

    def __call__(self, x: Any) -> Any:
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        moving = self.mean[...]
        if self.use_running_average or self.frozen or not x.size:
            return (wide - jnp.expand_dims(moving, self.axes)).astype(x.dtype)
        mean = jnp.mean(wide, self.axes)
        old = moving.astype(wide.dtype)
        self.mean[...] = (self.decay * old + (1 - self.decay) * mean).astype(moving.dtype)
        return (wide - jnp.expand_dims(mean, self.axes)).astype(x.dtype)


def supports(configuration: Configuration) -> str | None:
    """The `axis` of linen takes one axis or several, and `param_dtype` any dtype that JAX has switched on."""
    if "float64" in (configuration.dtype, configuration.parameter_dtype) and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def supports_nnx(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`num_features` is one integer, and `axis` the one feature axis"
    return supports(configuration)


def call(configuration: Configuration) -> Call:
    axes = configuration.feature_axes
    return Call(path="flax.linen.BatchNorm", keywords=keywords(configuration, axes[0] if len(axes) == 1 else axes))


def call_nnx(configuration: Configuration) -> Call:
    """The constructor without its `rngs`, which is not data."""
    return Call(
        path="flax.nnx.BatchNorm",
        keywords={
            "num_features": configuration.feature_count,
            **keywords(configuration, configuration.feature_axes[0]),
        },
        function=True,
    )


def keywords(configuration: Configuration, axis: int | tuple[int, ...]) -> dict[str, Any]:
    """The keywords that linen and nnx share."""
    return {
        "axis": axis,
        "momentum": configuration.decay,
        "epsilon": configuration.epsilon,
        "dtype": configuration.dtype,
        "param_dtype": configuration.parameter_dtype,
        "use_bias": configuration.center,
        "use_scale": configuration.scale,
    }


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


def prepare(layer: Any, configuration: Configuration, mode: str) -> Any:
    if mode == "eager":
        return functools.partial(step, layer)
    return compiled(layer, replace(configuration, memory="contiguous"))


@functools.cache
def compiled(layer: Any, configuration: Configuration) -> Any:
    """The jitted step of one configuration: equal signatures compile once per process."""
    return jax.jit(functools.partial(step, layer), static_argnames="training")


def prepare_nnx(configuration: Configuration, mode: str) -> Any:
    return step_nnx if mode == "eager" else compiled_nnx(replace(configuration, memory="contiguous"))


@functools.cache
def compiled_nnx(configuration: Configuration) -> Any:
    """The jitted step of one configuration: equal signatures compile once per process."""
    return nnx.jit(functools.partial(step_nnx))


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
        gradients={},
    )


def start_nnx(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    with jax.default_device(device):
        layer = build(rngs=nnx.Rngs(0))
    for ours, value in state.items():
        variable = getattr(layer, NAMES[ours])
        variable[...] = jax.device_put(value.astype(variable[...].dtype), device)
    return SimpleNamespace(
        layer=layer,
        step=prepare_nnx(configuration, mode),
        mode=mode,
        device=device,
        gradients={},
    )


def state(live: Any) -> Quantities:
    stored = {**live.variables["params"], **live.variables["batch_stats"]}
    return {ours: np.asarray(stored[theirs]) for ours, theirs in NAMES.items() if theirs in stored}


def state_nnx(live: Any) -> Quantities:
    stored = nnx.to_pure_dict(nnx.state(live.layer))
    return {ours: np.asarray(stored[theirs]) for ours, theirs in NAMES.items() if theirs in stored}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, live.gradients, live.variables = run(live, x, upstream, training=True)
    return named(quantities, live.gradients)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, _ = run(live, x, upstream, training=False)
    return named(quantities, gradients)


def run(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    return live.step(live.variables, jax.device_put(x, live.device), upstream, training=training)


def named(quantities: Any, gradients: Any) -> Quantities:
    names = {"grad_gamma": "scale", "grad_beta": "bias"}
    return {**quantities, **{ours: gradients[theirs] for ours, theirs in names.items() if theirs in gradients}}


def step(layer: Any, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    """Quantities, gradients of the parameters, and the variables after one call."""

    def forward(params: Any, x: Any) -> Any:
        given = {**variables, "params": params}
        return layer.apply(given, x, use_running_average=not training, mutable=["batch_stats"])

    if upstream is None:
        output, updated = forward(variables["params"], x)
        return {"output": output}, {}, {**variables, **updated}
    output, pullback, updated = jax.vjp(forward, variables["params"], x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, gradients, {**variables, **updated}


def train_nnx(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.train()
    quantities, live.gradients = run_nnx(live, x, upstream)
    return named(quantities, nnx.to_pure_dict(live.gradients))


def infer_nnx(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    quantities, gradients = run_nnx(live, x, upstream)
    return named(quantities, nnx.to_pure_dict(gradients))


def run_nnx(live: Any, x: Any, upstream: Any) -> Any:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    return live.step(live.layer, jax.device_put(x, live.device), upstream)


def step_nnx(layer: Any, x: Any, upstream: Any) -> Any:
    """Quantities and gradients of the parameters; the layer keeps its statistics."""
    if upstream is None:
        return {"output": layer(x)}, nnx.State({})
    output, pullback = nnx.vjp(forward, layer, x, graph=False)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, nnx.state(gradients, nnx.Param)


def forward(layer: Any, x: Any) -> Any:
    return layer(x)


def reload(live: Any) -> Any:
    saved = flax.serialization.to_bytes(live.variables)
    fresh = jax.tree.map(jnp.zeros_like, live.variables)
    live.variables = jax.device_put(flax.serialization.from_bytes(fresh, saved), live.device)
    return live


def reload_nnx(live: Any) -> Any:
    definition, stored = nnx.split(live.layer)
    fresh = jax.tree.map(jnp.zeros_like, stored)
    with tempfile.TemporaryDirectory() as folder, orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(folder, "state"), stored)
        checkpointer.wait_until_finished()
        live.layer = nnx.merge(definition, checkpointer.restore(Path(folder, "state"), fresh))
    return live


def freeze_centering(live: Any) -> None:
    live.layer.frozen = True


def unfreeze_centering(live: Any) -> None:
    live.layer.frozen = False


def sgd(live: Any, learning_rate: float) -> None:
    optimizer, params = optax.sgd(learning_rate), live.variables["params"]
    updates, _ = optimizer.update(live.gradients, optimizer.init(params))
    live.variables = {**live.variables, "params": optax.apply_updates(params, updates)}


def sgd_nnx(live: Any, learning_rate: float) -> None:
    nnx.Optimizer(live.layer, optax.sgd(learning_rate), wrt=nnx.Param).update(live.layer, live.gradients)


def compilations(live: Any) -> int:
    return int(live.step._cache_size()) if live.mode == "compiled" else 0


def compilations_nnx(live: Any) -> int:
    return int(live.step.jitted_fn._cache_size()) if live.mode == "compiled" else 0


def threads() -> str:
    """The size of XLA's pool on the CPU, as Linux counts it: JAX does not tell."""
    jax.devices("cpu")
    time.sleep(0.1)  # a thread takes its name a moment after its start
    found = 0
    for file in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            found += file.read_text().startswith("tf_XLAEigen")
    return str(found or "unknown")


STATISTICS = Declared(
    field="statistics_dtype",
    value="float32",
    source="source code",
    where="flax/linen/normalization.py, BatchNorm.__call__: jnp.zeros(s, jnp.float32 if force_float32_reductions ...)",
)
STATISTICS_NNX = Declared(
    field="statistics_dtype",
    value="float32",
    source="source code",
    where="flax/nnx/nn/normalization.py, BatchNorm.__init__: nnx.BatchStat(jnp.zeros(feature_shape, jnp.float32))",
)
X64 = jax.config.jax_enable_x64
MODES = ("eager", "compiled")
DEVICES = ("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",)
DTYPES = ("float64",) if X64 else ("float32", "float16", "bfloat16")
DOCUMENTATION = "https://flax.readthedocs.io/en/latest/api_reference/"

ADAPTER = Adapter(
    library="flax",
    versions={
        "flax": flax.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "optax": optax.__version__,
        "orbax-checkpoint": orbax.checkpoint.__version__,
    },
    settings={
        "x64": str(X64),
        "threads": threads(),
        "platform": jax.default_backend(),
        "matmul precision": str(jax.config.jax_default_matmul_precision),
        "dtype promotion": str(jax.config.jax_numpy_dtype_promotion),
        "jit disabled": str(jax.config.jax_disable_jit),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    implementations=(
        Implementation(
            name="flax.linen.BatchNorm",
            op="batch_norm",
            # Under x64 linen's statistics begin as float32, and the first update makes them float64.
            profile=() if X64 else (STATISTICS,),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer, "reload": reload, "sgd": sgd},
            compilations=compilations,
            documentation=DOCUMENTATION + "flax.linen/layers.html#flax.linen.BatchNorm",
        ),
        Implementation(
            name="flax.nnx.BatchNorm",
            op="batch_norm",
            profile=(STATISTICS_NNX,),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports_nnx,
            call=call_nnx,
            start=start_nnx,
            state=state_nnx,
            steps={"train": train_nnx, "infer": infer_nnx, "reload": reload_nnx, "sgd": sgd_nnx},
            compilations=compilations_nnx,
            documentation=DOCUMENTATION + "flax.nnx/nn/normalization.html#flax.nnx.BatchNorm",
        ),
        Implementation(
            name="flax.Centering",
            op="centering",
            profile=(),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports,
            call=call_centering,
            start=start_nnx,
            state=state_nnx,
            steps={
                "train": train_nnx,
                "infer": infer_nnx,
                "reload": reload_nnx,
                "freeze": freeze_centering,
                "unfreeze": unfreeze_centering,
            },
            compilations=compilations_nnx,
        ),
    ),
)

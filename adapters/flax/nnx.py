"""Flax's nnx: `flax.nnx.BatchNorm`, with `use_fast_variance` as it is by default and switched off, with masks, and `Centering`."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flax
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax
import orbax.checkpoint
from flax import nnx

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

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
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        moving = self.mean[...]
        if self.use_running_average or self.frozen or not x.size:
            return (wide - jnp.expand_dims(moving, self.axes)).astype(x.dtype)
        mean = jnp.mean(wide, self.axes)
        old = moving.astype(wide.dtype)
        self.mean[...] = (self.decay * old + (1 - self.decay) * mean).astype(moving.dtype)
        return (wide - jnp.expand_dims(mean, self.axes)).astype(x.dtype)


#: Our name -> Flax's name for the same variable.
NAMES = {
    "gamma": "scale",
    "beta": "bias",
    "moving_mean": "mean",
    "moving_variance": "var",
}

#: JAX keeps every program it compiled, those of eager operations too, some 1.5 MB each: forgotten every so many starts.
FORGET_EVERY = 192
STARTS = itertools.count(1)


def supports(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`num_features` is one integer, and `axis` the one feature axis"
    return supports_centering(configuration)


def supports_centering(configuration: Configuration) -> str | None:
    """Any axes, and any dtype that JAX has switched on."""
    if "float64" in (configuration.dtype, configuration.parameter_dtype) and not jax.config.jax_enable_x64:
        return "jax.numpy turns float64 into float32 unless jax_enable_x64 is set"
    return None


def call(configuration: Configuration) -> Call:
    """The constructor without its `rngs`, which is not data."""
    return Call(
        path="flax.nnx.BatchNorm",
        keywords={
            "num_features": configuration.feature_count,
            "axis": configuration.feature_axes[0],
            "momentum": configuration.decay,
            "epsilon": configuration.epsilon,
            "dtype": configuration.dtype,
            "param_dtype": configuration.parameter_dtype,
            "use_bias": configuration.center,
            "use_scale": configuration.scale,
        },
        function=True,
    )


def call_two_pass(configuration: Configuration) -> Call:
    fast = call(configuration)
    return replace(fast, keywords={**fast.keywords, "use_fast_variance": False})


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
    if next(STARTS) % FORGET_EVERY == 0:
        jax.clear_caches()
    if mode == "eager":
        return step
    return compiled(nnx.graphdef(layer), replace(configuration, memory="contiguous"))


@functools.lru_cache(maxsize=64)
def compiled(definition: Any, configuration: Configuration) -> Any:
    """The jitted step of one configuration, whatever the order in memory, which jax.Array does not keep."""
    return nnx.jit(functools.partial(step))


def start(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = jax.devices(device)[0]
    with jax.default_device(device):
        layer = build(rngs=nnx.Rngs(0))
    for ours, value in state.items():
        variable = getattr(layer, NAMES[ours])
        variable[...] = jax.device_put(value.astype(variable[...].dtype), device)
    return SimpleNamespace(
        layer=layer,
        step=prepare(layer, configuration, mode),
        mode=mode,
        device=device,
        feature_axes=configuration.feature_axes,
        gradients={},
    )


def state(live: Any) -> Quantities:
    stored = nnx.to_pure_dict(nnx.state(live.layer))
    return {ours: np.asarray(stored[theirs]) for ours, theirs in NAMES.items() if theirs in stored}


def train(live: Any, x: Any, upstream: Any, mask: Any = None) -> Quantities:
    """The mask in a shape broadcastable to that of the input, where there is one."""
    live.layer.train()
    spread = None if mask is None else jax.device_put(np.expand_dims(mask, live.feature_axes), live.device)
    quantities, live.gradients = run(live, x, upstream, spread)
    return named(quantities, nnx.to_pure_dict(live.gradients))


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    quantities, gradients = run(live, x, upstream)
    return named(quantities, nnx.to_pure_dict(gradients))


def run(live: Any, x: Any, upstream: Any, mask: Any = None) -> Any:
    upstream = None if upstream is None else jax.device_put(upstream, live.device)
    further = {} if mask is None else {"mask": mask}
    return live.step(live.layer, jax.device_put(x, live.device), upstream, further)


def named(quantities: Any, gradients: Any) -> Quantities:
    names = {"grad_gamma": "scale", "grad_beta": "bias"}
    return {**quantities, **{ours: gradients[theirs] for ours, theirs in names.items() if theirs in gradients}}


def step(layer: Any, x: Any, upstream: Any, further: Any) -> Any:
    """Quantities and gradients of the parameters; the layer keeps its statistics."""
    if upstream is None:
        return {"output": layer(x, **further)}, nnx.State({})
    output, pullback = nnx.vjp(functools.partial(forward, further), layer, x, graph=False)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, nnx.state(gradients, nnx.Param)


def forward(further: Any, layer: Any, x: Any) -> Any:
    return layer(x, **further)


def reload(live: Any) -> Any:
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
    nnx.Optimizer(live.layer, optax.sgd(learning_rate), wrt=nnx.Param).update(live.layer, live.gradients)


def put(array: Any, device: str) -> Any:
    return jax.device_put(array, jax.devices(device)[0])


def wait(live: Any, results: Any) -> None:
    jax.block_until_ready(results)


def copy(live: Any, x: Any) -> Any:
    return jnp.copy(x)


def compilations(live: Any) -> int:
    return int(live.step.jitted_fn._cache_size()) if live.mode == "compiled" else 0


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
    where="flax/nnx/nn/normalization.py, BatchNorm.__init__: nnx.BatchStat(jnp.zeros(feature_shape, jnp.float32))",
)
X64 = jax.config.jax_enable_x64
MODES = ("eager", "compiled")
DEVICES = ("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",)
DTYPES = ("float64",) if X64 else ("float32", "float16", "bfloat16")
DOCUMENTATION = "https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/normalization.html#flax.nnx.BatchNorm"


def implementation(name: str, call: Callable[[Configuration], Call], op: str = "batch_norm") -> Implementation:
    """A row: the layer by one way of calling its constructor."""
    return Implementation(
        name=name,
        op=op,
        profile=(STATISTICS,),
        modes=MODES,
        devices=DEVICES,
        dtypes=DTYPES,
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
        "orbax-checkpoint": orbax.checkpoint.__version__,
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
        implementation("flax.nnx.BatchNorm", call),
        implementation("flax.nnx.BatchNorm+two_pass", call_two_pass),
        implementation("flax.nnx.BatchNorm+mask", call, "masked_batch_norm"),
        implementation("flax.nnx.BatchNorm+mask+two_pass", call_two_pass, "masked_batch_norm"),
        Implementation(
            name="flax.Centering",
            op="centering",
            profile=(),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports_centering,
            call=call_centering,
            start=start,
            state=state,
            steps={
                "train": train,
                "infer": infer,
                "reload": reload,
                "freeze": freeze_centering,
                "unfreeze": unfreeze_centering,
            },
            timed=TIMED,
            compilations=compilations,
        ),
    ),
)

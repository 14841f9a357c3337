"""JAX's replicas: the batch norms of Flax, Haiku and Equinox over an axis of `vmap`, `pmap` or `shard_map`.

With the axis named to the layer its statistics are synchronized, without it each replica has its own.
"""

from __future__ import annotations

import functools
import os
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import flax
import flax.linen  # noqa: F401 - calls name it by its path
import haiku as hk
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "jax-replicas"

AXIS = "replicas"
#: Our name -> Flax's, Haiku's module and name, Equinox's.
FLAX = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}
HAIKU = {
    "gamma": ("batch_norm", "scale"),
    "beta": ("batch_norm", "offset"),
    "moving_mean": ("batch_norm/~/mean_ema", "average"),
    "moving_variance": ("batch_norm/~/var_ema", "average"),
}
EQUINOX = {"gamma": "weight", "beta": "bias"}


def supports(configuration: Configuration) -> str | None:
    sizes = configuration.options["shards"]
    if len(set(sizes)) > 1:
        return "vmap, pmap and shard_map split an axis into equal parts"
    return None if len(sizes) <= len(jax.devices()) else f"the process has {len(jax.devices())} devices"


def supports_nnx(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`num_features` is one integer, and `axis` the one feature axis"
    return supports(configuration)


def supports_one_dtype(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "parameters and statistics have the dtype of the inputs"
    return supports(configuration)


def supports_equinox(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "within `vmap` an example has the shape (input_size, dim_1, ..., dim_N): the features are axis 1"
    if configuration.scale != configuration.center:
        return "`channelwise_affine` switches weight and bias together"
    return supports_one_dtype(configuration)


def flax_keywords(configuration: Configuration, axis: str | None) -> dict[str, Any]:
    axes = configuration.feature_axes
    return {
        "axis": axes[0] if len(axes) == 1 else axes,
        "momentum": configuration.decay,
        "epsilon": configuration.epsilon,
        "dtype": configuration.dtype,
        "param_dtype": configuration.parameter_dtype,
        "use_bias": configuration.center,
        "use_scale": configuration.scale,
        "axis_name": axis,
    }


def call_linen(configuration: Configuration, axis: str | None) -> Call:
    return Call(path="flax.linen.BatchNorm", keywords=flax_keywords(configuration, axis))


def call_nnx(configuration: Configuration, axis: str | None) -> Call:
    """The constructor without its `rngs`, which is not data."""
    keywords = {"num_features": configuration.feature_count, **flax_keywords(configuration, axis)}
    return Call(path="flax.nnx.BatchNorm", keywords=keywords, function=True)


def call_haiku(configuration: Configuration, axis: str | None) -> Call:
    """The constructor, which runs within `haiku.transform_with_state`."""
    return Call(
        path="haiku.BatchNorm",
        keywords={
            "create_scale": configuration.scale,
            "create_offset": configuration.center,
            "decay_rate": configuration.decay,
            "eps": configuration.epsilon,
            "axis": configuration.reduction_axes,
            "cross_replica_axis": axis,
        },
        function=True,
    )


def call_equinox(configuration: Configuration, axis: str | None) -> Call:
    return Call(
        path="equinox.nn.BatchNorm",
        keywords={
            "input_size": configuration.feature_count,
            "axis_name": ("batch", axis) if axis else "batch",
            "eps": configuration.epsilon,
            "channelwise_affine": configuration.scale,
            "momentum": configuration.decay,
            "dtype": configuration.parameter_dtype,
            "mode": "ema",
        },
        function=True,
    )


def begin_linen(layer: Any, configuration: Configuration, state: Quantities) -> Any:
    """The parameters and the moving values of a layer, its call on them, and how to read either."""
    held = {theirs: jnp.asarray(state[ours]) for ours, theirs in FLAX.items() if ours in state}
    moving = {name: held.pop(name) for name in ("mean", "var")}
    return held, moving, functools.partial(apply_linen, layer), read_flax


def apply_linen(layer: Any, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
    variables = {"params": parameters, "batch_stats": moving}
    output, updated = layer.apply(variables, x, use_running_average=not training, mutable=["batch_stats"])
    return output, updated["batch_stats"]


def begin_nnx(build: Any, configuration: Configuration, state: Quantities) -> Any:
    layer = build(rngs=nnx.Rngs(0))
    for ours, theirs in FLAX.items():
        if ours in state:
            getattr(layer, theirs)[...] = jnp.asarray(state[ours])
    definition, parameters, moving = nnx.split(layer, nnx.Param, nnx.BatchStat)
    return parameters, moving, functools.partial(apply_nnx, definition), read_nnx


def apply_nnx(definition: Any, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
    # Its variables made anew: those of another trace level cannot be mutated, flax.errors.TraceContextError.
    layer = nnx.merge(definition, parameters, jax.tree.map(jnp.asarray, moving))
    return layer(x, use_running_average=not training), nnx.state(layer, nnx.BatchStat)


def read_nnx(tree: Any) -> Any:
    return read_flax(nnx.to_pure_dict(tree))


def read_flax(tree: Any) -> Any:
    return {ours: tree[theirs] for ours, theirs in FLAX.items() if theirs in tree}


def begin_haiku(build: Any, configuration: Configuration, state: Quantities) -> Any:
    # A module is made within the function that is transformed, and nowhere else.
    pure = hk.transform_with_state(lambda x, training: build()(x, training))  # noqa: PLW0108
    # Initialized within the axis, whose name has a meaning nowhere else.
    initialize = jax.vmap(functools.partial(pure.init, training=True), (None, 0), axis_name=AXIS)
    x = jax.ShapeDtypeStruct((1, *configuration.shape), jnp.dtype(configuration.dtype))
    shaped = jax.eval_shape(initialize, jax.random.key(0), x)
    parameters, moving = jax.tree.map(lambda each: np.zeros(each.shape[1:], each.dtype), shaped)
    for ours, (module, theirs) in HAIKU.items():
        if ours in state:
            tree = moving if ours.startswith("moving") else parameters
            tree[module][theirs] = state[ours].reshape(tree[module][theirs].shape)
    return parameters, moving, functools.partial(apply_haiku, pure), read_haiku


def apply_haiku(pure: Any, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
    return pure.apply(parameters, moving, None, x, training)


def read_haiku(tree: Any) -> Any:
    return {ours: tree[module][name] for ours, (module, name) in HAIKU.items() if name in tree.get(module, {})}


def begin_equinox(build: Any, configuration: Configuration, state: Quantities) -> Any:
    layer, moving = eqx.nn.make_with_state(build)()
    for ours, theirs in EQUINOX.items():
        if ours in state:
            layer = eqx.tree_at(lambda each, name=theirs: getattr(each, name), layer, jnp.asarray(state[ours]))
    values = jnp.asarray(state["moving_mean"]), jnp.asarray(state["moving_variance"])
    moving = moving.set(layer.ema_state_index, values)
    parameters, rest = eqx.partition(layer, eqx.is_inexact_array)
    apply = functools.partial(apply_equinox, rest)
    return parameters, moving, apply, functools.partial(read_equinox, layer.ema_state_index)


def apply_equinox(rest: Any, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
    layer = eqx.nn.inference_mode(eqx.combine(parameters, rest), value=not training)
    return jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, moving)


def read_equinox(index: Any, tree: Any) -> Any:
    if isinstance(tree, eqx.nn.State):
        return dict(zip(("moving_mean", "moving_variance"), tree.get(index), strict=True))
    learned = {ours: getattr(tree, theirs) for ours, theirs in EQUINOX.items()}
    return {name: value for name, value in learned.items() if value is not None}


def start(
    begin: Any, route: Any, native: Any, configuration: Configuration, state: Quantities, mode: str, device: str
) -> Any:
    count = len(configuration.options["shards"])
    parameters, moving, apply, read = begin(native, configuration, state)
    traces: list[Any] = []
    return SimpleNamespace(
        parameters=parameters,
        moving=jax.tree.map(lambda each: jnp.stack([each] * count), moving),
        read=read,
        traces=traces,
        train=route(functools.partial(differentiate, traces, apply, True), count),
        infer=route(functools.partial(differentiate, traces, apply, False), count),
    )


def differentiate(traces: Any, apply: Any, training: bool, parameters: Any, moving: Any, x: Any, upstream: Any) -> Any:
    """Quantities, the gradients of the parameters, and the moving values after the call, of one replica."""
    traces.append(x)  # Python runs this when the step is traced to be compiled, and at no other time.

    def forward(parameters: Any, x: Any) -> Any:
        return apply(parameters, moving, x, training)

    if upstream is None:
        output, moved = forward(parameters, x)
        return {"output": output}, {}, moved
    output, pullback, moved = jax.vjp(forward, parameters, x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, gradients, moved


def by_vmap(step: Any, count: int) -> Any:
    return functools.partial(split, jax.jit(jax.vmap(step, (None, 0, 0, 0), axis_name=AXIS)), count)


def by_pmap(step: Any, count: int) -> Any:
    return functools.partial(split, jax.pmap(step, AXIS, in_axes=(None, 0, 0, 0), devices=jax.devices()[:count]), count)


def split(mapped: Any, count: int, parameters: Any, moving: Any, x: Any, upstream: Any) -> Any:
    """The mapped step on the batch in equal parts, put together again; the gradients of the parameters are added."""
    parts = [None if each is None else each.reshape(count, -1, *each.shape[1:]) for each in (x, upstream)]
    quantities, gradients, moved = mapped(parameters, moving, *parts)
    together = {name: np.asarray(value).reshape(x.shape) for name, value in quantities.items()}
    return together, jax.tree.map(lambda each: each.sum(0), gradients), moved


def by_shard_map(step: Any, count: int) -> Any:
    mesh, sharded = Mesh(np.array(jax.devices()[:count]), (AXIS,)), PartitionSpec(AXIS)
    return jax.jit(
        jax.shard_map(
            functools.partial(of_own, step),
            mesh=mesh,
            in_specs=(PartitionSpec(), sharded, sharded, sharded),
            # Gradients of what all replicas share are added over them by shard_map itself.
            out_specs=(sharded, PartitionSpec(), sharded),
        )
    )


def of_own(step: Any, parameters: Any, moving: Any, x: Any, upstream: Any) -> Any:
    """The step with the moving values of the one replica that these are of here."""
    quantities, gradients, moved = step(parameters, jax.tree.map(lambda each: each[0], moving), x, upstream)
    return quantities, gradients, jax.tree.map(lambda each: each[None], moved)


def state(live: Any) -> Quantities:
    """Gamma and beta, and the moving values on each replica."""
    found = {name: np.asarray(value) for name, value in live.read(live.parameters).items()}
    for name, value in live.read(live.moving).items():
        first, *others = np.asarray(value)
        found |= {name: first, **{f"{name}_{number}": each for number, each in enumerate(others, start=2)}}
    return found


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, live.moving = live.train(live.parameters, live.moving, x, upstream)
    return named(live, quantities, gradients)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, _ = live.infer(live.parameters, live.moving, x, upstream)
    return named(live, quantities, gradients)


def named(live: Any, quantities: Any, gradients: Any) -> Quantities:
    learned = live.read(gradients) if "grad_input" in quantities else {}
    return {**quantities, **{f"grad_{name}": value for name, value in learned.items()}}


def reload(live: Any) -> Any:
    """By Flax's serialization of trees."""
    saved = flax.serialization.to_bytes((live.parameters, live.moving))
    fresh = jax.tree.map(jnp.zeros_like, (live.parameters, live.moving))
    live.parameters, live.moving = flax.serialization.from_bytes(fresh, saved)
    return live


def compilations(live: Any) -> int:
    return len(live.traces)


X64 = jax.config.jax_enable_x64
STEPS = {"train": train, "infer": infer}


def declared(field: str, value: str, source: Any, where: str) -> Declared:
    return Declared(field=field, value=value, source=source, where=where)


SINGLE = "statistics_dtype", "float32", "source code"
LINEN = declared(*SINGLE, "flax/linen/normalization.py, BatchNorm.__call__: jnp.float32 if force_float32_reductions")
NNX = declared(*SINGLE, "flax/nnx/nn/normalization.py, BatchNorm.__init__: jnp.zeros(feature_shape, jnp.float32)")
ADAM = "haiku.ExponentialMovingAverage: This uses the Adam debiasing procedure (zero_debias=True by default)"
DEBIASED = declared("update", "zero_debiased", "documentation", ADAM)
FILLED = "equinox.nn.BatchNorm: the batch statistics are used to fill in the running statistics until populated"
MOVED = "equinox/nn/_batch_norm.py, BatchNorm.__call__: mean and var are the running statistics just updated"
EMA = (
    declared("update", "first_batch", "documentation", FILLED),
    declared("normalizes_with", "moving_after", "source code", MOVED),
)


def implementation(
    name: str, begin: Any, call: Any, supports: Any, route: Any, axis: str | None, **fields: Any
) -> Implementation:
    """A row: a layer over the replicas of one mapping, which know of each other by the name of the axis or not."""
    return Implementation(
        name=f"{name}+{'synchronized' if axis else 'replicated'}+{route.__name__.removeprefix('by_')}",
        op="synchronized_batch_norm" if axis else "replicated_batch_norm",
        modes=("compiled",),
        dtypes=("float64",) if X64 else ("float32", "float16", "bfloat16"),
        supports=supports,
        call=functools.partial(call, axis=axis),
        start=functools.partial(start, begin, route),
        state=state,
        compilations=compilations,
        **fields,
    )


def rows(axis: str | None) -> Any:
    linen: Any = {"profile": () if X64 else (LINEN,), "steps": {**STEPS, "reload": reload}}
    haiku: Any = {"profile": (DEBIASED,), "steps": STEPS}
    ema: Any = {"profile": EMA, "steps": STEPS}
    for route in (by_vmap, by_pmap, by_shard_map):
        yield implementation("flax.linen.BatchNorm", begin_linen, call_linen, supports, route, axis, **linen)
    named = begin_nnx, call_nnx, supports_nnx, by_vmap, axis
    yield implementation("flax.nnx.BatchNorm", *named, profile=(NNX,), steps=STEPS)
    yield implementation("haiku.BatchNorm", begin_haiku, call_haiku, supports_one_dtype, by_shard_map, axis, **haiku)
    yield implementation(
        "equinox.nn.BatchNorm+ema", begin_equinox, call_equinox, supports_equinox, by_vmap, axis, **ema
    )


ADAPTER = Adapter(
    library="jax",
    versions={each.__name__: each.__version__ for each in (jax, jaxlib, flax, eqx)} | {"dm-haiku": hk.__version__},
    settings={
        "x64": str(X64),
        "devices": str(len(jax.devices())),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    pool="tf_XLAEigen",
    implementations=(*rows(AXIS), *rows(None)),
)

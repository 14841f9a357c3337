"""JAX's replicas: the batch norms of Flax, Haiku and Equinox over an axis of `vmap`, `pmap` or `shard_map`.

With the axis named to the layer its statistics are synchronized, without it each replica has its own.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import flax
import haiku as hk
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities
from conformance_adapters.equinox._native import EMA, call_ema, leaves, over_batch, supports_channels, with_leaves
from conformance_adapters.flax._native import (
    PROFILE_LINEN,
    SINGLE_NNX,
    by_our_names,
    call_linen,
    call_nnx,
    fill_nnx,
    forward_linen,
    supports_one_axis,
    variables_of,
)
from conformance_adapters.haiku._native import DEBIASED, HAIKU_NAMES, apply_haiku, call_haiku, filled, read_haiku
from conformance_adapters.jax._native import POOL, X64, row, step_pure, with_gradients, with_keywords

PROCESSES = "jax-replicas"

AXIS = "replicas"


def supports(configuration: Configuration) -> str | None:
    sizes = configuration.options["shards"]
    if len(set(sizes)) > 1:
        return "vmap, pmap and shard_map split an axis into equal parts"
    return None if len(sizes) <= len(jax.devices()) else f"the process has {len(jax.devices())} devices"


def supports_nnx(configuration: Configuration) -> str | None:
    return supports_one_axis(configuration) or supports(configuration)


def supports_one_dtype(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "parameters and statistics have the dtype of the inputs"
    return supports(configuration)


def supports_equinox(configuration: Configuration) -> str | None:
    return supports_channels(configuration) or supports_one_dtype(configuration)


def call_over(call: Callable[[Configuration], Call], keyword: str, axis: Any, configuration: Configuration) -> Call:
    """The layer's call with the name of the replicas' axis, or None."""
    return with_keywords(call(configuration), **{keyword: axis})


def begin_linen(layer: Any, configuration: Configuration, state: Quantities) -> Any:
    """A layer's call and what it is of, the parameters and moving values of one replica, and how to read either."""
    variables = variables_of(state, None)
    return apply_linen, layer, variables["params"], variables["batch_stats"], by_our_names


def apply_linen(layer: Any, parameters: Any, moving: Any, x: Any, training: bool, mask: Any = None) -> Any:
    output, updated = forward_linen(layer, {"batch_stats": moving}, training, mask)(parameters, x)
    return output, updated["batch_stats"]


def begin_nnx(build: Any, configuration: Configuration, state: Quantities) -> Any:
    layer = build(rngs=nnx.Rngs(0))
    fill_nnx(layer, state, None)
    definition, parameters, moving = nnx.split(layer, nnx.Param, nnx.BatchStat)
    return apply_nnx, definition, parameters, moving, read_nnx


def apply_nnx(definition: Any, parameters: Any, moving: Any, x: Any, training: bool, mask: Any = None) -> Any:
    # Its variables made anew: those of another trace level cannot be mutated, flax.errors.TraceContextError.
    layer = nnx.merge(definition, parameters, jax.tree.map(jnp.asarray, moving))
    return layer(x, use_running_average=not training, mask=mask), nnx.state(layer, nnx.BatchStat)


def read_nnx(tree: Any) -> Any:
    return by_our_names(nnx.to_pure_dict(tree))


def begin_haiku(build: Any, configuration: Configuration, state: Quantities) -> Any:
    # A module is made within the function that is transformed, and nowhere else.
    pure = hk.transform_with_state(lambda x, training: build()(x, training))  # noqa: PLW0108
    # Initialized within the axis, whose name has a meaning nowhere else.
    initialize = jax.vmap(functools.partial(pure.init, training=True), (None, 0), axis_name=AXIS)
    x = jax.ShapeDtypeStruct((1, *configuration.shape), jnp.dtype(configuration.dtype))
    mapped = jax.eval_shape(initialize, jax.random.key(0), x)
    shaped = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), mapped)
    return apply_haiku, pure, *filled(shaped, HAIKU_NAMES, state), functools.partial(read_haiku, HAIKU_NAMES)


def begin_equinox(build: Any, configuration: Configuration, state: Quantities) -> Any:
    layer, moving = eqx.nn.make_with_state(build)()
    values = {name: jnp.asarray(value) for name, value in state.items()}
    layer, index = with_leaves(layer, values), layer.ema_state_index
    moving = moving.set(index, (values["moving_mean"], values["moving_variance"]))
    parameters, rest = eqx.partition(layer, eqx.is_inexact_array)
    return apply_equinox, rest, parameters, moving, functools.partial(read_equinox, index)


def apply_equinox(rest: Any, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
    layer = eqx.nn.inference_mode(eqx.combine(parameters, rest), value=not training)
    return over_batch(layer, x, moving)


def read_equinox(index: Any, tree: Any) -> Any:
    if isinstance(tree, eqx.nn.State):
        return dict(zip(("moving_mean", "moving_variance"), tree.get(index), strict=True))
    return leaves(tree)


def start(
    begin: Any, route: Any, native: Any, configuration: Configuration, state: Quantities, mode: str, device: str
) -> Any:
    count = len(configuration.options["shards"])
    apply, layer, parameters, moving, read = begin(native, configuration, state)
    traces: list[Any] = []
    return SimpleNamespace(
        parameters=parameters,
        moving=jax.tree.map(lambda value: jnp.stack([value] * count), moving),
        read=read,
        feature_axes=configuration.feature_axes,
        traces=traces,
        train=route(functools.partial(step, traces, apply, layer, True), count),
        infer=route(functools.partial(step, traces, apply, layer, False), count),
    )


def step(traces: Any, apply: Any, layer: Any, training: bool, parameters: Any, moving: Any, arrays: Any) -> Any:
    """What one replica computes of its input, the upstream gradient and the mask, the latter two perhaps None."""
    x, upstream, mask = arrays
    traces.append(x)  # Python runs this when the step is traced to be compiled, and at no other time.
    masked = apply if mask is None else functools.partial(apply, mask=mask)
    return step_pure(masked, layer, parameters, moving, x, upstream, training)


def by_vmap(step: Any, count: int) -> Any:
    return functools.partial(split, jax.jit(jax.vmap(step, (None, 0, 0), axis_name=AXIS)), count)


def by_pmap(step: Any, count: int) -> Any:
    # The arrays are one argument: of arguments without leaves, such as a mask that is None, jax.pmap counts the axes wrong.
    return functools.partial(split, jax.pmap(step, AXIS, in_axes=(None, 0, 0), devices=jax.devices()[:count]), count)


def split(mapped: Any, count: int, parameters: Any, moving: Any, arrays: Any) -> Any:
    """The mapped step on the batch in equal parts, put together again; the gradients of the parameters are added."""
    parts = tuple(None if array is None else array.reshape(count, -1, *array.shape[1:]) for array in arrays)
    quantities, gradients, moved = mapped(parameters, moving, parts)
    together = {name: np.asarray(value).reshape(arrays[0].shape) for name, value in quantities.items()}
    return together, jax.tree.map(lambda gradient: gradient.sum(0), gradients), moved


def by_shard_map(step: Any, count: int) -> Any:
    mesh, sharded = Mesh(np.array(jax.devices()[:count]), (AXIS,)), PartitionSpec(AXIS)
    return jax.jit(
        jax.shard_map(
            functools.partial(step_of_shard, step),
            mesh=mesh,
            in_specs=(PartitionSpec(), sharded, sharded),
            # Gradients of what all replicas share are added over them by shard_map itself.
            out_specs=(sharded, PartitionSpec(), sharded),
        )
    )


def step_of_shard(step: Any, parameters: Any, moving: Any, arrays: Any) -> Any:
    """The step with the moving values of the one replica that these are of here."""
    quantities, gradients, moved = step(parameters, jax.tree.map(lambda value: value[0], moving), arrays)
    return quantities, gradients, jax.tree.map(lambda value: value[None], moved)


def state(live: Any) -> Quantities:
    """Gamma and beta, and the moving values on each replica."""
    values = {name: np.asarray(value) for name, value in live.read(live.parameters).items()}
    for name, value in live.read(live.moving).items():
        first, *others = np.asarray(value)
        values |= {name: first, **{f"{name}_{number}": other for number, other in enumerate(others, start=2)}}
    return values


def train(live: Any, x: Any, upstream: Any, mask: Any = None) -> Quantities:
    """The mask in a shape broadcastable to that of the input, where there is one."""
    spread = None if mask is None else np.expand_dims(mask, live.feature_axes)
    quantities, gradients, live.moving = live.train(live.parameters, live.moving, (x, upstream, spread))
    return named(live, quantities, gradients)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, _ = live.infer(live.parameters, live.moving, (x, upstream, None))
    return named(live, quantities, gradients)


def named(live: Any, quantities: Any, gradients: Any) -> Quantities:
    return with_gradients(quantities, live.read(gradients) if "grad_input" in quantities else {})


def reload(live: Any) -> Any:
    """By Flax's serialization of trees."""
    saved = flax.serialization.to_bytes((live.parameters, live.moving))
    fresh = jax.tree.map(jnp.zeros_like, (live.parameters, live.moving))
    live.parameters, live.moving = flax.serialization.from_bytes(fresh, saved)
    return live


def traced(live: Any) -> int:
    return len(live.traces)


STEPS = {"train": train, "infer": infer}
LINEN = row(
    name="flax.linen.BatchNorm",
    op="replicated_batch_norm",
    profile=PROFILE_LINEN,
    modes=("compiled",),
    devices=("cpu",),
    supports=supports,
    call=call_linen,
    start=start,
    state=state,
    steps={**STEPS, "reload": reload},
    compilations=traced,
)
NNX = replace(LINEN, name="flax.nnx.BatchNorm", profile=(SINGLE_NNX,), supports=supports_nnx, steps=STEPS)
HAIKU = replace(LINEN, name="haiku.BatchNorm", profile=(DEBIASED,), supports=supports_one_dtype, steps=STEPS)
EQUINOX = replace(LINEN, name="equinox.nn.BatchNorm+ema", profile=EMA, supports=supports_equinox, steps=STEPS)


def over(
    layer: Implementation, begin: Any, route: Any, call: Any, axis: Any, keyword: str = "axis_name"
) -> Implementation:
    """A layer over the replicas of one mapping, which know of each other by the name of the axis or not."""
    synchronized = axis not in (None, "batch")
    word = "synchronized" if synchronized else "replicated"
    return replace(
        layer,
        name=f"{layer.name}+{word}+{route.__name__.removeprefix('by_')}",
        op=f"{word}_batch_norm",
        call=functools.partial(call_over, call, keyword, axis),
        start=functools.partial(start, begin, route),
    )


def rows(axis: str | None) -> Iterator[Implementation]:
    for route in (by_vmap, by_pmap, by_shard_map):
        yield over(LINEN, begin_linen, route, call_linen, axis)
    yield over(NNX, begin_nnx, by_vmap, call_nnx, axis)
    yield over(HAIKU, begin_haiku, by_shard_map, call_haiku, axis, "cross_replica_axis")
    yield over(EQUINOX, begin_equinox, by_vmap, call_ema, ("batch", axis) if axis else "batch")


def masked(layer: Implementation) -> Implementation:
    return replace(layer, name=layer.name.replace("+synchronized", "+mask+synchronized"), op=f"masked_{layer.op}")


MASKED = tuple(
    masked(over(layer, begin, by_vmap, call, AXIS))
    for layer, begin, call in ((LINEN, begin_linen, call_linen), (NNX, begin_nnx, call_nnx))
)

ADAPTER = Adapter(
    library="jax",
    versions={module.__name__: module.__version__ for module in (jax, jaxlib, flax, eqx)} | {"haiku": hk.__version__},
    settings={"x64": str(X64), "devices": str(len(jax.devices())), "XLA flags": os.environ.get("XLA_FLAGS", "")},
    pool=POOL,
    implementations=(*rows(AXIS), *MASKED, *rows(None)),
)

"""Flax's `flax.linen.BatchNorm`, a pure function of its variables, through JAX's transformations.

Checkpoints, donated buffers, stacks, accumulated gradients, a layer called twice, an exported program, further derivatives.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import flax.linen
import jax
import jax.export
import jax.numpy as jnp

from conformance.protocol import Call, Configuration, Implementation, Quantities
from conformance_adapters.flax._native import (
    FLAX,
    PROFILE_LINEN,
    axis_within,
    by_our_names,
    call_linen,
    differentiate_linen,
    forward_linen,
    reload_linen,
    run_linen,
    sgd_linen,
    state_linen,
    step_linen,
    supports_stack,
    train_linen,
    variables_of,
)
from conformance_adapters.jax._native import JIT, adapter, prepare, row, supports_dtype, with_gradients, with_keywords

PROCESSES = "jax-alone"

#: Variables, input and upstream gradient are given away with the call.
DONATING_JIT = functools.partial(jax.jit, static_argnames="training", donate_argnums=(0, 1, 2))


def supports(configuration: Configuration) -> str | None:
    if 0 in configuration.feature_axes:
        return "one layer: a stack of them is mapped over"
    return supports_dtype(configuration)


def call(configuration: Configuration) -> Call:
    """Two passes: what a transformation does shall not hide behind what one pass loses."""
    within = {"axis": axis_within(configuration)} if 0 in configuration.feature_axes else {}
    return with_keywords(call_linen(configuration), **within, use_fast_variance=False)


def start(
    layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str, transform: Any, jit: Any
) -> Any:
    device = jax.devices(device)[0]
    # The statistics are float32, and those of float64 parameters are stored as float64 in later steps.
    values = {name: widened(value) if name.startswith("moving") else value for name, value in state.items()}
    size = configuration.options.get("virtual_batch")
    arguments = (layer,) if size is None else (layer, size)
    return SimpleNamespace(
        variables=variables_of(values, device),
        step=prepare(transform, arguments, configuration, mode, jit),
        mode=mode,
        device=device,
        gradients={},
    )


def widened(value: Any) -> Any:
    return value.astype(jnp.promote_types(value.dtype, "float32"))


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities, gradients, live.variables = run_linen(live, x, upstream, training=False)
    return with_gradients(quantities, by_our_names(gradients))


def checkpointed(layer: Any, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    forward = jax.checkpoint(forward_linen(layer, variables, training))
    return differentiate_linen(forward, variables, x, upstream)


def stacked(layer: Any, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    return jax.vmap(functools.partial(step_linen, layer, training=training))(variables, x, upstream)


def accumulated(layer: Any, size: int, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    """One train step in parts of so many samples: a scan that carries the gradients and the statistics."""
    if not training or not x.shape[0]:
        return step_linen(layer, variables, x, upstream, training)

    def step_part(carried: Any, part: Any) -> Any:
        (gradients, variables), (x, upstream) = carried, part
        quantities, more, variables = step_linen(layer, variables, x, upstream, training=True)
        return (jax.tree.map(jnp.add, gradients, more), variables), quantities

    parts = [None if array is None else array.reshape(-1, size, *array.shape[1:]) for array in (x, upstream)]
    none = {} if upstream is None else jax.tree.map(jnp.zeros_like, variables["params"])
    (gradients, variables), quantities = jax.lax.scan(step_part, (none, variables), parts)
    return jax.tree.map(lambda array: array.reshape(x.shape), quantities), gradients, variables


def shared(layer: Any, size: int, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    """One step that calls the layer on one part after another."""

    def in_parts(layer: Any, x: Any) -> Any:
        parts = jnp.split(x, x.shape[0] // size) if training and x.shape[0] else [x]
        return jnp.concatenate([layer(part, use_running_average=not training) for part in parts])

    apply = flax.linen.apply(in_parts, layer, mutable=["batch_stats"])
    return differentiate_linen(lambda params, x: apply({**variables, "params": params}, x), variables, x, upstream)


def exported(layer: Any, variables: Any, x: Any, upstream: Any, training: bool) -> Any:
    """The call as a program of StableHLO that was saved, its backward pass with it, and loaded from the bytes."""

    def apply(variables: Any, x: Any) -> Any:
        return layer.apply(variables, x, use_running_average=not training, mutable=["batch_stats"])

    saved = jax.export.export(jax.jit(apply))(variables, x).serialize(vjp_order=1)
    program = jax.export.deserialize(saved)
    return differentiate_linen(
        lambda params, x: program.call({**variables, "params": params}, x), variables, x, upstream
    )


def run_further(live: Any, x: Any, upstream: Any, tangent: Any, training: bool) -> Quantities:
    arrays = jax.device_put((x, upstream, tangent), live.device)
    # Of what nothing depends on, the derivatives are made where JAX makes what it is not told of.
    with jax.default_device(live.device):
        quantities, gradients, second, live.variables = live.step(live.variables, *arrays, training=training)
    again = {"second_grad_gamma": second["scale"]} if "scale" in second else {}
    return {**with_gradients(quantities, by_our_names(gradients)), **again}


def derivatives(layer: Any, variables: Any, x: Any, upstream: Any, tangent: Any, training: bool) -> Any:
    """Forward along the tangent, backward, and each of the two modes over each."""
    forward, params = forward_linen(layer, variables, training), variables["params"]

    def backward(params: Any, x: Any, upstream: Any) -> Any:
        output, pullback, updated = jax.vjp(forward, params, x, has_aux=True)
        gradients, grad_input = pullback(upstream)
        return grad_input, (output, gradients, updated)

    def along(x: Any) -> Any:
        return jax.jvp(functools.partial(forward, params), (x,), (tangent,), has_aux=True)[1]

    def pulled_back(x: Any) -> Any:
        return backward(params, x, upstream)[0]

    tangent_output, twice = jax.jvp(along, (x,), (tangent,))
    grad_input, pullback, (output, gradients, updated) = jax.vjp(backward, params, x, upstream, has_aux=True)
    second, second_input, second_upstream = pullback(tangent)
    quantities = {
        "output": output,
        "grad_input": grad_input,
        "tangent_output": tangent_output,
        "second_grad_input": second_input,
        "second_grad_upstream": second_upstream,
        "forward_over_forward": twice,
        "forward_over_reverse": jax.jvp(pulled_back, (x,), (tangent,))[1],
        "reverse_over_forward": jax.vjp(along, x)[1](upstream)[0],
    }
    return quantities, gradients, second, {**variables, **updated}


LAYER = row(
    name="flax.linen.BatchNorm",
    op="transformed_batch_norm",
    profile=PROFILE_LINEN,
    supports=supports,
    call=call,
    start=start,
    state=state_linen,
    steps={"train": train_linen, "infer": infer, "reload": reload_linen, "sgd": sgd_linen},
)


def through(transform: Any, name: str, page: str, *, jit: Any = JIT, **fields: Any) -> Implementation:
    """The layer through one transformation."""
    return replace(
        LAYER,
        name=f"{LAYER.name}+{name}",
        start=functools.partial(start, transform=transform, jit=jit),
        documentation=f"https://docs.jax.dev/en/latest/_autosummary/{page}.html",
        **fields,
    )


FURTHER = {
    "train": functools.partial(run_further, training=True),
    "infer": functools.partial(run_further, training=False),
}

ADAPTER = adapter(
    "flax",
    FLAX,
    through(checkpointed, "checkpoint", "jax.checkpoint"),
    through(step_linen, "donated", "jax.jit", jit=DONATING_JIT, modes=("compiled",)),
    through(stacked, "vmap", "jax.vmap", supports=supports_stack),
    through(accumulated, "accumulation", "jax.lax.scan", op="virtual_batch_norm"),
    through(shared, "shared", "jax.vjp", op="virtual_batch_norm"),
    through(exported, "export", "jax.export.export", modes=("compiled",)),
    through(derivatives, "derivatives", "jax.jvp", op="differentiated_batch_norm", steps=FURTHER),
)

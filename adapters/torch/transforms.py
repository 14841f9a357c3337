"""PyTorch's batch normalization through transformations: checkpoints, stateless calls, stacks, accumulation, derivatives."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
import torch.autograd.forward_ad
import torch.utils.checkpoint

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.torch._native import (
    DEVICES,
    DOCUMENTATION,
    GRADIENTS,
    LAYER,
    MOVING_CORRECTION,
    adapter,
    array,
    call_layer,
    cloned,
    derived,
    differentiated,
    gradients,
    passes,
    reload,
    sgd,
    start_layer,
    start_tensors,
    state_tensors,
    supports_parameters,
    tensor,
)

PROCESSES = "torch"


def supports_stack(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (0, 2):
        return "vmap maps over axis 0, and the features are axis 1 of what each layer sees"
    return supports_parameters(configuration)


def call_untracked(configuration: Configuration) -> Call:
    tracked = call_layer(configuration)
    return replace(tracked, keywords={**tracked.keywords, "track_running_stats": False})


def start_checkpoint(
    reentrant: bool, layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str
) -> Any:
    live = start_layer(layer, configuration, state, mode, device)
    live.forward = functools.partial(torch.utils.checkpoint.checkpoint, layer, use_reentrant=reentrant)
    return live


def start_stateless(
    stacked: bool, layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str
) -> Any:
    """The tensors are the caller's, of one layer or of a stack: the layer's own stay as they were built."""
    device = DEVICES[device]
    layer.to(device=device, dtype=getattr(torch, configuration.parameter_dtype))
    call = functools.partial(torch.func.functional_call, layer)
    count = torch.zeros(configuration.shape[:1] if stacked else (), dtype=torch.int64, device=device)
    tensors = {**cloned(state, device), "num_batches_tracked": count}
    live = start_tensors(torch.func.vmap(call) if stacked else call, tensors, mode, device)
    live.layer = layer
    return live


def step_stateless(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    live.layer.train(training)
    forward = functools.partial(live.forward, live.tensors)
    return (differentiated if training else derived)(live, forward, x, upstream)


def start_partly(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    """What is not differentiated does not require a gradient."""
    live = start_layer(layer, configuration, state, mode, device)
    live.differentiated = configuration.options["differentiated"]
    for name, parameter in live.parameters.items():
        parameter.requires_grad_(GRADIENTS[name].removeprefix("grad_") in live.differentiated)
    return live


def step_partly(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    live.layer.train(training)
    x = tensor(x, live.device).requires_grad_("input" in live.differentiated)
    for parameter in live.parameters.values():
        parameter.grad = None
    output = live.forward(x)
    if upstream is None:
        return {"output": array(output)}
    output.backward(tensor(upstream, live.device))
    of_input = {} if x.grad is None else {"grad_input": array(x.grad)}
    return {"output": array(output), **of_input, **gradients(live.parameters)}


def start_accumulation(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    live = start_layer(layer, configuration, state, mode, device)
    live.parts = configuration.options.get("virtual_batch", configuration.shape[0])
    return live


def accumulate(live: Any, x: Any, upstream: Any) -> Quantities:
    """One train step in parts: backward adds to the gradients that are there."""
    live.layer.train()
    x = tensor(x, live.device).requires_grad_()
    if upstream is None:
        return {"output": array(torch.cat([live.layer(part) for part in x.split(live.parts)]))}
    live.layer.zero_grad()
    outputs = []
    for part, pull in zip(x.split(live.parts), tensor(upstream, live.device).split(live.parts), strict=True):
        output = live.layer(part)
        output.backward(pull)
        outputs.append(output)
    return {"output": array(torch.cat(outputs)), "grad_input": array(x.grad), **gradients(live.parameters)}


def shared(live: Any, x: Any, upstream: Any) -> Quantities:
    """One train step that calls the layer on one part after another, and goes backward once."""
    live.layer.train()
    return differentiated(live, lambda x: torch.cat([live.layer(part) for part in x.split(live.parts)]), x, upstream)


def step_further(live: Any, x: Any, upstream: Any, tangent: Any, training: bool) -> Quantities:
    """One forward pass of dual tensors; backward, and through the graph of that backward again."""
    live.layer.train(training)
    x, pull, along = (tensor(value, live.device) for value in (x, upstream, tangent))
    x, pull = x.requires_grad_(), pull.requires_grad_()
    learned = dict(zip(("gamma", "beta"), live.parameters.values(), strict=False))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, along)
        output, forward = torch.autograd.forward_ad.unpack_dual(live.layer(dual))
    first = torch.autograd.grad(output, [x, *learned.values()], pull, create_graph=True)
    sources = {"input": x, "upstream": pull, **learned}
    # What the input gradient does not depend on has the gradient zero, as in inference.
    second = torch.autograd.grad(first[0], list(sources.values()), along, allow_unused=True, materialize_grads=True)
    quantities = {"output": output, "tangent_output": forward}
    quantities |= {f"grad_{name}": gradient for name, gradient in zip(("input", *learned), first, strict=True)}
    quantities |= {f"second_grad_{name}": gradient for name, gradient in zip(sources, second, strict=True)}
    # The input gradient has no part of beta.
    quantities.pop("second_grad_beta", None)
    quantities |= in_every_order(functools.partial(pure, live.layer), x.detach(), pull.detach(), along)
    return {name: array(value) for name, value in quantities.items()}


def pure(layer: Any, x: Any) -> Any:
    """The layer's output; what the call updates are copies."""
    buffers = {name: value.clone() for name, value in layer.named_buffers()}
    return torch.func.functional_call(layer, {**dict(layer.named_parameters()), **buffers}, (x,))


def in_every_order(function: Any, x: Any, pull: Any, along: Any) -> Quantities:
    """Both modes over each other, beside the reverse over reverse of autograd."""

    def tangent(x: Any) -> Any:
        return torch.func.jvp(function, (x,), (along,))[1]

    def pulled_back(x: Any) -> Any:
        return torch.func.vjp(function, x)[1](pull)[0]

    return {
        "forward_over_forward": torch.func.jvp(tangent, (x,), (along,))[1],
        "forward_over_reverse": torch.func.jvp(pulled_back, (x,), (along,))[1],
        "reverse_over_forward": torch.func.vjp(tangent, x)[1](pull)[0],
    }


#: The layer, checkpointed; the rows below say in what they differ.
CHECKPOINT = replace(
    LAYER,
    name="torch.nn.BatchNorm+checkpoint",
    op="transformed_batch_norm",
    profile=(MOVING_CORRECTION,),
    modes=("eager",),
    start=functools.partial(start_checkpoint, False),
    compilations=None,
    documentation=DOCUMENTATION + "checkpoint.html",
)
STATELESS = replace(
    CHECKPOINT,
    name="torch.nn.BatchNorm+functional_call",
    modes=LAYER.modes,
    start=functools.partial(start_stateless, False),
    state=state_tensors,
    steps={**passes(step_stateless), "sgd": sgd},
    compilations=LAYER.compilations,
    documentation=DOCUMENTATION + "generated/torch.func.functional_call.html",
)
ACCUMULATION = replace(
    CHECKPOINT,
    name="torch.nn.BatchNorm+accumulation",
    op="virtual_batch_norm",
    start=start_accumulation,
    steps={**LAYER.steps, "train": accumulate, "reload": reload},
    documentation=LAYER.documentation,
)

ADAPTER = adapter(
    CHECKPOINT,
    replace(
        CHECKPOINT, name="torch.nn.BatchNorm+reentrant_checkpoint", start=functools.partial(start_checkpoint, True)
    ),
    STATELESS,
    replace(
        STATELESS,
        name="torch.nn.BatchNorm+vmap",
        supports=supports_stack,
        start=functools.partial(start_stateless, True),
        documentation=DOCUMENTATION + "generated/torch.func.vmap.html",
    ),
    replace(
        CHECKPOINT,
        name="torch.nn.BatchNorm+requires_grad",
        op="partly_differentiated_batch_norm",
        modes=LAYER.modes,
        start=start_partly,
        steps=passes(step_partly),
        compilations=LAYER.compilations,
        documentation=DOCUMENTATION + "generated/torch.Tensor.requires_grad.html",
    ),
    ACCUMULATION,
    replace(ACCUMULATION, name="torch.nn.BatchNorm+shared", steps={**ACCUMULATION.steps, "train": shared}),
    replace(ACCUMULATION, name="torch.nn.BatchNorm+untracked", op="untracked_batch_norm", call=call_untracked),
    replace(
        CHECKPOINT,
        name="torch.nn.BatchNorm+derivatives",
        op="differentiated_batch_norm",
        start=start_layer,
        steps=passes(step_further),
        documentation=DOCUMENTATION + "generated/torch.autograd.forward_ad.make_dual.html",
    ),
)

"""PyTorch's batch normalization through transformations: checkpoints, stateless calls, stacks, accumulation, derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
import torch.autograd.forward_ad
import torch.utils.checkpoint

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities
from conformance_adapters.torch._native import (
    DEVICES,
    DOCUMENTATION,
    DTYPES,
    MOVING_CORRECTION,
    array,
    call_layer,
    cloned,
    compilations,
    device_named,
    fill,
    gradients,
    optimizer,
    prepare,
    pulled,
    reload,
    settings,
    sgd,
    state_layer,
    stored,
    supports_layer,
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


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = device_named(device)
    fill(layer, configuration, state, device)
    return SimpleNamespace(
        layer=layer,
        optimizer=optimizer(list(layer.parameters())),
        parts=configuration.options.get("virtual_batch", configuration.shape[0]),
        device=device,
    )


def checkpointed(live: Any, reentrant: bool, x: Any) -> Any:
    return torch.utils.checkpoint.checkpoint(live.layer, x, use_reentrant=reentrant)


def train(live: Any, x: Any, upstream: Any, reentrant: bool) -> Quantities:
    live.layer.train()
    return differentiate(live, reentrant, x, upstream)


def infer(live: Any, x: Any, upstream: Any, reentrant: bool) -> Quantities:
    live.layer.eval()
    if upstream is None:
        with torch.no_grad():
            return {"output": array(checkpointed(live, reentrant, tensor(x, live.device)))}
    return differentiate(live, reentrant, x, upstream)


def differentiate(live: Any, reentrant: bool, x: Any, upstream: Any) -> Quantities:
    x = tensor(x, live.device).requires_grad_()
    live.layer.zero_grad()
    return pulled(checkpointed(live, reentrant, x), upstream, x, dict(live.layer.named_parameters()))


def accumulate(live: Any, x: Any, upstream: Any) -> Quantities:
    """One train step in parts: backward adds to the gradients that are there."""
    live.layer.train()
    x = tensor(x, live.device).requires_grad_()
    live.layer.zero_grad()
    outputs = []
    for part, pull in zip(x.split(live.parts), tensor(upstream, live.device).split(live.parts), strict=True):
        output = live.layer(part)
        output.backward(pull)
        outputs.append(output)
    learned = gradients(dict(live.layer.named_parameters()))
    return {"output": array(torch.cat(outputs)), "grad_input": array(x.grad), **learned}


def infer_whole(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    x = tensor(x, live.device).requires_grad_()
    live.layer.zero_grad()
    return pulled(live.layer(x), upstream, x, dict(live.layer.named_parameters()))


def train_further(live: Any, x: Any, upstream: Any, tangent: Any) -> Quantities:
    live.layer.train()
    return further(live, x, upstream, tangent)


def infer_further(live: Any, x: Any, upstream: Any, tangent: Any) -> Quantities:
    live.layer.eval()
    return further(live, x, upstream, tangent)


def further(live: Any, x: Any, upstream: Any, tangent: Any) -> Quantities:
    """One forward pass of dual tensors; backward, and through the graph of that backward again."""
    x, pull, along = (tensor(each, live.device) for each in (x, upstream, tangent))
    x, pull = x.requires_grad_(), pull.requires_grad_()
    learned = dict(zip(("gamma", "beta"), live.layer.parameters(), strict=False))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, along)
        output, forward = torch.autograd.forward_ad.unpack_dual(live.layer(dual))
    first = torch.autograd.grad(output, [x, *learned.values()], pull, create_graph=True)
    sources = {"input": x, "upstream": pull, **learned}
    # What the input gradient does not depend on has the gradient zero, as in inference.
    second = torch.autograd.grad(first[0], list(sources.values()), along, allow_unused=True, materialize_grads=True)
    named = dict(zip(sources, second, strict=True))
    given = {"output": output, "grad_input": first[0], "tangent_output": forward}
    given |= {f"grad_{name}": each for name, each in zip(learned, first[1:], strict=True)}
    given |= {f"second_grad_{name}": each for name, each in named.items() if name != "beta"}
    return {name: array(each) for name, each in given.items()}


def start_stateless(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = device_named(device)
    layer.to(device=device, dtype=getattr(torch, configuration.parameter_dtype))
    call = functools.partial(torch.func.functional_call, layer)
    return without_state(layer, call, torch.tensor(0, device=device), configuration, state, mode, device)


def start_stack(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = device_named(device)
    layer.to(device=device, dtype=getattr(torch, configuration.parameter_dtype))
    count = torch.zeros(configuration.shape[0], dtype=torch.int64, device=device)
    call = torch.func.vmap(functools.partial(call_one, layer))
    return without_state(layer, call, count, configuration, state, mode, device)


def call_one(layer: Any, tensors: Any, x: Any) -> Any:
    return torch.func.functional_call(layer, tensors, (x,))


def without_state(
    layer: Any, call: Any, count: Any, configuration: Configuration, state: Quantities, mode: str, device: Any
) -> Any:
    """What the steps need where the tensors are the caller's: the layer's own stay as they were built."""
    tensors = cloned(state, device)
    return SimpleNamespace(
        layer=layer,
        tensors={**tensors, "num_batches_tracked": count},
        forward=prepare(call, mode),
        optimizer=optimizer([tensors[name] for name in ("weight", "bias") if name in tensors]),
        device=device,
    )


def state_stateless(live: Any) -> Quantities:
    return stored(live.tensors)


def train_stateless(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.train()
    return differentiate_stateless(live, x, upstream)


def infer_stateless(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    return differentiate_stateless(live, x, upstream)


def differentiate_stateless(live: Any, x: Any, upstream: Any) -> Quantities:
    x = tensor(x, live.device).requires_grad_()
    if live.optimizer is not None:
        live.optimizer.zero_grad()
    return pulled(live.forward(live.tensors, x), upstream, x, live.tensors)


def checkpoint(name: str, reentrant: bool) -> Implementation:
    steps: dict[str, Callable[..., Any]] = {
        "train": functools.partial(train, reentrant=reentrant),
        "infer": functools.partial(infer, reentrant=reentrant),
        "sgd": sgd,
    }
    return replace(LAYER, name=f"torch.nn.BatchNorm+{name}", steps=steps)


#: The layer, checkpointed; the rows below name what differs.
LAYER = Implementation(
    name="torch.nn.BatchNorm+checkpoint",
    op="transformed_batch_norm",
    profile=(MOVING_CORRECTION,),
    modes=("eager",),
    devices=DEVICES,
    dtypes=DTYPES,
    supports=supports_layer,
    call=call_layer,
    start=start,
    state=state_layer,
    steps={},
    documentation=DOCUMENTATION + "checkpoint.html",
)
STATELESS = replace(
    LAYER,
    name="torch.nn.BatchNorm+functional_call",
    modes=("eager", "compiled"),
    start=start_stateless,
    state=state_stateless,
    steps={"train": train_stateless, "infer": infer_stateless, "sgd": sgd},
    compilations=compilations,
    documentation=DOCUMENTATION + "generated/torch.func.functional_call.html",
)
ACCUMULATION = replace(
    LAYER,
    name="torch.nn.BatchNorm+accumulation",
    op="virtual_batch_norm",
    steps={"train": accumulate, "infer": infer_whole, "reload": reload, "sgd": sgd},
    documentation=DOCUMENTATION + "generated/torch.nn.BatchNorm2d.html",
)

ADAPTER = Adapter(
    library="torch",
    versions={"torch": torch.__version__},
    settings=settings(),
    implementations=(
        checkpoint("checkpoint", reentrant=False),
        checkpoint("reentrant_checkpoint", reentrant=True),
        STATELESS,
        replace(
            STATELESS,
            name="torch.nn.BatchNorm+vmap",
            supports=supports_stack,
            start=start_stack,
            documentation=DOCUMENTATION + "generated/torch.func.vmap.html",
        ),
        ACCUMULATION,
        replace(ACCUMULATION, name="torch.nn.BatchNorm+untracked", op="untracked_batch_norm", call=call_untracked),
        replace(
            LAYER,
            name="torch.nn.BatchNorm+derivatives",
            op="differentiated_batch_norm",
            steps={"train": train_further, "infer": infer_further},
            documentation=DOCUMENTATION + "generated/torch.autograd.forward_ad.make_dual.html",
        ),
    ),
)

"""PyTorch's batch normalization through transformations: checkpoints, stateless calls, stacks, accumulation, derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import torch
import torch.autograd.forward_ad
import torch.utils.checkpoint

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = [
    # One compile thread: Inductor's pool of subprocesses would outlive a killed worker.
    {
        "name": "torch-transforms",
        "group": "torch",
        "environment": {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": "{caches}"},
        "threads": {"OMP_NUM_THREADS": "{threads}", "MKL_NUM_THREADS": "{threads}"},
    }
]

#: Our name -> torch's name for the same tensor.
NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def tensor(array: Any, device: Any = "cpu") -> Any:
    """A tensor with the array's values, dtype and strides."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(array).to(device)


def array(value: Any) -> Any:
    value = value.detach().cpu()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy().copy()


def supports(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "the features are axis 1 of the input ((N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W))"
    return supports_parameters(configuration)


def supports_stack(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (0, 2):
        return "vmap maps over axis 0, and the features are axis 1 of what each layer sees"
    return supports_parameters(configuration)


def supports_parameters(configuration: Configuration) -> str | None:
    if not 2 <= configuration.rank - (0 in configuration.feature_axes) <= 5:
        return "BatchNorm1d, 2d and 3d take inputs of rank 2 to 5"
    if configuration.scale != configuration.center:
        return "`affine` switches weight and bias together"
    half = configuration.dtype in ("float16", "bfloat16")
    if configuration.parameter_dtype not in (configuration.dtype, "float32" if half else configuration.dtype):
        return "weight and bias have the dtype of the input, or float32 under half precision"
    return None


def call(configuration: Configuration) -> Call:
    rank = configuration.rank - (0 in configuration.feature_axes)
    dimensions = {2: 1, 3: 1, 4: 2, 5: 3}[rank]
    return Call(
        path=f"torch.nn.BatchNorm{dimensions}d",
        keywords={
            "num_features": configuration.features[-1],
            "eps": configuration.epsilon,
            "momentum": 1 - configuration.decay,
            "affine": configuration.scale,
        },
    )


def call_untracked(configuration: Configuration) -> Call:
    tracked = call(configuration)
    return replace(tracked, keywords={**tracked.keywords, "track_running_stats": False})


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = "cuda" if device == "gpu" else device
    layer.to(device=device, dtype=getattr(torch, configuration.parameter_dtype))
    named = {NAMES[name]: tensor(value) for name, value in state.items()}
    layer.load_state_dict({**layer.state_dict(), **named})
    parameters = list(layer.parameters())
    return SimpleNamespace(
        layer=layer,
        optimizer=torch.optim.SGD(parameters) if parameters else None,
        parts=configuration.options.get("virtual_batch", configuration.shape[0]),
        device=device,
    )


def state(live: Any) -> Quantities:
    return named(live.layer.state_dict())


def named(tensors: Any) -> Quantities:
    return {name: array(tensors[theirs]) for name, theirs in NAMES.items() if theirs in tensors}


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
    output = checkpointed(live, reentrant, x)
    output.backward(tensor(upstream, live.device))
    return {"output": array(output), "grad_input": array(x.grad), **learned(live)}


def learned(live: Any) -> Quantities:
    names = {"weight": "grad_gamma", "bias": "grad_beta"}
    return {names[name]: array(each.grad) for name, each in live.layer.named_parameters() if each.grad is not None}


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
    return {"output": array(torch.cat(outputs)), "grad_input": array(x.grad), **learned(live)}


def infer_whole(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    x = tensor(x, live.device).requires_grad_()
    live.layer.zero_grad()
    output = live.layer(x)
    if upstream is None:
        return {"output": array(output)}
    output.backward(tensor(upstream, live.device))
    return {"output": array(output), "grad_input": array(x.grad), **learned(live)}


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


def sgd(live: Any, learning_rate: float) -> None:
    live.optimizer.param_groups[0]["lr"] = learning_rate
    live.optimizer.step()


def reload(live: Any) -> Any:
    saved = {name: value.clone() for name, value in live.layer.state_dict().items()}
    for each in live.layer.state_dict().values():
        each.fill_(7)  # a reload that loads nothing must show
    live.layer.load_state_dict(saved)
    return live


def prepare(function: Any, mode: str) -> Any:
    """The function itself, or compiled whole for these shapes alone."""
    if mode == "eager":
        return function
    # Past eight variants of one code object Dynamo runs eagerly and says nothing: start from none.
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return torch.compile(function, fullgraph=True, dynamic=False)


def start_stateless(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = "cuda" if device == "gpu" else device
    layer.to(device=device, dtype=getattr(torch, configuration.parameter_dtype))
    call = functools.partial(torch.func.functional_call, layer)
    return without_state(layer, call, torch.tensor(0, device=device), configuration, state, mode, device)


def start_stack(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = "cuda" if device == "gpu" else device
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
    # Cloned: the call updates the buffers in place, and the arrays are not its own.
    tensors = {NAMES[name]: tensor(value, device).clone() for name, value in state.items()}
    parameters = [tensors[name].requires_grad_() for name in ("weight", "bias") if name in tensors]
    return SimpleNamespace(
        layer=layer,
        tensors={**tensors, "num_batches_tracked": count},
        forward=prepare(call, mode),
        optimizer=torch.optim.SGD(parameters) if parameters else None,
        device=device,
    )


def state_stateless(live: Any) -> Quantities:
    return named(live.tensors)


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
    output = live.forward(live.tensors, x)
    if upstream is None:
        return {"output": array(output)}
    output.backward(tensor(upstream, live.device))
    sources = {"grad_gamma": live.tensors.get("weight"), "grad_beta": live.tensors.get("bias")}
    gradients = {name: array(value.grad) for name, value in sources.items() if value is not None}
    return {"output": array(output), "grad_input": array(x.grad), **gradients}


def compilations(live: Any) -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


MOVING_CORRECTION = Declared(
    field="moving_correction",
    value=1,
    source="documentation",
    where="torch.nn.BatchNorm1d: the value stored in the moving average is calculated via the unbiased estimator",
)
DEVICES = ("cpu", "gpu") if torch.cuda.is_available() else ("cpu",)
DOCUMENTATION = "https://docs.pytorch.org/docs/stable/"


def implementation(
    name: str, op: str, page: str, steps: dict[str, Callable[..., Any]], **functions: Any
) -> Implementation:
    """A row: the layer through one transformation, eager unless told otherwise."""
    return Implementation(
        **{
            "name": f"torch.nn.BatchNorm+{name}",
            "op": op,
            "profile": (MOVING_CORRECTION,),
            "modes": ("eager",),
            "devices": DEVICES,
            "dtypes": ("float64", "float32", "float16", "bfloat16"),
            "supports": supports,
            "call": call,
            "start": start,
            "state": state,
            "steps": steps,
            "documentation": DOCUMENTATION + page,
            **functions,
        }
    )


def checkpoint(name: str, reentrant: bool) -> Implementation:
    steps: dict[str, Callable[..., Any]] = {
        "train": functools.partial(train, reentrant=reentrant),
        "infer": functools.partial(infer, reentrant=reentrant),
        "sgd": sgd,
    }
    return implementation(name, "transformed_batch_norm", "checkpoint.html", steps)


STATELESS: dict[str, Any] = {
    "steps": {"train": train_stateless, "infer": infer_stateless, "sgd": sgd},
    "state": state_stateless,
    "modes": ("eager", "compiled"),
    "compilations": compilations,
}

ADAPTER = Adapter(
    library="torch",
    versions={"torch": torch.__version__},
    settings={
        "threads": str(torch.get_num_threads()),
        "deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "oneDNN": str(torch.backends.mkldnn.is_available()),
        "cuDNN": str(torch.backends.cudnn.version()),
        "cuDNN allows TF32": str(torch.backends.cudnn.allow_tf32),
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
    },
    implementations=(
        checkpoint("checkpoint", reentrant=False),
        checkpoint("reentrant_checkpoint", reentrant=True),
        implementation(
            "functional_call",
            "transformed_batch_norm",
            "generated/torch.func.functional_call.html",
            start=start_stateless,
            **STATELESS,
        ),
        implementation(
            "vmap",
            "transformed_batch_norm",
            "generated/torch.func.vmap.html",
            supports=supports_stack,
            start=start_stack,
            **STATELESS,
        ),
        implementation(
            "accumulation",
            "virtual_batch_norm",
            "generated/torch.nn.BatchNorm2d.html",
            {"train": accumulate, "infer": infer_whole, "reload": reload, "sgd": sgd},
        ),
        implementation(
            "untracked",
            "untracked_batch_norm",
            "generated/torch.nn.BatchNorm2d.html",
            {"train": accumulate, "infer": infer_whole, "reload": reload, "sgd": sgd},
            call=call_untracked,
        ),
        implementation(
            "derivatives",
            "differentiated_batch_norm",
            "generated/torch.autograd.forward_ad.make_dual.html",
            {"train": train_further, "infer": infer_further},
        ),
    ),
)

"""PyTorch: its tensors, its batch norm layer as a row of its own, and what other rows share with it."""

from __future__ import annotations

import functools
import io
import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import torch

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

#: Our name -> torch's name for the same tensor.
NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
GRADIENTS = {"weight": "grad_gamma", "bias": "grad_beta"}
DEVICES = {"cpu": "cpu", "gpu": "cuda"}


def tensor(array: Any, device: Any = "cpu") -> Any:
    """A tensor with the array's values, dtype and strides."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(array).to(device)


def array(value: Any) -> Any:
    value = value.detach().cpu()
    # Forced: a derivative that is zero throughout may be a tensor without memory.
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy(force=True).view(ml_dtypes.bfloat16)
    return value.numpy(force=True).copy()


def supports_layer(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "the features are axis 1 of the input ((N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W))"
    return supports_parameters(configuration)


def supports_parameters(configuration: Configuration) -> str | None:
    if not 2 <= rank_of_one(configuration) <= 5:
        return "BatchNorm1d, 2d and 3d take inputs of rank 2 to 5"
    if configuration.scale != configuration.center:
        return "`affine` switches weight and bias together"
    if not mixes(configuration):
        return "weight and bias have the dtype of the input, or float32 under half precision"
    return None


def mixes(configuration: Configuration) -> bool:
    half = configuration.dtype in ("float16", "bfloat16")
    return configuration.parameter_dtype == configuration.dtype or (half and configuration.parameter_dtype == "float32")


def rank_of_one(configuration: Configuration) -> int:
    """The rank that a layer sees: an axis 0 of features is one of layers, mapped over."""
    return configuration.rank - (0 in configuration.feature_axes)


def call_layer(configuration: Configuration) -> Call:
    dimensions = {2: 1, 3: 1, 4: 2, 5: 3}[rank_of_one(configuration)]
    return Call(
        path=f"torch.nn.BatchNorm{dimensions}d",
        keywords={
            "num_features": configuration.features[-1],
            "eps": configuration.epsilon,
            "momentum": 1 - configuration.decay,
            "affine": configuration.scale,
        },
    )


def fill(layer: Any, configuration: Configuration, state: Quantities, device: str) -> None:
    layer.to(device=device, dtype=getattr(torch, configuration.parameter_dtype))
    named = {theirs: tensor(state[ours]) for ours, theirs in NAMES.items() if ours in state}
    layer.load_state_dict({**layer.state_dict(), **named})


def cloned(state: Quantities, device: str) -> Any:
    """The tensors of a call that updates them in place: the arrays are not its own."""
    named = {NAMES[name]: tensor(value, device).clone() for name, value in state.items()}
    return {name: value.requires_grad_(name in GRADIENTS) for name, value in named.items()}


def prepare(function: Any, mode: str) -> Any:
    """The function itself, or compiled whole for these shapes alone."""
    if mode == "eager":
        return function
    # Past eight variants of one code object Dynamo runs eagerly and says nothing: start from none.
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return torch.compile(function, fullgraph=True, dynamic=False)


def compile_seconds() -> float:
    """What Dynamo notes of its own compilations; nothing where it was not needed yet."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return 0.0 if dynamo is None else math.fsum(dynamo.compilation_time_metrics.get("_compile.compile_inner", ()))


def compilations(live: Any) -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def started(function: Any, parameters: Any, mode: str, device: str) -> Any:
    """What the steps need of every call, which has the parameters, by torch's names, or is given them."""
    return SimpleNamespace(forward=prepare(function, mode), parameters=parameters, device=device)


def start_layer(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    fill(layer, configuration, state, DEVICES[device])
    live = started(layer, dict(layer.named_parameters()), mode, DEVICES[device])
    live.layer = layer
    return live


def start_tensors(function: Any, tensors: Any, mode: str, device: str) -> Any:
    """A function that is given its tensors at each call."""
    parameters = {name: tensors[name] for name in GRADIENTS if name in tensors}
    live = started(function, parameters, mode, device)
    live.tensors = tensors
    return live


def stored(tensors: Any) -> Quantities:
    return {ours: array(tensors[theirs]) for ours, theirs in NAMES.items() if theirs in tensors}


def state_layer(live: Any) -> Quantities:
    return stored(live.layer.state_dict())


def state_tensors(live: Any) -> Quantities:
    return stored(live.tensors)


def train_layer(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.train()
    return differentiated(live, live.forward, x, upstream)


def infer_layer(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    if upstream is None:
        with torch.no_grad():
            return {"output": array(live.forward(tensor(x, live.device)))}
    return derived(live, live.forward, x, upstream)


def passes(step: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The steps of one function that is told whether it trains."""
    return {"train": functools.partial(step, training=True), "infer": functools.partial(step, training=False)}


def differentiated(live: Any, forward: Any, x: Any, upstream: Any) -> Quantities:
    x = tensor(x, live.device)
    x.requires_grad_(x.is_floating_point())
    for parameter in live.parameters.values():
        parameter.grad = None
    return pulled(forward(x), upstream, x, live.parameters)


def derived(live: Any, forward: Any, x: Any, upstream: Any) -> Quantities:
    """The gradients of an inference: the parameters keep those of training, which the optimizer takes."""
    kept = {name: parameter.grad for name, parameter in live.parameters.items()}
    quantities = differentiated(live, forward, x, upstream)
    for name, parameter in live.parameters.items():
        parameter.grad = kept[name]
    return quantities


def pulled(output: Any, upstream: Any, x: Any, parameters: Any) -> Quantities:
    """The output, and the gradients of its backward pass at x and at the parameters, by torch's names."""
    if upstream is None:
        return {"output": array(output)}
    output.backward(tensor(upstream, x.device))
    return {"output": array(output), "grad_input": array(x.grad), **gradients(parameters)}


def gradients(parameters: Any) -> Quantities:
    named = {GRADIENTS[name]: parameter.grad for name, parameter in parameters.items()}
    return {name: array(gradient) for name, gradient in named.items() if gradient is not None}


def reload(live: Any) -> Any:
    file = io.BytesIO()
    torch.save(live.layer.state_dict(), file)
    file.seek(0)
    for value in live.layer.state_dict().values():
        value.fill_(7)  # a reload that loads nothing must show
    live.layer.load_state_dict(torch.load(file, weights_only=True))
    return live


def freeze(live: Any) -> None:
    live.layer.requires_grad_(False)


def unfreeze(live: Any) -> None:
    live.layer.requires_grad_(True)


def sgd(live: Any, learning_rate: float) -> None:
    torch.optim.SGD(live.parameters.values(), learning_rate).step()


def settings() -> dict[str, str]:
    return {
        "threads": str(torch.get_num_threads()),
        "deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "oneDNN": str(torch.backends.mkldnn.is_available()),
        "cuDNN": str(torch.backends.cudnn.version()),
        "cuDNN enabled": str(torch.backends.cudnn.enabled),
        "cuDNN allows TF32": str(torch.backends.cudnn.allow_tf32),
        "cuDNN deterministic": str(torch.backends.cudnn.deterministic),
        "cuDNN benchmark": str(torch.backends.cudnn.benchmark),
        "matmul precision": torch.get_float32_matmul_precision(),
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
    }


MOVING_CORRECTION = Declared(
    field="moving_correction",
    value=1,
    source="documentation",
    where="torch.nn.BatchNorm1d: the value stored in the moving average is calculated via the unbiased estimator",
)
SINGLE_VALUE = Declared(
    field="single_value",
    value="error",
    source="source code",
    error="ValueError",
    where="torch/nn/functional.py, _verify_batch_size: Expected more than 1 value per channel when training",
)
DOCUMENTATION = "https://docs.pytorch.org/docs/stable/"

#: `torch.nn.BatchNorm1d`, `2d` or `3d` by rank. Other rows say in what they differ.
LAYER = Implementation(
    name="torch.nn.BatchNorm",
    op="batch_norm",
    profile=(MOVING_CORRECTION, SINGLE_VALUE),
    modes=("eager", "compiled"),
    devices=("cpu", "gpu") if torch.cuda.is_available() else ("cpu",),
    dtypes=("float64", "float32", "float16", "bfloat16"),
    supports=supports_layer,
    call=call_layer,
    start=start_layer,
    state=state_layer,
    steps={"train": train_layer, "infer": infer_layer, "sgd": sgd},
    compilations=compilations,
    documentation=DOCUMENTATION + "generated/torch.nn.BatchNorm2d.html",
    names={ours: f"*.{theirs}" for ours, theirs in NAMES.items()},
)


def adapter(*rows: Implementation) -> Adapter:
    """The adapter of these rows."""
    return Adapter(
        library="torch",
        versions={"torch": torch.__version__},
        settings=settings(),
        compiling=compile_seconds,
        implementations=rows,
    )

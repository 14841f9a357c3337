"""PyTorch: `torch.nn.BatchNorm1d/2d/3d` by rank and cumulative, `torch.nn.functional.batch_norm`, and a `Centering` module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities
from conformance_adapters.torch._native import (
    DEVICES,
    DOCUMENTATION,
    DTYPES,
    MOVING_CORRECTION,
    SINGLE_VALUE,
    array,
    call_layer,
    cloned,
    compilations,
    device_named,
    fill,
    mixes,
    optimizer,
    prepare,
    pulled,
    reload,
    settings,
    sgd,
    state_layer,
    stored,
    supports_layer,
    tensor,
)

PROCESSES = "torch"


class Centering(torch.nn.Module):
    """Subtracts the batch mean in training and the moving mean in inference; frozen, it infers."""

    def __init__(self, features: tuple[int, ...], axes: tuple[int, ...], decay: float) -> None:
        super().__init__()
        self.axes, self.decay, self.frozen = axes, decay, False
        self.register_buffer("running_mean", torch.zeros(features))

    def forward(self, x: Any) -> Any:
        shape = [1 if axis in self.axes else size for axis, size in enumerate(x.shape)]
        if not self.training or self.frozen:
            return x - self.running_mean.reshape(shape)
        if x.numel() == 0:
            return x.clone()
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        mean = wide.mean(self.axes, keepdim=True)
        with torch.no_grad():
            old = self.running_mean.to(mean.dtype)
            self.running_mean.copy_(self.decay * old + (1 - self.decay) * mean.reshape(old.shape))
        return (wide - mean).to(x.dtype)


def supports_function(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "the features are axis 1 of the input"
    if not mixes(configuration):
        return "weight and bias have the dtype of the input, or float32 under half precision"
    return None


def supports_centering(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "the buffer has the dtype of the input"
    return None


def call_cumulative(configuration: Configuration) -> Call:
    exponential = call_layer(configuration)
    return replace(exponential, keywords={**exponential.keywords, "momentum": None})


def call_function(configuration: Configuration) -> Call:
    return Call(
        path="torch.nn.functional.batch_norm",
        keywords={"eps": configuration.epsilon, "momentum": 1 - configuration.decay},
        function=True,
    )


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering",
        keywords={
            "features": configuration.features,
            "axes": configuration.reduction_axes,
            "decay": configuration.decay,
        },
    )


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = device_named(device)
    fill(layer, configuration, state, device)
    return SimpleNamespace(
        layer=layer,
        forward=prepare(layer, mode),
        optimizer=optimizer(list(layer.parameters())),
        device=device,
    )


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.train()
    return differentiate(live, x, upstream)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    if upstream is None:
        with torch.no_grad():
            return {"output": array(live.forward(tensor(x, live.device)))}
    return differentiate(live, x, upstream)


def differentiate(live: Any, x: Any, upstream: Any) -> Quantities:
    x = tensor(x, live.device).requires_grad_()
    live.layer.zero_grad()
    return pulled(live.forward(x), upstream, x, dict(live.layer.named_parameters()))


def freeze(live: Any) -> None:
    live.layer.requires_grad_(False)


def unfreeze(live: Any) -> None:
    live.layer.requires_grad_(True)


def freeze_centering(live: Any) -> None:
    live.layer.frozen = True


def unfreeze_centering(live: Any) -> None:
    live.layer.frozen = False


def start_function(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = device_named(device)
    tensors = cloned(state, device)
    return SimpleNamespace(
        tensors=tensors,
        forward=prepare(function, mode),
        optimizer=optimizer([tensors[name] for name in ("weight", "bias") if name in tensors]),
        device=device,
    )


def state_function(live: Any) -> Quantities:
    return stored(live.tensors)


def train_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return differentiate_function(live, x, upstream, training=True)


def infer_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return differentiate_function(live, x, upstream, training=False)


def differentiate_function(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    x = tensor(x, live.device).requires_grad_()
    if live.optimizer is not None:
        live.optimizer.zero_grad()
    return pulled(live.forward(x, training=training, **live.tensors), upstream, x, live.tensors)


def put(array: Any, device: str) -> Any:
    return tensor(array, device_named(device))


def wait(live: Any, results: Any) -> None:
    """A CPU computes at once."""
    if live.device == "cuda":
        torch.cuda.synchronize()


def clock(live: Any) -> float:
    """Seconds on the device's own clock since the first reading."""
    now = torch.cuda.Event(enable_timing=True)
    now.record()
    now.synchronize()
    vars(live).setdefault("origin", now)
    return live.origin.elapsed_time(now) / 1000


def copy(live: Any, x: Any) -> Any:
    return x.clone()


def timed_infer(live: Any, x: Any, upstream: Any) -> Any:
    live.layer.eval()
    with torch.no_grad():
        return {"output": live.forward(x)}


def timed_train(live: Any, x: Any, upstream: Any) -> Any:
    live.layer.train()
    if upstream is None:
        return {"output": live.forward(x)}
    return timed_gradients(live.forward, x, upstream, dict(live.layer.named_parameters()))


def timed_infer_function(live: Any, x: Any, upstream: Any) -> Any:
    with torch.no_grad():
        return {"output": live.forward(x, training=False, **live.tensors)}


def timed_train_function(live: Any, x: Any, upstream: Any) -> Any:
    forward = functools.partial(live.forward, training=True, **live.tensors)
    if upstream is None:
        return {"output": forward(x)}
    return timed_gradients(forward, x, upstream, {name: live.tensors[name] for name in ("weight", "bias")})


def timed_infer_into(live: Any, x: Any, upstream: Any) -> Any:
    """The kernel behind the function, which takes buffers for its output and for the statistics that it leaves empty."""
    if not hasattr(live, "buffers"):
        live.buffers = torch.empty_like(x), x.new_empty(0), x.new_empty(0)
    tensors = [live.tensors[name] for name in ("weight", "bias", "running_mean", "running_var")]
    with torch.no_grad():
        torch.native_batch_norm(x, *tensors, False, 0.0, live.forward.keywords["eps"], out=live.buffers)
    return {"output": live.buffers[0]}


def timed_gradients(forward: Any, x: Any, upstream: Any, parameters: Any) -> Any:
    names = {"weight": "grad_gamma", "bias": "grad_beta"}
    x = x.detach().requires_grad_()
    output = forward(x)
    gradients = torch.autograd.grad(output, [x, *parameters.values()], upstream)
    return {
        "output": output,
        **dict(zip(["grad_input", *(names[name] for name in parameters)], gradients, strict=True)),
    }


CUMULATIVE = Declared(
    field="update",
    value="cumulative",
    source="documentation",
    where="torch.nn.BatchNorm1d: momentum can be set to None for cumulative moving average (i.e. simple average)",
)
STEPS: dict[str, Callable[..., Any]] = {
    "train": train,
    "infer": infer,
    "reload": reload,
    "freeze": freeze,
    "unfreeze": unfreeze,
    "sgd": sgd,
}
TIMED: dict[str, Callable[..., Any]] = {
    "put": put,
    "get": array,
    "wait": wait,
    "copy": copy,
    **({"clock": clock} if "gpu" in DEVICES else {}),
    "infer": timed_infer,
    "train_forward": timed_train,
    "train": timed_train,
}
TIMED_FUNCTION: dict[str, Callable[..., Any]] = {
    **TIMED,
    "infer": timed_infer_function,
    "infer_into": timed_infer_into,
    "train_forward": timed_train_function,
    "train": timed_train_function,
}

LAYER = Implementation(
    name="torch.nn.BatchNorm",
    op="batch_norm",
    profile=(MOVING_CORRECTION, SINGLE_VALUE),
    modes=("eager", "compiled"),
    devices=DEVICES,
    dtypes=DTYPES,
    supports=supports_layer,
    call=call_layer,
    start=start,
    state=state_layer,
    steps=STEPS,
    timed=TIMED,
    compilations=compilations,
    documentation=DOCUMENTATION + "generated/torch.nn.BatchNorm2d.html",
)

ADAPTER = Adapter(
    library="torch",
    versions={"torch": torch.__version__},
    settings=settings(),
    implementations=(
        LAYER,
        replace(
            LAYER,
            name="torch.nn.BatchNorm+cumulative",
            profile=(MOVING_CORRECTION, SINGLE_VALUE, CUMULATIVE),
            # Compiled whole it is refused: the weight of the batch is read from the tensor num_batches_tracked.
            modes=("eager",),
            call=call_cumulative,
        ),
        replace(
            LAYER,
            name="torch.nn.functional.batch_norm",
            supports=supports_function,
            call=call_function,
            start=start_function,
            state=state_function,
            steps={"train": train_function, "infer": infer_function, "sgd": sgd},
            timed=TIMED_FUNCTION,
            documentation=DOCUMENTATION + "generated/torch.nn.functional.batch_norm.html",
        ),
        replace(
            LAYER,
            name="torch.Centering",
            op="centering",
            profile=(),
            supports=supports_centering,
            call=call_centering,
            steps={
                "train": train,
                "infer": infer,
                "reload": reload,
                "freeze": freeze_centering,
                "unfreeze": unfreeze_centering,
            },
            documentation="",
        ),
    ),
)

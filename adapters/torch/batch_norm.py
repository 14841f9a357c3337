"""PyTorch: `torch.nn.BatchNorm1d/2d/3d` by rank and cumulative, `torch.nn.functional.batch_norm`, and a `Centering` module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from conformance.protocol import Call, Configuration, Declared, Quantities
from conformance_adapters.torch._native import (
    DEVICES,
    DOCUMENTATION,
    GRADIENTS,
    LAYER,
    NAMES,
    adapter,
    array,
    call_layer,
    cloned,
    derived,
    differentiated,
    freeze,
    infer_layer,
    mixes,
    passes,
    reload,
    sgd,
    start_tensors,
    state_tensors,
    tensor,
    train_layer,
    unfreeze,
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
    keywords = {"eps": configuration.epsilon, "momentum": 1 - configuration.decay}
    return Call(path="torch.nn.functional.batch_norm", keywords=keywords, function=True)


def call_centering(configuration: Configuration) -> Call:
    axes = configuration.reduction_axes
    keywords = {"features": configuration.features, "axes": axes, "decay": configuration.decay}
    return Call(path="Centering", keywords=keywords)


def start_function(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return start_tensors(function, cloned(state, DEVICES[device]), mode, DEVICES[device])


def step_function(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    forward = functools.partial(live.forward, training=training, **live.tensors)
    return (differentiated if training else derived)(live, forward, x, upstream)


def switch(frozen: bool, live: Any) -> None:
    live.layer.frozen = frozen


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


def timed_infer(live: Any, x: Any, upstream: Any) -> Any:
    live.layer.eval()
    with torch.no_grad():
        return {"output": live.forward(x)}


def timed_train(live: Any, x: Any, upstream: Any) -> Any:
    live.layer.train()
    return timed_gradients(live, live.forward, x, upstream)


def timed_infer_function(live: Any, x: Any, upstream: Any) -> Any:
    with torch.no_grad():
        return {"output": live.forward(x, training=False, **live.tensors)}


def timed_train_function(live: Any, x: Any, upstream: Any) -> Any:
    return timed_gradients(live, functools.partial(live.forward, training=True, **live.tensors), x, upstream)


def timed_infer_into(live: Any, x: Any, upstream: Any) -> Any:
    """The kernel behind the function, which takes buffers for its output and for the statistics that it leaves empty."""
    if not hasattr(live, "buffers"):
        live.buffers = torch.empty_like(x), x.new_empty(0), x.new_empty(0)
    tensors = [live.tensors[name] for name in ("weight", "bias", "running_mean", "running_var")]
    with torch.no_grad():
        torch.native_batch_norm(x, *tensors, False, 0.0, live.forward.keywords["eps"], out=live.buffers)
    return {"output": live.buffers[0]}


def timed_gradients(live: Any, forward: Any, x: Any, upstream: Any) -> Any:
    if upstream is None:
        return {"output": forward(x)}
    x = x.detach().requires_grad_()
    output = forward(x)
    learned = {GRADIENTS[name]: parameter for name, parameter in live.parameters.items()}
    gradients = torch.autograd.grad(output, [x, *learned.values()], upstream)
    return {"output": output, **dict(zip(("grad_input", *learned), gradients, strict=True))}


CUMULATIVE = Declared(
    field="update",
    value="cumulative",
    source="documentation",
    where="torch.nn.BatchNorm1d: momentum can be set to None for cumulative moving average (i.e. simple average)",
)
STEPS = {**LAYER.steps, "reload": reload, "freeze": freeze, "unfreeze": unfreeze}
TIMED: dict[str, Callable[..., Any]] = {
    "put": lambda array, device: tensor(array, DEVICES[device]),
    "get": array,
    "wait": wait,
    "copy": lambda live, x: x.clone(),
    **({"clock": clock} if "gpu" in LAYER.devices else {}),
    "infer": timed_infer,
    "train_forward": timed_train,
    "train": timed_train,
}
WHOLE = replace(LAYER, steps=STEPS, timed=TIMED)

ADAPTER = adapter(
    WHOLE,
    replace(
        WHOLE,
        name="torch.nn.BatchNorm+cumulative",
        profile=(*LAYER.profile, CUMULATIVE),
        # Compiled whole it is refused: the weight of the batch is read from the tensor num_batches_tracked.
        modes=("eager",),
        call=call_cumulative,
    ),
    replace(
        WHOLE,
        name="torch.nn.functional.batch_norm",
        supports=supports_function,
        call=call_function,
        start=start_function,
        state=state_tensors,
        steps={**passes(step_function), "sgd": sgd},
        given=tuple(NAMES),
        timed={
            **TIMED,
            "infer": timed_infer_function,
            "infer_into": timed_infer_into,
            "train_forward": timed_train_function,
            "train": timed_train_function,
        },
        documentation=DOCUMENTATION + "generated/torch.nn.functional.batch_norm.html",
    ),
    replace(
        WHOLE,
        name="torch.Centering",
        op="centering",
        profile=(),
        supports=supports_centering,
        call=call_centering,
        steps={
            "train": train_layer,
            "infer": infer_layer,
            "reload": reload,
            "freeze": functools.partial(switch, True),
            "unfreeze": functools.partial(switch, False),
        },
        documentation="",
    ),
)

"""PyTorch: `torch.nn.BatchNorm1d/2d/3d` by rank and cumulative, `torch.nn.functional.batch_norm`, and a `Centering` module."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import torch

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = [
    # One compile thread: Inductor's pool of subprocesses would outlive a killed worker.
    {
        "name": "torch",
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
    if not 2 <= configuration.rank <= 5:
        return "BatchNorm1d, 2d and 3d take inputs of rank 2 to 5"
    if configuration.scale != configuration.center:
        return "`affine` switches weight and bias together"
    if not mixes(configuration):
        return "weight and bias have the dtype of the input, or float32 under half precision"
    return None


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


def mixes(configuration: Configuration) -> bool:
    half = configuration.dtype in ("float16", "bfloat16")
    return configuration.parameter_dtype == configuration.dtype or (half and configuration.parameter_dtype == "float32")


def call(configuration: Configuration) -> Call:
    dimensions = {2: 1, 3: 1, 4: 2, 5: 3}[configuration.rank]
    return Call(
        path=f"torch.nn.BatchNorm{dimensions}d",
        keywords={
            "num_features": configuration.feature_count,
            "eps": configuration.epsilon,
            "momentum": 1 - configuration.decay,
            "affine": configuration.scale,
        },
    )


def call_cumulative(configuration: Configuration) -> Call:
    exponential = call(configuration)
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


def prepare(function: Any, mode: str) -> Any:
    """The function itself, or compiled whole for these shapes alone."""
    if mode == "eager":
        return function
    # Past eight variants of one code object Dynamo runs eagerly and says nothing: start from none.
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return torch.compile(function, fullgraph=True, dynamic=False)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = "cuda" if device == "gpu" else device
    layer.to(device=device, dtype=getattr(torch, configuration.parameter_dtype))
    named = {NAMES[name]: tensor(value) for name, value in state.items()}
    layer.load_state_dict({**layer.state_dict(), **named})
    parameters = list(layer.parameters())
    return SimpleNamespace(
        layer=layer,
        forward=prepare(layer, mode),
        optimizer=torch.optim.SGD(parameters) if parameters else None,
        device=device,
    )


def state(live: Any) -> Quantities:
    stored = live.layer.state_dict()
    return {name: array(stored[theirs]) for name, theirs in NAMES.items() if theirs in stored}


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
    output = live.forward(x)
    output.backward(tensor(upstream, live.device))
    quantities = {"output": array(output), "grad_input": array(x.grad)}
    for name, parameter in live.layer.named_parameters():
        if parameter.grad is not None:
            quantities["grad_gamma" if name == "weight" else "grad_beta"] = array(parameter.grad)
    return quantities


def reload(live: Any) -> Any:
    file = io.BytesIO()
    torch.save(live.layer.state_dict(), file)
    file.seek(0)
    for tensor in live.layer.state_dict().values():
        tensor.fill_(7)  # a reload that loads nothing must show
    live.layer.load_state_dict(torch.load(file, weights_only=True))
    return live


def freeze(live: Any) -> None:
    live.layer.requires_grad_(False)


def unfreeze(live: Any) -> None:
    live.layer.requires_grad_(True)


def freeze_centering(live: Any) -> None:
    live.layer.frozen = True


def unfreeze_centering(live: Any) -> None:
    live.layer.frozen = False


def sgd(live: Any, learning_rate: float) -> None:
    live.optimizer.param_groups[0]["lr"] = learning_rate
    live.optimizer.step()


def start_function(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    device = "cuda" if device == "gpu" else device
    # Cloned: the function updates the moving tensors in place, and the arrays are not its own.
    tensors = {NAMES[name]: tensor(value, device).clone() for name, value in state.items()}
    learned = {name: tensors[name].requires_grad_() for name in ("weight", "bias") if name in tensors}
    return SimpleNamespace(
        tensors=tensors,
        forward=prepare(function, mode),
        optimizer=torch.optim.SGD(list(learned.values())) if learned else None,
        device=device,
    )


def state_function(live: Any) -> Quantities:
    return {name: array(live.tensors[theirs]) for name, theirs in NAMES.items() if theirs in live.tensors}


def train_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return differentiate_function(live, x, upstream, training=True)


def infer_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return differentiate_function(live, x, upstream, training=False)


def differentiate_function(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    x = tensor(x, live.device).requires_grad_()
    if live.optimizer is not None:
        live.optimizer.zero_grad()
    output = live.forward(x, training=training, **live.tensors)
    if upstream is None:
        return {"output": array(output)}
    output.backward(tensor(upstream, live.device))
    learned = {"grad_gamma": live.tensors.get("weight"), "grad_beta": live.tensors.get("bias")}
    gradients = {name: array(value.grad) for name, value in learned.items() if value is not None}
    return {"output": array(output), "grad_input": array(x.grad), **gradients}


def put(array: Any, device: str) -> Any:
    return tensor(array, "cuda" if device == "gpu" else device)


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


def compilations(live: Any) -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


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
CUMULATIVE = Declared(
    field="update",
    value="cumulative",
    source="documentation",
    where="torch.nn.BatchNorm1d: momentum can be set to None for cumulative moving average (i.e. simple average)",
)
MODES = ("eager", "compiled")
DEVICES = ("cpu", "gpu") if torch.cuda.is_available() else ("cpu",)
DTYPES = ("float64", "float32", "float16", "bfloat16")
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
DOCUMENTATION = "https://docs.pytorch.org/docs/stable/generated/torch.nn."

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
        Implementation(
            name="torch.nn.BatchNorm",
            op="batch_norm",
            profile=(MOVING_CORRECTION, SINGLE_VALUE),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps=STEPS,
            timed=TIMED,
            compilations=compilations,
            documentation=DOCUMENTATION + "BatchNorm2d.html",
        ),
        Implementation(
            name="torch.nn.BatchNorm+cumulative",
            op="batch_norm",
            profile=(MOVING_CORRECTION, SINGLE_VALUE, CUMULATIVE),
            # Compiled whole it is refused: the weight of the batch is read from the tensor num_batches_tracked.
            modes=("eager",),
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports,
            call=call_cumulative,
            start=start,
            state=state,
            steps=STEPS,
            timed=TIMED,
            compilations=compilations,
            documentation=DOCUMENTATION + "BatchNorm2d.html",
        ),
        Implementation(
            name="torch.nn.functional.batch_norm",
            op="batch_norm",
            profile=(MOVING_CORRECTION, SINGLE_VALUE),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports_function,
            call=call_function,
            start=start_function,
            state=state_function,
            steps={"train": train_function, "infer": infer_function, "sgd": sgd},
            timed=TIMED_FUNCTION,
            compilations=compilations,
            documentation=DOCUMENTATION + "functional.batch_norm.html",
        ),
        Implementation(
            name="torch.Centering",
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

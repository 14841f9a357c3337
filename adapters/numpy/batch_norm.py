"""NumPy in float32, written out by hand: the worked example of an adapter, and a healthy two-pass yardstick."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "numpy"


class BatchNorm:
    """Two-pass batch normalization in the dtype of its input; gradients by the closed form."""

    def __init__(self, *, features: tuple[int, ...], axes: tuple[int, ...], decay: float, epsilon: float) -> None:
        self.features, self.axes, self.decay, self.epsilon = features, axes, decay, epsilon
        self.state: dict[str, Any] = {}
        self.gradients: dict[str, Any] = {}

    def spread(self, name: str, x: Any) -> Any:
        """Return a statistic shaped to broadcast against x; gamma and beta default to one and zero."""
        default = np.full(self.features, name == "gamma", x.dtype)
        shape = [1 if axis in self.axes else size for axis, size in enumerate(x.shape)]
        return self.state.get(name, default).reshape(shape)

    def normalize(self, x: Any, mean: Any, variance: Any) -> tuple[Any, Any]:
        inverse = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
        normalized = (x - mean) * inverse
        return normalized, inverse

    def update(self, name: str, batch: Any) -> None:
        old = self.state[name]
        decay = old.dtype.type(self.decay)
        self.state[name] = decay * old + (1 - decay) * batch.reshape(self.features)


class Centering:
    """Subtracts the batch mean in training and the moving mean in inference; frozen, it infers."""

    def __init__(self, *, features: tuple[int, ...], axes: tuple[int, ...], decay: float) -> None:
        self.features, self.axes, self.decay = features, axes, decay
        self.state: dict[str, Any] = {}
        self.frozen = False


def supports(configuration: Configuration) -> str | None:
    """Everything the spec can say, where parameters and input share a dtype."""
    if configuration.parameter_dtype != configuration.dtype:
        return "written for one dtype of input and parameters"
    return None


def call(configuration: Configuration) -> Call:
    keywords: dict[str, Any] = {
        "features": configuration.features,
        "axes": configuration.reduction_axes,
        "decay": configuration.decay,
    }
    if configuration.op == "centering":
        return Call(path="Centering", keywords=keywords)
    return Call(path="BatchNorm", keywords={**keywords, "epsilon": configuration.epsilon})


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    layer.state = dict(state)
    return SimpleNamespace(layer=layer)


def state(live: Any) -> Quantities:
    return dict(live.layer.state)


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    layer = live.layer
    if x.size == 0:
        zero = np.zeros(layer.features, x.dtype)
        layer.gradients = {"grad_gamma": zero, "grad_beta": zero}
        return {"output": x.copy(), "grad_input": x.copy(), **owned(layer)}
    count = x.size // math.prod(layer.features)
    mean = x.mean(layer.axes, keepdims=True)
    variance = np.square(x - mean).mean(layer.axes, keepdims=True)
    normalized, inverse = layer.normalize(x, mean, variance)
    layer.update("moving_mean", mean)
    layer.update("moving_variance", variance)
    gamma, beta = layer.spread("gamma", x), layer.spread("beta", x)
    grad_beta = upstream.sum(layer.axes, keepdims=True)
    grad_gamma = (upstream * normalized).sum(layer.axes, keepdims=True)
    grad_input = gamma * inverse * (upstream - grad_beta / count - normalized * (grad_gamma / count))
    layer.gradients = {"grad_gamma": grad_gamma.reshape(layer.features), "grad_beta": grad_beta.reshape(layer.features)}
    return {"output": gamma * normalized + beta, "grad_input": grad_input, **owned(layer)}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    layer = live.layer
    normalized, inverse = layer.normalize(x, layer.spread("moving_mean", x), layer.spread("moving_variance", x))
    gamma, beta = layer.spread("gamma", x), layer.spread("beta", x)
    output = {"output": gamma * normalized + beta}
    if upstream is None:
        return output
    gradients = {
        "grad_gamma": (upstream * normalized).sum(layer.axes).reshape(layer.features),
        "grad_beta": upstream.sum(layer.axes).reshape(layer.features),
    }
    layer.gradients = gradients
    return {**output, "grad_input": gamma * inverse * upstream, **owned(layer)}


def owned(layer: Any) -> Quantities:
    """The gradients of the parameters that this layer has."""
    return {name: value for name, value in layer.gradients.items() if name.removeprefix("grad_") in layer.state}


def reload(live: Any) -> Any:
    buffer = io.BytesIO()
    np.savez(buffer, **live.layer.state)
    buffer.seek(0)
    live.layer.state = dict(np.load(buffer))
    return live


def sgd(live: Any, learning_rate: float) -> None:
    for name in ("gamma", "beta"):
        if name in live.layer.state:
            old = live.layer.state[name]
            live.layer.state[name] = old - old.dtype.type(learning_rate) * live.layer.gradients[f"grad_{name}"]


def train_centering(live: Any, x: Any, upstream: Any) -> Quantities:
    layer = live.layer
    if layer.frozen:
        return infer_centering(live, x, upstream)
    if x.size == 0:
        return {"output": x.copy(), "grad_input": x.copy()}
    mean = x.mean(layer.axes, keepdims=True)
    old = layer.state["moving_mean"]
    decay = old.dtype.type(layer.decay)
    layer.state["moving_mean"] = decay * old + (1 - decay) * mean.reshape(layer.features)
    return {"output": x - mean, "grad_input": upstream - upstream.mean(layer.axes, keepdims=True)}


def infer_centering(live: Any, x: Any, upstream: Any) -> Quantities:
    shape = [1 if axis in live.layer.axes else size for axis, size in enumerate(x.shape)]
    output = {"output": x - live.layer.state["moving_mean"].reshape(shape)}
    return output if upstream is None else {**output, "grad_input": upstream.copy()}


def freeze(live: Any) -> None:
    live.layer.frozen = True


def unfreeze(live: Any) -> None:
    live.layer.frozen = False


def put(array: Any, device: str) -> Any:
    return array


def wait(live: Any, results: Any) -> None:
    """NumPy computes at once."""


def timed_train_forward(live: Any, x: Any, upstream: Any) -> Quantities:
    layer = live.layer
    mean = x.mean(layer.axes, keepdims=True)
    variance = np.square(x - mean).mean(layer.axes, keepdims=True)
    normalized, _ = layer.normalize(x, mean, variance)
    layer.update("moving_mean", mean)
    layer.update("moving_variance", variance)
    return {"output": layer.spread("gamma", x) * normalized + layer.spread("beta", x)}


def timed_infer_into(live: Any, x: Any, upstream: Any) -> Quantities:
    """The same formula, each operation into one buffer."""
    layer = live.layer
    if not hasattr(live, "buffer"):
        live.buffer = np.empty_like(x)
    inverse = 1 / np.sqrt(layer.spread("moving_variance", x) + x.dtype.type(layer.epsilon))
    np.subtract(x, layer.spread("moving_mean", x), out=live.buffer)
    np.multiply(live.buffer, inverse, out=live.buffer)
    np.multiply(live.buffer, layer.spread("gamma", x), out=live.buffer)
    np.add(live.buffer, layer.spread("beta", x), out=live.buffer)
    return {"output": live.buffer}


TIMED: dict[str, Callable[..., Any]] = {"put": put, "get": np.array, "wait": wait}
DTYPES = ("float32", "float64")

ADAPTER = Adapter(
    library="numpy",
    versions={"numpy": np.__version__},
    implementations=(
        Implementation(
            name="numpy.BatchNorm",
            op="batch_norm",
            profile=(),
            modes=("eager",),
            dtypes=DTYPES,
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer, "reload": reload, "sgd": sgd},
            timed={
                **TIMED,
                "infer": infer,
                "infer_into": timed_infer_into,
                "train_forward": timed_train_forward,
                "train": train,
            },
        ),
        Implementation(
            name="numpy.Centering",
            op="centering",
            profile=(),
            modes=("eager",),
            dtypes=DTYPES,
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={
                "train": train_centering,
                "infer": infer_centering,
                "reload": reload,
                "freeze": freeze,
                "unfreeze": unfreeze,
            },
            timed={**TIMED, "infer": infer_centering, "train": train_centering},
        ),
    ),
)

"""NumPy in float32, written out by hand: the worked example of an adapter, and a healthy two-pass yardstick."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "numpy"


class BatchNorm:
    """Two-pass batch normalization in the dtype of its input; gradients by the closed form."""

    def __init__(self, *, features: tuple[int, ...], axes: tuple[int, ...], decay: float, epsilon: float) -> None:
        self.features, self.axes, self.decay, self.epsilon = features, axes, decay, epsilon
        self.state: Quantities = {}
        self.gradients: Quantities = {}


class Centering:
    """Subtracts the batch mean in training and the moving mean in inference; frozen, it infers."""

    def __init__(self, *, features: tuple[int, ...], axes: tuple[int, ...], decay: float) -> None:
        self.features, self.axes, self.decay, self.frozen = features, axes, decay, False
        self.state: Quantities = {}


def supports(configuration: Configuration) -> str | None:
    """Everything the spec can say, where parameters and input share a dtype."""
    if configuration.parameter_dtype != configuration.dtype:
        return "written for one dtype of input and parameters"
    return None


def call_centering(configuration: Configuration) -> Call:
    axes = configuration.reduction_axes
    keywords = {"features": configuration.features, "axes": axes, "decay": configuration.decay}
    return Call(path="Centering", keywords=keywords)


def call(configuration: Configuration) -> Call:
    keywords = call_centering(configuration).keywords
    return Call(path="BatchNorm", keywords={**keywords, "epsilon": configuration.epsilon})


def supports_moments(configuration: Configuration) -> str | None:
    if configuration.dtype != "float64":
        return "numpy.mean: float64 intermediate and return values are used for integer inputs"
    return None


def call_moments(configuration: Configuration) -> Call:
    return Call(path="numpy.mean", keywords={"axis": configuration.reduction_axes}, function=True)


def start_moments(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return function, functools.partial(np.var, **function.keywords)


def no_state(live: Any) -> Quantities:
    return {}


def take_moments(live: Any, x: Any, upstream: Any) -> Quantities:
    mean, variance = live
    return {"batch_mean": mean(x), "batch_variance": variance(x)}


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    layer.state = dict(state)
    return layer


def state(layer: Any) -> Quantities:
    return dict(layer.state)


def spread(layer: Any, name: str, x: Any) -> Any:
    """A statistic shaped to broadcast against x; gamma and beta default to one and zero."""
    default = np.full(layer.features, name == "gamma", x.dtype)
    shape = [1 if axis in layer.axes else size for axis, size in enumerate(x.shape)]
    return layer.state.get(name, default).reshape(shape)


def update(layer: Any, name: str, batch: Any) -> None:
    old = layer.state[name]
    decay = old.dtype.type(layer.decay)
    layer.state[name] = decay * old + (1 - decay) * batch.reshape(layer.features)


def fitting(layer: Any, x: Any) -> Any:
    """The input, whose features are those of the layer, in floating-point numbers."""
    features = tuple(size for axis, size in enumerate(x.shape) if axis not in layer.axes)
    if features != layer.features or x.ndim != len(features) + len(layer.axes):
        raise ValueError(f"built for features of {layer.features}, got an input of shape {x.shape}")
    return x.astype(layer.state["moving_mean"].dtype) if x.dtype.kind in "bui" else x


def moments(layer: Any, x: Any) -> Any:
    """The batch's mean and variance, which move the moving ones."""
    mean = x.mean(layer.axes, keepdims=True)
    variance = np.square(x - mean).mean(layer.axes, keepdims=True)
    update(layer, "moving_mean", mean)
    update(layer, "moving_variance", variance)
    return mean, variance


def normalize(layer: Any, x: Any, mean: Any, variance: Any) -> Any:
    inverse = 1 / np.sqrt(variance + x.dtype.type(layer.epsilon))
    return (x - mean) * inverse, inverse


def learned(layer: Any, grad_gamma: Any, grad_beta: Any) -> Quantities:
    """The gradients of the parameters that this layer has."""
    gradients = {"gamma": grad_gamma.reshape(layer.features), "beta": grad_beta.reshape(layer.features)}
    return {f"grad_{name}": gradient for name, gradient in gradients.items() if name in layer.state}


def kept(layer: Any, gradients: Quantities) -> Quantities:
    """Those of training, which `sgd` goes on with whatever is inferred before it."""
    layer.gradients = {name.removeprefix("grad_"): gradient for name, gradient in gradients.items()}
    return gradients


def train(layer: Any, x: Any, upstream: Any) -> Quantities:
    x = fitting(layer, x)
    if x.size == 0:
        zero = np.zeros(layer.features, x.dtype)
        return {"output": x.copy(), "grad_input": x.copy(), **kept(layer, learned(layer, zero, zero))}
    count = x.size // math.prod(layer.features)
    normalized, inverse = normalize(layer, x, *moments(layer, x))
    gamma, beta = spread(layer, "gamma", x), spread(layer, "beta", x)
    output = {"output": gamma * normalized + beta}
    if upstream is None:
        return output
    grad_gamma = (upstream * normalized).sum(layer.axes, keepdims=True)
    grad_beta = upstream.sum(layer.axes, keepdims=True)
    grad_input = gamma * inverse * (upstream - grad_beta / count - normalized * (grad_gamma / count))
    return {**output, "grad_input": grad_input, **kept(layer, learned(layer, grad_gamma, grad_beta))}


def infer(layer: Any, x: Any, upstream: Any) -> Quantities:
    x = fitting(layer, x)
    normalized, inverse = normalize(layer, x, spread(layer, "moving_mean", x), spread(layer, "moving_variance", x))
    gamma, beta = spread(layer, "gamma", x), spread(layer, "beta", x)
    output = {"output": gamma * normalized + beta}
    if upstream is None:
        return output
    gradients = learned(layer, (upstream * normalized).sum(layer.axes), upstream.sum(layer.axes))
    return {**output, "grad_input": gamma * inverse * upstream, **gradients}


def reload(layer: Any) -> Any:
    buffer = io.BytesIO()
    np.savez(buffer, **layer.state)
    buffer.seek(0)
    layer.state = dict(np.load(buffer))
    return layer


def sgd(layer: Any, learning_rate: float) -> None:
    for name, gradient in layer.gradients.items():
        layer.state[name] = layer.state[name] - gradient.dtype.type(learning_rate) * gradient


def train_centering(layer: Any, x: Any, upstream: Any) -> Quantities:
    if layer.frozen:
        return infer_centering(layer, x, upstream)
    x = fitting(layer, x)
    if x.size == 0:
        return {"output": x.copy(), "grad_input": x.copy()}
    mean = x.mean(layer.axes, keepdims=True)
    update(layer, "moving_mean", mean)
    output = {"output": x - mean}
    if upstream is None:
        return output
    return {**output, "grad_input": upstream - upstream.mean(layer.axes, keepdims=True)}


def infer_centering(layer: Any, x: Any, upstream: Any) -> Quantities:
    x = fitting(layer, x)
    output = {"output": x - spread(layer, "moving_mean", x)}
    return output if upstream is None else {**output, "grad_input": upstream.copy()}


def freeze(layer: Any) -> None:
    layer.frozen = True


def unfreeze(layer: Any) -> None:
    layer.frozen = False


def timed_train_forward(layer: Any, x: Any, upstream: Any) -> Quantities:
    normalized, _ = normalize(layer, x, *moments(layer, x))
    return {"output": spread(layer, "gamma", x) * normalized + spread(layer, "beta", x)}


def timed_infer_into(layer: Any, x: Any, upstream: Any) -> Quantities:
    """The same formula, each operation into one buffer."""
    if not hasattr(layer, "buffer"):
        layer.buffer = np.empty_like(x)
    inverse = 1 / np.sqrt(spread(layer, "moving_variance", x) + x.dtype.type(layer.epsilon))
    np.subtract(x, spread(layer, "moving_mean", x), out=layer.buffer)
    np.multiply(layer.buffer, inverse, out=layer.buffer)
    np.multiply(layer.buffer, spread(layer, "gamma", x), out=layer.buffer)
    np.add(layer.buffer, spread(layer, "beta", x), out=layer.buffer)
    return {"output": layer.buffer}


#: Arrays are NumPy's, computed at once.
TIMED: dict[str, Callable[..., Any]] = {"put": lambda array, device: array, "get": np.array, "wait": lambda *_: None}
BATCH_NORM = Implementation(
    name="numpy.BatchNorm",
    op="batch_norm",
    profile=(),
    modes=("eager",),
    dtypes=("float32", "float64"),
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
)
CENTERING = replace(
    BATCH_NORM,
    name="numpy.Centering",
    op="centering",
    call=call_centering,
    steps={
        "train": train_centering,
        "infer": infer_centering,
        "reload": reload,
        "freeze": freeze,
        "unfreeze": unfreeze,
    },
    timed={**TIMED, "infer": infer_centering, "train": train_centering},
)
MOMENTS = replace(
    BATCH_NORM,
    name="numpy.mean",
    op="moments",
    dtypes=("float64",),
    supports=supports_moments,
    call=call_moments,
    start=start_moments,
    state=no_state,
    steps={"infer": take_moments},
    timed={},
    documentation="https://numpy.org/doc/stable/reference/generated/numpy.mean.html",
)

ADAPTER = Adapter(library="numpy", versions={"numpy": np.__version__}, implementations=(BATCH_NORM, CENTERING, MOMENTS))

"""NumPy: layer, RMS, group and instance normalization written out by hand in the dtype of their input: two-pass yardsticks."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "numpy"


class LayerNorm:
    """Normalizes over `axes` by mean and variance; gradients by the closed form."""

    centred = True

    def __init__(self, *, axes: tuple[int, ...], epsilon: float, unit_offset: bool = False) -> None:
        self.axes, self.epsilon, self.unit_offset = axes, epsilon, unit_offset
        self.state: Quantities = {}
        self.gradients: Quantities = {}


class RMSNorm(LayerNorm):
    """Divides by the root of the mean square over `axes`."""

    centred = False


class GroupNorm(LayerNorm):
    """Normalizes the channels of each sample, axis 1, in groups."""

    def __init__(self, *, groups: int, epsilon: float) -> None:
        super().__init__(axes=(1,), epsilon=epsilon)
        self.groups = groups


def supports(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "written for one dtype of input and parameters"
    if configuration.options.get("epsilon") == "outside":
        return "written with epsilon inside the root"
    return None


def call(configuration: Configuration) -> Call:
    keywords = {"axes": configuration.feature_axes, "epsilon": configuration.epsilon}
    return Call(path="LayerNorm", keywords=keywords)


def call_rms(configuration: Configuration) -> Call:
    keywords = {**call(configuration).keywords, "unit_offset": configuration.options.get("unit_offset", False)}
    return Call(path="RMSNorm", keywords=keywords)


def supports_group(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "written for channels at axis 1"
    if configuration.options.get("tracked"):
        return "written without moving values"
    return supports(configuration)


def call_group(configuration: Configuration) -> Call:
    groups = configuration.options.get("groups", configuration.feature_count)
    return Call(path="GroupNorm", keywords={"groups": groups, "epsilon": configuration.epsilon})


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    layer.state = dict(state)
    return layer


def state(layer: Any) -> Quantities:
    return dict(layer.state)


def spread(layer: Any, name: str, x: Any) -> Any:
    """Gamma or beta, shaped to broadcast against x; one and zero where there is none."""
    shape = [size if axis in layer.axes else 1 for axis, size in enumerate(x.shape)]
    if name not in layer.state:
        return np.full(shape, name == "gamma", x.dtype)
    offset = 1 if name == "gamma" and layer.unit_offset else 0
    return layer.state[name].reshape(shape) + x.dtype.type(offset)


def floating(layer: Any, x: Any) -> Any:
    """The input, integers and truth values in the dtype of gamma or beta."""
    dtypes = [value.dtype for value in layer.state.values()]
    return x.astype(np.result_type(np.float32, *dtypes)) if x.dtype.kind in "bui" else x


def step(layer: Any, x: Any, upstream: Any) -> Quantities:
    x = floating(layer, x)
    deviation = x - x.mean(layer.axes, keepdims=True) if layer.centred else x
    square = np.square(deviation).mean(layer.axes, keepdims=True)
    inverse = 1 / np.sqrt(square + x.dtype.type(layer.epsilon))
    normalized = deviation * inverse
    gamma = spread(layer, "gamma", x)
    output = {"output": gamma * normalized + spread(layer, "beta", x)}
    if upstream is None:
        return output
    rows = tuple(axis for axis in range(x.ndim) if axis not in layer.axes)
    gradients = {"gamma": (upstream * normalized).sum(rows), "beta": upstream.sum(rows)}
    layer.gradients = {name: gradient for name, gradient in gradients.items() if name in layer.state}
    pull = gamma * upstream
    level = pull.mean(layer.axes, keepdims=True) if layer.centred else 0
    slope = (pull * normalized).mean(layer.axes, keepdims=True)
    learned = {f"grad_{name}": gradient for name, gradient in layer.gradients.items()}
    return {**output, "grad_input": inverse * (pull - level - normalized * slope), **learned}


def step_group(layer: Any, x: Any, upstream: Any) -> Quantities:
    """By layer normalization of samples that have an axis of groups and one of what is in them."""
    if x.ndim < 2:
        raise ValueError(f"expected samples and channels, got an array of shape {x.shape}")
    x = floating(layer, x)
    samples = x.shape[0]
    shape = (samples, layer.groups, max(1, x.size // max(1, samples * layer.groups)))
    gamma, beta = (np.broadcast_to(spread(layer, name, x), x.shape).reshape(shape) for name in ("gamma", "beta"))
    values = x.reshape(shape)
    deviation = values - values.mean(2, keepdims=True)
    inverse = 1 / np.sqrt(np.square(deviation).mean(2, keepdims=True) + x.dtype.type(layer.epsilon))
    normalized = deviation * inverse
    output = {"output": (gamma * normalized + beta).reshape(x.shape)}
    if upstream is None:
        return output
    pull = gamma * upstream.reshape(shape)
    through = pull.mean(2, keepdims=True) + normalized * (pull * normalized).mean(2, keepdims=True)
    rest = (0, *range(2, x.ndim))
    gradients = {"gamma": (upstream * normalized.reshape(x.shape)).sum(rest), "beta": upstream.sum(rest)}
    layer.gradients = {name: gradient for name, gradient in gradients.items() if name in layer.state}
    learned = {f"grad_{name}": gradient for name, gradient in layer.gradients.items()}
    return {**output, "grad_input": (inverse * (pull - through)).reshape(x.shape), **learned}


def infer(layer: Any, x: Any, upstream: Any) -> Quantities:
    """A gradient step takes the gradients of training."""
    learned = layer.gradients
    quantities = step(layer, x, upstream)
    layer.gradients = learned
    return quantities


def infer_group(layer: Any, x: Any, upstream: Any) -> Quantities:
    learned = layer.gradients
    quantities = step_group(layer, x, upstream)
    layer.gradients = learned
    return quantities


def reload(layer: Any) -> Any:
    buffer = io.BytesIO()
    np.savez(buffer, **layer.state)
    buffer.seek(0)
    layer.state = dict(np.load(buffer))
    return layer


def sgd(layer: Any, learning_rate: float) -> None:
    for name, gradient in layer.gradients.items():
        layer.state[name] = layer.state[name] - gradient.dtype.type(learning_rate) * gradient


LAYER_NORM = Implementation(
    name="numpy.LayerNorm",
    op="layer_norm",
    profile=(),
    modes=("eager",),
    dtypes=("float32", "float64"),
    supports=supports,
    call=call,
    start=start,
    state=state,
    steps={"train": step, "infer": infer, "reload": reload, "sgd": sgd},
)

GROUP_NORM = replace(
    LAYER_NORM,
    name="numpy.GroupNorm",
    op="group_norm",
    supports=supports_group,
    call=call_group,
    steps={**LAYER_NORM.steps, "train": step_group, "infer": infer_group},
)

ADAPTER = Adapter(
    library="numpy",
    versions={"numpy": np.__version__},
    implementations=(
        LAYER_NORM,
        replace(LAYER_NORM, name="numpy.RMSNorm", op="rms_norm", call=call_rms),
        GROUP_NORM,
        replace(GROUP_NORM, name="numpy.InstanceNorm", op="instance_norm"),
    ),
)

"""A correct batch normalization whose every part a fault may replace."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from conformance.protocol import Configuration, Quantities

BFLOAT16 = ml_dtypes.bfloat16
HALF = ("float16", "bfloat16")


@dataclass(frozen=True)
class Fault:
    """One fault: what is wrong, what a diagnosis should say of it, when it acts and which part it replaces."""

    name: str
    sentence: str
    #: Text that the diagnosis of a failed cell must contain; None where no hypothesis can be expected.
    diagnosis: str | None
    parts: dict[str, Callable[..., Any]] = field(default_factory=dict)
    when: Callable[[Any], bool] | None = None
    #: Of one that acts in few cases, some of those that show it, of different families if several do.
    cases: tuple[str, ...] = ()


class BatchNorm:
    """What a user would construct; `start` puts the rest into it."""

    def __init__(self, *, decay: float, epsilon: float) -> None:
        self.decay, self.epsilon = decay, epsilon


class Layer:
    """One live layer. `l.part(...)` is the healthy part or the fault's; arrays are (m, C) in the work dtype."""

    def __init__(self, native: BatchNorm, configuration: Configuration, state: Quantities, fault: Fault) -> None:
        self.native, self.configuration, self.fault = native, configuration, fault
        self.state: dict[str, Any] = dict(state)
        self.initial = dict(state)
        self.t: Any = np.float64 if configuration.dtype == "float64" else np.float32
        self.gradients: dict[str, Any] = {}
        self.frozen = False
        self.kind, self.trained, self.inferred = "", 0, 0
        #: What a fault remembers.
        self.kept: dict[str, Any] = {}
        #: The arrays of the step, as they came.
        self.x: Any = None
        self.upstream: Any = None
        #: Inside the backward pass.
        self.backward = False

    def __getattr__(self, name: str) -> Any:
        fault: Fault = self.__dict__["fault"]
        acts = name in fault.parts and (fault.when is None or fault.when(self))
        part = fault.parts[name] if acts else HEALTHY[name]
        return lambda *arguments: part(self, *arguments)

    def value(self, name: str) -> Any:
        """Return gamma, beta or a moving value in the work dtype; gamma and beta default to one and zero."""
        if name in self.state:
            return self.state[name].reshape(-1).astype(self.t)
        return np.full(self.configuration.feature_count, name == "gamma", self.t)

    def keep(self, name: str, value: Any) -> None:
        old = self.state[name]
        self.state[name] = value.astype(old.dtype).reshape(old.shape)


# The healthy parts.


def fitting(l: Layer, x: Any) -> Any:
    """The input, whose sizes along the feature axes are those of the state."""
    axes, built = l.configuration.feature_axes, l.configuration.features
    if x.ndim != l.configuration.rank or tuple(x.shape[axis] for axis in axes) != built:
        raise ValueError(f"built for {built}, given {x.shape}")
    return x


def handed(l: Layer) -> None:
    """Refuses gamma, beta or moving values that the call is given in another size than the input's features."""
    for name, value in l.state.items():
        if value.shape != l.configuration.features:
            raise ValueError(f"{name} has the shape {value.shape}, the features are {l.configuration.features}")


def converted(l: Layer, x: Any) -> Any:
    """The input in floating-point numbers."""
    return x if l.configuration.input_dtype is None else x.astype(l.configuration_dtype())


def rows(l: Layer, array: Any) -> Any:
    """The values of each feature in a column."""
    axes = l.configuration.feature_axes
    last = tuple(range(-len(axes), 0))
    return np.moveaxis(array, axes, last).reshape(-1, l.configuration.feature_count).astype(l.t)


def unrows(l: Layer, array: Any, like: Any) -> Any:
    axes = l.configuration.feature_axes
    last = tuple(range(-len(axes), 0))
    kept = [size for axis, size in enumerate(like.shape) if axis not in axes]
    return np.moveaxis(array.reshape(*kept, *l.configuration.features), last, axes)


def mean(l: Layer, x: Any) -> Any:
    return x.mean(0)


def variance(l: Layer, x: Any, center: Any) -> Any:
    return np.square(x - center).mean(0)


def epsilon(l: Layer) -> Any:
    return l.t(l.native.epsilon)


def inverse(l: Layer, spread: Any) -> Any:
    return 1 / np.sqrt(spread + l.epsilon())


def entering(l: Layer, center: Any, spread: Any, x: Any) -> Any:
    """The batch statistics that enter the moving values."""
    return center, spread


def decay(l: Layer, name: str) -> Any:
    return l.t(l.native.decay)


def moved(l: Layer, name: str, old: Any, batch: Any) -> Any:
    a = l.decay(name)
    return a * old + (1 - a) * batch


def stored(l: Layer, name: str, value: Any) -> Any:
    return value


def update(l: Layer, center: Any, spread: Any, x: Any) -> None:
    batch = l.entering(center, spread, x)
    for name, each in zip(("moving_mean", "moving_variance"), batch, strict=True):
        l.keep(name, l.stored(name, l.moved(name, l.value(name), each)))


def normalizing(l: Layer, center: Any, spread: Any, before: Any) -> Any:
    """The statistics that normalize in training; `before` are the moving values before the update."""
    return center, spread


def inferring(l: Layer, x: Any) -> Any:
    """The statistics that normalize in inference."""
    return l.value("moving_mean"), l.value("moving_variance")


def gamma(l: Layer) -> Any:
    return l.value("gamma")


def beta(l: Layer) -> Any:
    return l.value("beta")


def normalized(l: Layer, x: Any, center: Any, root: Any) -> Any:
    return (x - center) * root


def output(l: Layer, n: Any) -> Any:
    return l.gamma() * n + l.beta()


def grad_beta(l: Layer, g: Any) -> Any:
    return g.sum(0)


def grad_gamma(l: Layer, g: Any, n: Any, x: Any, root: Any) -> Any:
    return (g * n).sum(0)


def grad_input(l: Layer, g: Any, n: Any, root: Any) -> Any:
    if l.kind == "infer":
        return l.gamma() * root * g
    m = g.dtype.type(len(g))
    return l.gamma() * root * (g - g.sum(0) / m - n * ((g * n).sum(0) / m))


def gradient_root(l: Layer, root: Any, spread: Any) -> Any:
    """The inverse root that the backward pass uses."""
    return root


def given(l: Layer, quantities: Any) -> Any:
    """The quantities as the step returns them, in the dtype of the input or of the parameters."""
    return quantities


def empty(l: Layer) -> Any:
    """A train step on no samples."""
    zero = np.zeros(l.configuration.features, l.configuration_dtype())
    l.gradients = {"grad_gamma": zero, "grad_beta": zero}
    return {"output": l.x.copy(), "grad_input": l.x.copy(), **owned(l, l.gradients)}


def configuration_dtype(l: Layer) -> Any:
    return l.state["moving_mean"].dtype


def descended(l: Layer, name: str, old: Any, gradient: Any, rate: float) -> Any:
    return old - old.dtype.type(rate) * gradient


def loaded(l: Layer, state: Any) -> Any:
    return {name: value.copy() for name, value in state.items()}


def frozen(l: Layer, frozen: bool) -> None:
    l.frozen = frozen


def trains(l: Layer) -> bool:
    """Whether a train step trains."""
    return True


HEALTHY: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        fitting,
        handed,
        converted,
        rows,
        unrows,
        mean,
        variance,
        epsilon,
        inverse,
        entering,
        decay,
        moved,
        stored,
        update,
        normalizing,
        inferring,
        gamma,
        beta,
        normalized,
        output,
        grad_beta,
        grad_gamma,
        grad_input,
        gradient_root,
        given,
        empty,
        configuration_dtype,
        descended,
        loaded,
        trains,
    )
}
HEALTHY["froze"] = frozen


# The steps.


def owned(l: Layer, gradients: Quantities) -> Quantities:
    return {name: value for name, value in gradients.items() if name.removeprefix("grad_") in l.state}


def train(l: Layer, x: Any, upstream: Any) -> Any:
    if not l.trains():
        return infer(l, x, upstream)
    x = l.converted(l.fitting(x))
    l.handed()
    l.kind, l.x, l.upstream = "train", x, upstream
    if x.size == 0:
        return l.given(l.empty())
    with np.errstate(all="ignore"):
        flat = l.rows(x)
        center = l.mean(flat)
        spread = l.variance(flat, center)
        before = l.value("moving_mean"), l.value("moving_variance")
        l.kept["before"] = before
        l.update(center, spread, flat)
        center, spread = l.normalizing(center, spread, before)
        found = transform(l, flat, center, spread)
    l.trained += 1
    return l.given(found)


def infer(l: Layer, x: Any, upstream: Any) -> Any:
    x = l.converted(l.fitting(x))
    l.handed()
    l.kind, l.x, l.upstream = "infer", x, upstream
    with np.errstate(all="ignore"):
        flat = l.rows(x)
        found = transform(l, flat, *l.inferring(flat))
    l.inferred += 1
    return l.given(found)


def transform(l: Layer, flat: Any, center: Any, spread: Any) -> Any:
    x, g = l.x, l.upstream
    root = l.inverse(spread)
    n = l.normalized(flat, center, root)
    found = {"output": l.unrows(l.output(n), x).astype(x.dtype)}
    if g is None:
        return found
    l.backward = True
    g = l.rows(g)
    root_back = l.gradient_root(root, spread)
    n = n if root_back is root else (flat - center) * root_back
    shape, dtype = l.configuration.features, l.configuration_dtype()
    gradients = {"grad_gamma": l.grad_gamma(g, n, flat, root_back), "grad_beta": l.grad_beta(g)}
    found["grad_input"] = l.unrows(l.grad_input(g, n, root_back), x).astype(x.dtype)
    l.backward = False
    gradients = {
        name: value.astype(dtype).reshape(shape) if value.size == math.prod(shape) else value.astype(dtype)
        for name, value in gradients.items()
    }
    if l.kind == "train":
        # A frozen step leaves none that a gradient step could take once the layer is free again.
        l.gradients = {} if l.frozen else gradients
    return {**found, **owned(l, gradients)}


def reload(l: Layer) -> Layer:
    l.state = l.loaded(l.state)
    return l


def freeze(l: Layer) -> None:
    l.froze(True)


def unfreeze(l: Layer) -> None:
    l.froze(False)


def sgd(l: Layer, learning_rate: float) -> None:
    for name in ("gamma", "beta"):
        if name in l.state and f"grad_{name}" in l.gradients and not l.frozen:
            old = l.value(name)
            gradient = l.gradients[f"grad_{name}"].reshape(-1).astype(l.t)
            l.keep(name, l.descended(name, old, gradient, learning_rate))


def planted(
    name: str,
    sentence: str,
    diagnosis: str | None = None,
    *,
    when: Any = None,
    cases: tuple[str, ...] = (),
    **parts: Any,
) -> Fault:
    assert parts.keys() <= HEALTHY.keys(), name
    return Fault(name, sentence, diagnosis, parts, when, cases)

"""A correct batch normalization, and the same with one fault each: what the suite must see.

`planted.nothing` computes in float32 (float64 for float64 input) and is healthy. Every other implementation
replaces one part of it, under a condition or always; the table at the end is the list of faults.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "planted", "group": None, "environment": {}}]

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
    #: Whether it acts in few cases: it is looked for in all of them, the others in a few of each family.
    rare: bool = False


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
        l.gradients = gradients
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
        if name in l.state and not l.frozen:
            old = l.value(name)
            gradient = l.gradients[f"grad_{name}"].reshape(-1).astype(l.t)
            l.keep(name, l.descended(name, old, gradient, learning_rate))


# What the faults are made of.


def rounded(value: Any, dtype: Any) -> Any:
    return value.astype(dtype).astype(value.dtype)


def running(x: Any, dtype: Any) -> Any:
    """The sum of each column, kept in a narrow dtype."""
    total = np.zeros(x.shape[1:], dtype)
    for value in x.astype(dtype):
        total = (total + value).astype(dtype)
    return total


def samples(l: Layer, x: Any) -> Any:
    """Rows by sample: (N, positions, C)."""
    return x.reshape(l.x.shape[0] if 0 not in l.configuration.feature_axes else 1, -1, x.shape[1])


def repeated(parts: Any, x: Any) -> Any:
    """Statistics of groups of rows, (groups, C), put beside the rows they are of."""
    return np.repeat(parts, len(x) // len(parts), axis=0)


def of_each(l: Layer, x: Any, center: Any, spread: Any) -> Any:
    """What enters the moving values where statistics are per group."""
    return center.mean(0), spread.mean(0)


def gradient_per_sample(l: Layer, g: Any, n: Any, root: Any) -> Any:
    if l.kind == "infer":
        return grad_input(l, g, n, root)
    through = repeated(samples(l, g).mean(1), g) + n * repeated(samples(l, g * n).mean(1), g)
    return l.gamma() * root * (g - through)


def without_last_sample(l: Layer, x: Any) -> Any:
    left = x[: -positions(l, x)]
    return left if len(left) else x


def layout_strides(array: Any) -> tuple[int, ...]:
    return np.empty(array.shape, array.dtype).strides


def misread(l: Layer, array: Any) -> Any:
    """The values as they follow one another in memory, whatever the strides."""
    return rows(l, np.lib.stride_tricks.as_strided(array, array.shape, layout_strides(array)))


def strided(l: Layer) -> bool:
    x = l.x
    return x is not None and x.ndim > 0 and x.strides[-1] == 2 * x.itemsize and x.shape[-1] > 1


def channels_last(l: Layer) -> bool:
    x = l.x
    return bool(
        x is not None
        and x.ndim > 2
        and 1 in l.configuration.feature_axes
        and x.strides[1] == x.itemsize < x.strides[-1]
    )


def features_first(l: Layer) -> bool:
    c = l.configuration
    return c.rank > 2 and c.feature_axes == (1,)


def halves(x: Any) -> Any:
    middle = max(1, len(x) // 2)
    return [part for part in (x[:middle], x[middle:]) if len(part)]


def merged_without_shift(l: Layer, x: Any, center: Any) -> Any:
    return sum(len(part) * np.square(part - part.mean(0)).mean(0) for part in halves(x)) / l.t(len(x))


def moving_step(l: Layer, a: Any, old: Any, batch: Any) -> Any:
    a = l.t(a)
    return a * old + (1 - a) * batch


def debiased(l: Layer, name: str, old: Any, batch: Any) -> Any:
    a, k = l.native.decay, l.trained + 1
    if a == 1:
        return old
    return (l.t(a * (1 - a ** (k - 1))) * old + l.t(1 - a) * batch) / l.t(1 - a**k)


def lagging(l: Layer, name: str, old: Any, batch: Any) -> Any:
    last = l.kept.get(name)
    l.kept[name] = batch
    return old if last is None else moved(l, name, old, last)


def inferring_and_moving(l: Layer, x: Any) -> Any:
    found = inferring(l, x)
    if len(x):
        update(l, mean(l, x), variance(l, x, mean(l, x)), x)
    return found


def lagging_inference(l: Layer, x: Any) -> Any:
    return l.kept.get("before") or inferring(l, x)


def normalizing_after(l: Layer, center: Any, spread: Any, before: Any) -> Any:
    return l.value("moving_mean"), l.value("moving_variance")


def gradient_after(l: Layer, g: Any, n: Any, root: Any) -> Any:
    """The derivative through the batch's share, 1 - decay, of the moving values."""
    if l.kind == "infer":
        return grad_input(l, g, n, root)
    x, share = rows(l, l.x), 1 - l.decay("moving_mean")
    own = (x - x.mean(0)) * root
    return l.gamma() * root * (g - share * (g.mean(0) + own * (g * n).mean(0)))


def batch_in_inference(l: Layer, x: Any) -> Any:
    return (mean(l, x), variance(l, x, mean(l, x))) if len(x) else inferring(l, x)


def training_gradient(l: Layer, g: Any, n: Any, root: Any) -> Any:
    if not len(g):
        return g
    return l.gamma() * root * (g - g.mean(0) - n * (g * n).mean(0))


def one_pass(l: Layer, x: Any, center: Any) -> Any:
    return np.maximum(np.square(x).mean(0) - np.square(center), 0)


def written(name: str) -> Callable[..., Any]:
    """Write to the caller's array what the step has computed."""

    def write(l: Layer, quantities: Any) -> Any:
        target, source = {"input": (l.x, "output"), "upstream": (l.upstream, "grad_input")}[name]
        if l.kind == "train" and target is not None:
            target[...] = quantities[source]
        return quantities

    return write


def accumulating(l: Layer, quantities: Any) -> Any:
    found = dict(quantities)
    for name in ("grad_gamma", "grad_beta"):
        if name in found:
            l.kept[name] = found[name] = (found[name] + l.kept.get(name, 0)).astype(found[name].dtype)
    return found


def previous_gamma_gradient(l: Layer, g: Any, n: Any, x: Any, root: Any) -> Any:
    found = grad_gamma(l, g, n, x, root)
    last, l.kept["dgamma"] = l.kept.get("dgamma", found), found
    return last


def wobbling(l: Layer, n: Any) -> Any:
    found = output(l, n)
    return np.nextafter(found, l.t(np.inf)) if l.kind == "infer" and l.inferred % 2 else found


def spreading(l: Layer, x: Any) -> Any:
    found = mean(l, x)
    return found if np.isfinite(found).all() else np.full_like(found, np.nan)


def skipping_non_finite(l: Layer, center: Any, spread: Any, x: Any) -> None:
    if np.isfinite(spread).all():
        update(l, center, spread, x)


def empty_with_nan(l: Layer) -> Any:
    for name in ("moving_mean", "moving_variance"):
        l.keep(name, l.value(name) * l.t(np.nan))
    return empty(l)


def empty_decaying(l: Layer) -> Any:
    for name in ("moving_mean", "moving_variance"):
        l.keep(name, l.value(name) * decay(l, name))
    return empty(l)


def output_in_half(l: Layer, n: Any) -> Any:
    dtype = l.x.dtype
    return (gamma(l).astype(dtype) * n.astype(dtype) + beta(l).astype(dtype)).astype(l.t)


def neighbour(value: Any) -> Any:
    return np.roll(value, 1)


def tail_of_features(value: Any, replaced: Any) -> Any:
    """The features behind the last whole group of eight, replaced."""
    found = value.copy()
    whole = len(found) // 8 * 8
    found[whole:] = np.broadcast_to(replaced, found.shape)[whole:]
    return found


def square_axes(l: Layer) -> bool:
    shape, axes = l.configuration.shape, l.configuration.feature_axes
    return len(axes) == 1 and any(shape[axis] == shape[axes[0]] for axis in range(len(shape)) if axis != axes[0])


def rows_of_equal_axis(l: Layer, array: Any) -> Any:
    """The features taken from the other axis of the same size."""
    (axis,) = l.configuration.feature_axes
    other = next(
        each
        for each in range(array.ndim)
        if each != axis and l.configuration.shape[each] == l.configuration.shape[axis]
    )
    return rows(l, np.swapaxes(array, axis, other)) if array.shape[axis] == array.shape[other] else rows(l, array)


def unrows_of_equal_axis(l: Layer, array: Any, like: Any) -> Any:
    (axis,) = l.configuration.feature_axes
    other = next(
        each for each in range(like.ndim) if each != axis and l.configuration.shape[each] == l.configuration.shape[axis]
    )
    found = unrows(l, array, like)
    return np.swapaxes(found, axis, other) if like.shape[axis] == like.shape[other] else found


def descending(l: Layer, name: str, value: Any) -> Any:
    """Statistics of several feature axes laid down in descending order of the axes."""
    features = l.configuration.features
    return value.reshape(features).transpose().reshape(-1) if len(features) > 1 else value


def positions(l: Layer, x: Any) -> int:
    n = l.x.shape[0] if 0 not in l.configuration.feature_axes else 1
    return len(x) // max(1, n)


def bessel(count: float) -> float:
    return count / (count - 1) if count > 1 else 1.0


def times(factor: Callable[[Layer, Any], float]) -> Callable[..., Any]:
    """Let the batch variance enter the moving variance times a factor."""
    return lambda l, center, spread, x: (center, spread * l.t(factor(l, x)))


def moving_alone(name: str) -> Callable[..., Any]:
    """Move only one of the two moving values."""
    return lambda l, each, old, batch: moved(l, each, old, batch) if each == name else old


def after(step: int) -> Callable[[Layer], bool]:
    return lambda l: l.trained >= step


def training(l: Layer) -> bool:
    return l.kind == "train"


def inference(l: Layer) -> bool:
    return l.kind == "infer"


def corrected(l: Layer, center: Any, spread: Any, before: Any) -> Any:
    return center, spread * l.t(bessel(len(rows(l, l.x))))


def corrected_gradient(l: Layer, g: Any, n: Any, root: Any) -> Any:
    """The derivative where the variance over m - 1 normalizes, which has a factor m/(m - 1) in its last term."""
    if l.kind == "infer":
        return grad_input(l, g, n, root)
    return l.gamma() * root * (g - g.mean(0) - n * ((g * n).mean(0) * l.t(bessel(len(g)))))


def corrected_root(l: Layer, root: Any, spread: Any) -> Any:
    return inverse(l, spread * l.t(bessel(len(rows(l, l.x)))))


def infinity_replaced(x: Any) -> Any:
    """The values with a large number, whose square float32 holds, in place of an infinity, and no other changed."""
    return np.where(np.isinf(x), np.copysign(x.dtype.type(2.0**47), x), x)


def whole(step: int) -> Callable[..., Any]:
    """The mean of the rows of the whole groups of `step` alone."""
    return lambda l, x: mean(l, x[: len(x) // step * step or len(x)])


def bits(value: Any, count: int) -> Any:
    """The value with `count` bits of its significand."""
    significand, exponent = np.frexp(value)
    return np.ldexp(np.round(significand * 2.0**count) / 2.0**count, exponent).astype(value.dtype)


PLANTED: list[Fault] = []


def plant(
    name: str, sentence: str, diagnosis: str | None = None, *, when: Any = None, rare: bool = False, **parts: Any
) -> None:
    assert parts.keys() <= HEALTHY.keys(), name
    PLANTED.append(Fault(name, sentence, diagnosis, parts, when, rare))


# fmt: off
# Epsilon.
plant("epsilon_outside_root", "Epsilon is added to the standard deviation.", "epsilon outside the root", inverse=lambda l, v: 1 / (np.sqrt(v) + l.epsilon()))
plant("epsilon_floor", "The variance is raised to epsilon where it is less, and nothing is added.", "variance clamped to epsilon", inverse=lambda l, v: 1 / np.sqrt(np.maximum(v, l.epsilon())))
plant("epsilon_raised", "An epsilon below 1.001e-5 is raised to it.", "epsilon clamped to 1.001e-5", rare=True, epsilon=lambda l: l.t(max(l.native.epsilon, 1.001e-5)))
plant("epsilon_twice", "Epsilon is added twice.", "epsilon twice", epsilon=lambda l: l.t(2 * l.native.epsilon))
plant("epsilon_dropped", "Epsilon is not added.", "epsilon dropped", epsilon=lambda l: l.t(0))
plant("epsilon_squared", "The square of epsilon is added.", "epsilon squared", epsilon=lambda l: l.t(l.native.epsilon**2))
plant("epsilon_default", "Epsilon is always 1e-5.", "epsilon 1e-5", epsilon=lambda l: l.t(1e-5))
plant("epsilon_in_half", "Epsilon is rounded to bfloat16.", "epsilon rounded to bfloat16", epsilon=lambda l: l.t(BFLOAT16(l.native.epsilon)))
plant("epsilon_dropped_in_inference", "Epsilon is not added in inference.", "epsilon dropped", when=inference, epsilon=lambda l: l.t(0))
plant("epsilon_dropped_in_gradients", "The backward pass leaves epsilon out of the root.", "epsilon dropped", gradient_root=lambda l, r, v: 1 / np.sqrt(v))
# Correction.
plant("normalizing_correction", "The variance over m - 1 normalizes.", "normalizing correction 1", normalizing=corrected, grad_input=corrected_gradient)
plant("moving_correction", "The variance over m - 1 enters the moving variance.", "moving correction 1", entering=times(lambda l, x: bessel(len(x))))
plant("moving_correction_by_samples", "Bessel's factor of the moving variance counts samples, not samples times positions.", "wrong count", when=lambda l: l.configuration.rank > 2, entering=times(lambda l, x: bessel(l.x.shape[0])))
plant("moving_correction_by_features", "Bessel's factor of the moving variance counts the features.", "wrong count", entering=times(lambda l, x: bessel(x.shape[1])))
plant("variance_over_m_plus_1", "The sum of squares is divided by m + 1.", "wrong count", variance=lambda l, x, c: np.square(x - c).sum(0) / l.t(len(x) + 1))
plant("gradient_correction", "The backward pass alone takes the variance over m - 1.", "gradients with the root of the variance with correction 1", when=training, gradient_root=corrected_root)
# The update of the moving values.
plant("decay_inverted", "The decay weighs the batch.", "decay inverted", decay=lambda l, n: l.t(1 - l.native.decay))
plant("decay_in_half", "The decay is rounded to bfloat16.", "decay rounded to bfloat16", decay=lambda l, n: l.t(BFLOAT16(l.native.decay)))
plant("decay_dropped", "The batch statistics replace the moving values.", "moving values replaced by the batch's", moved=lambda l, n, old, batch: batch)
plant("decay_default_for_variance", "The moving variance has a decay of 0.99 of its own.", "decay 0.99 in place of the one given", decay=lambda l, n: l.t(0.99 if n == "moving_variance" else l.native.decay))
plant("decay_warming_up", "The decay is (1 + k)/(10 + k) in the first steps, where that is less.", "decay smaller in the first steps", decay=lambda l, n: l.t(min(l.native.decay, (1 + l.trained) / (10 + l.trained))))
plant("decay_one_is_cumulative", "A decay of 1 is taken for a cumulative average.", "cumulative average", rare=True, when=lambda l: l.native.decay == 1.0, decay=lambda l, n: l.t(l.trained / (l.trained + 1)))
plant("updated_twice", "The moving values are updated twice in a step.", "moving values updated twice", moved=lambda l, n, old, batch: moved(l, n, moved(l, n, old, batch), batch))
plant("old_not_decayed", "The batch's share is added to the whole old value.", "old moving values not decayed", moved=lambda l, n, old, batch: old + (1 - l.decay(n)) * batch)
plant("cumulative", "The moving values are the mean over all batches.", "cumulative average", moved=lambda l, n, old, batch: moving_step(l, l.trained / (l.trained + 1), old, batch))
plant("zero_debiased", "The moving values are divided by 1 - decay^k.", "zero-debiased average", moved=debiased)
plant("first_batch_replaces", "The first batch replaces the initial moving values.", "first batch replaces", moved=lambda l, n, old, batch: moved(l, n, old, batch) if l.trained else batch)
plant("variance_not_moved", "Only the moving mean is updated.", "moving values not updated", moved=moving_alone("moving_mean"))
plant("mean_not_moved", "Only the moving variance is updated.", "moving values not updated", moved=moving_alone("moving_variance"))
plant("never_moved", "The moving values are never updated.", "moving values not updated", moved=lambda l, n, old, batch: old)
plant("moved_every_second_step", "Every second train step leaves the moving values.", "moving values not updated", when=lambda l: l.trained % 2 == 1, moved=lambda l, n, old, batch: old)
plant("moved_in_inference", "Inference updates the moving values.", "updated in inference", inferring=inferring_and_moving)
plant("moved_a_step_late", "The moving values take the statistics of the batch before.", "stale", moved=lagging)
plant("moving_deviation", "The standard deviations are averaged, not the variances.", "standard deviations averaged", moved=lambda l, n, old, batch: (moved(l, n, old, batch) if n == "moving_mean" else moved(l, n, np.sqrt(old), np.sqrt(batch)) ** 2))
plant("moving_variance_about_moving_mean", "The moving variance takes the squares of deviations from the moving mean.", "variance about the moving mean", entering=lambda l, c, v, x: (c, np.square(x - l.value("moving_mean")).mean(0)))
plant("moving_values_in_bfloat16", "The moving values are rounded to bfloat16 after each update.", "moving values rounded to bfloat16", stored=lambda l, n, value: rounded(value, BFLOAT16))
plant("moving_values_in_float16", "The moving values are rounded to float16 after each update.", "moving values rounded to float16", stored=lambda l, n, value: rounded(value, np.float16))
plant("initial_values_forgotten", "The first update starts from 0 and 1, not from the initial values.", "initial moving values forgotten", moved=lambda l, n, old, batch: moved(l, n, old if l.trained else np.full_like(old, n == "moving_variance"), batch))
# What normalizes.
plant("inference_with_batch", "The batch normalizes in inference.", "batch statistics in inference", inferring=batch_in_inference)
plant("inference_a_step_late", "Inference takes the moving values from before the last update.", "stale", inferring=lagging_inference)
plant("training_with_moving_before", "The moving values before the step normalize in training.", "moving values before the step", normalizing=lambda l, c, v, before: before, grad_input=lambda l, g, n, r: l.gamma() * r * g)
plant("training_with_moving_after", "The moving values after the step normalize in training.", "moving values after the step", normalizing=normalizing_after, grad_input=gradient_after)
plant("statistics_per_sample", "Each sample is normalized with statistics of its own.", "statistics per sample", mean=lambda l, x: repeated(samples(l, x).mean(1), x), variance=lambda l, x, c: repeated(np.square(samples(l, x - c)).mean(1), x), entering=lambda l, c, v, x: of_each(l, x, c, v))
plant("instance_norm", "Each sample is normalized with statistics of its own, and differentiated so.", "statistics per sample", when=lambda l: positions(l, rows(l, l.x)) > 1, mean=lambda l, x: repeated(samples(l, x).mean(1), x), variance=lambda l, x, c: repeated(np.square(samples(l, x - c)).mean(1), x), entering=lambda l, c, v, x: of_each(l, x, c, v), grad_input=gradient_per_sample)
plant("layer_norm", "Each sample is normalized over its features as well.", "statistics over the wrong axes", mean=lambda l, x: repeated(samples(l, x).mean((1, 2), keepdims=True)[:, 0] + np.zeros_like(x[:1]), x), variance=lambda l, x, c: repeated(np.square(samples(l, x - c)).mean((1, 2), keepdims=True)[:, 0] + np.zeros_like(x[:1]), x), entering=lambda l, c, v, x: of_each(l, x, c, v))
plant("statistics_per_position", "Each position is normalized over the samples alone.", "statistics over the wrong axes", when=lambda l: l.configuration.rank > 2, mean=lambda l, x: np.tile(samples(l, x).mean(0), (len(samples(l, x)), 1)), variance=lambda l, x, c: np.tile(np.square(samples(l, x - c)).mean(0), (len(samples(l, x)), 1)), entering=lambda l, c, v, x: of_each(l, x, c, v))
plant("statistics_over_features", "Of two axes, training reduces the features instead of the samples.", "statistics over the wrong axes", when=lambda l: l.configuration.rank == 2, mean=lambda l, x: x.mean(1, keepdims=True) + 0 * x, variance=lambda l, x, c: np.square(x - c).mean(1, keepdims=True) + 0 * x, entering=lambda l, c, v, x: of_each(l, x, c, v))
plant("statistics_per_half", "Each half of the batch is normalized with statistics of its own.", "statistics of each half of the batch", mean=lambda l, x: np.concatenate([part.mean(0) + 0 * part for part in halves(x)]), variance=lambda l, x, c: np.concatenate([np.square(part).mean(0) + 0 * part for part in halves(x - c)]), entering=lambda l, c, v, x: of_each(l, x, c, v))
plant("features_taken_for_last", "Features-first values are read as if the features were last.", "statistics over the wrong axes", when=features_first, rows=lambda l, a: a.reshape(-1, l.configuration.feature_count).astype(l.t), unrows=lambda l, a, like: a.reshape(like.shape))
plant("features_of_equal_axis", "Where another axis is as long, its indices are taken for the features.", "statistics over the wrong axes", rare=True, when=square_axes, rows=rows_of_equal_axis, unrows=unrows_of_equal_axis)
plant("feature_axes_descending", "Statistics of several feature axes are kept in descending order.", "feature axes in descending order", rare=True, stored=descending)
# Gamma and beta.
plant("gamma_ignored", "Gamma counts as one.", "gamma ignored", gamma=lambda l: np.ones_like(gamma(l)))
plant("beta_ignored", "Beta counts as zero.", "beta ignored", beta=lambda l: np.zeros_like(beta(l)))
plant("gamma_and_beta_swapped", "Gamma is added and beta multiplies.", "gamma and beta swapped", gamma=beta, beta=gamma)
plant("beta_before_gamma", "Beta is added before gamma multiplies.", "beta added before gamma", beta=lambda l: gamma(l) * beta(l))
plant("gamma_of_neighbour", "Each feature has its neighbour's gamma.", "gamma of the neighbour", gamma=lambda l: neighbour(gamma(l)))
plant("beta_of_neighbour", "Each feature has its neighbour's beta.", "beta of the neighbour", beta=lambda l: neighbour(beta(l)))
plant("gamma_without_sign", "Gamma loses its sign.", "gamma without its sign", rare=True, gamma=lambda l: np.abs(gamma(l)))
plant("gamma_in_bfloat16", "Gamma and beta are rounded to bfloat16.", "gamma and beta rounded to bfloat16", rare=True, gamma=lambda l: rounded(gamma(l), BFLOAT16), beta=lambda l: rounded(beta(l), BFLOAT16))
plant("uncentred_without_beta", "Without beta the mean is not subtracted either.", "mean not subtracted", rare=True, when=lambda l: "beta" not in l.state, normalized=lambda l, x, c, r: x * r)
# Arithmetic.
plant("one_pass_variance", "The variance is the mean of squares minus the square of the mean.", "one-pass variance", rare=True, variance=one_pass)
plant("negative_variance", "The variance of values far from zero comes out a little too small.", rare=True, variance=lambda l, x, c: variance(l, x, c) - l.t(2.0**-20) * np.square(c))
plant("statistics_in_float16", "Batch statistics are rounded to float16.", "statistics in float16", mean=lambda l, x: rounded(mean(l, x), np.float16), variance=lambda l, x, c: rounded(variance(l, x, c), np.float16))
plant("statistics_in_bfloat16", "Batch statistics are rounded to bfloat16.", "statistics in bfloat16", mean=lambda l, x: rounded(mean(l, x), BFLOAT16), variance=lambda l, x, c: rounded(variance(l, x, c), BFLOAT16))
plant("accumulators_in_half", "Statistics of half-precision input are summed in its dtype.", "computed in", rare=True, when=lambda l: l.configuration.dtype in HALF, mean=lambda l, x: running(x, l.x.dtype).astype(l.t) / l.t(len(x)), variance=lambda l, x, c: running(np.square(x - c), l.x.dtype).astype(l.t) / l.t(len(x)))
plant("output_in_half", "Half-precision input is scaled and shifted in its dtype.", "computed in", rare=True, when=lambda l: l.configuration.dtype in HALF, output=output_in_half)
plant("float64_in_float32", "Statistics of float64 input are computed in float32.", "computed in float32", rare=True, when=lambda l: l.configuration.dtype == "float64", mean=lambda l, x: mean(l, x.astype(np.float32)).astype(l.t), variance=lambda l, x, c: variance(l, x.astype(np.float32), c.astype(np.float32)).astype(l.t))
plant("root_of_12_bits", "The inverse root is the hardware's first guess, of 12 bits.", inverse=lambda l, v: bits(inverse(l, v), 12))
plant("count_in_half", "The reciprocal of the count is rounded to float16.", "reciprocal of the count rounded to float16", mean=lambda l, x: x.sum(0) * l.t(np.float16(1 / len(x))))
plant("merge_without_shift", "The variances of two halves are merged without the difference of their means.", "merged without the difference of their means", variance=merged_without_shift)
# Values left out.
plant("last_row_dropped", "The last row is left out of the statistics.", "tail dropped", mean=lambda l, x: mean(l, x[:-1] if len(x) > 1 else x), variance=lambda l, x, c: variance(l, x[:-1] if len(x) > 1 else x, c))
plant("first_row_dropped", "The first row is left out of the mean.", "head dropped from the mean", mean=lambda l, x: mean(l, x[1:] if len(x) > 1 else x))
plant("last_sample_dropped", "The last sample is left out of the statistics.", "tail dropped", when=lambda l: positions(l, rows(l, l.x)) > 1, mean=lambda l, x: mean(l, without_last_sample(l, x)), variance=lambda l, x, c: variance(l, without_last_sample(l, x), c))
plant("rows_after_eights_dropped", "Rows behind the last whole eight are left out of the mean.", "tail dropped", mean=whole(8))
plant("rows_after_1024s_dropped", "Of more than 1024 values, those behind the last whole 1024 are left out of the mean.", "tail dropped", rare=True, mean=whole(1024))
plant("count_of_16_bits", "The count of more than 65535 values is taken modulo 65536.", "wrong count", rare=True, when=lambda l: l.x.size // l.configuration.feature_count > 65536, mean=lambda l, x: x.sum(0) / l.t(len(x) % 65536), variance=lambda l, x, c: np.square(x - c).sum(0) / l.t(len(x) % 65536))
plant("gradient_tail_dropped", "The last row is left out of the gradient of gamma.", "tail dropped", grad_gamma=lambda l, g, n, x, r: (g[:-1] * n[:-1]).sum(0) if len(g) > 1 else (g * n).sum(0))
# Features.
plant("odd_features_gamma", "The last feature has the gamma of the one before it, unless they are whole eights.", when=lambda l: l.configuration.feature_count % 8 != 0, gamma=lambda l: np.append(gamma(l)[:-1], gamma(l)[-2:][0]))
plant("odd_features_gradient", "Features behind the last whole eight have half their gamma gradient.", when=lambda l: l.configuration.feature_count % 8 != 0, grad_gamma=lambda l, *a: tail_of_features(grad_gamma(l, *a), grad_gamma(l, *a) / 2))
plant("whole_eights_corrected", "In whole eights of features the variance over m - 1 normalizes.", "normalizing correction 1", rare=True, when=lambda l: l.configuration.feature_count % 8 == 0, normalizing=corrected, grad_input=corrected_gradient)
plant("thirteenth_feature", "Features behind the twelfth have the beta of the first.", rare=True, when=lambda l: l.configuration.feature_count > 12, beta=lambda l: np.where(np.arange(len(beta(l))) < 12, beta(l), beta(l)[0]))
plant("odd_features_not_moved", "Features behind the last whole eight keep their moving values.", "tail of the features dropped", rare=True, when=lambda l: l.configuration.feature_count > 8 and l.configuration.feature_count % 8 != 0, moved=lambda l, n, old, batch: tail_of_features(moved(l, n, old, batch), old))
plant("odd_features_without_gradient", "Features behind the last whole eight have no gradient of gamma and beta.", "tail of the features dropped", rare=True, when=lambda l: l.configuration.feature_count > 8 and l.configuration.feature_count % 8 != 0, grad_gamma=lambda l, *a: tail_of_features(grad_gamma(l, *a), 0), grad_beta=lambda l, g: tail_of_features(grad_beta(l, g), 0))
# Memory.
plant("strided_misread", "Strided input is read as if it were contiguous.", "strided input misread", rare=True, when=strided, rows=misread)
plant("channels_last_misread", "Channels-last input is read as if it were contiguous.", "strided input misread", rare=True, when=channels_last, rows=misread)
plant("strided_upstream_misread", "A strided upstream gradient is read as if it were contiguous.", "strided upstream misread", rare=True, when=lambda l: strided(l) and l.backward, rows=misread)
plant("input_overwritten", "The output is written into the caller's input.", "wrote to its caller's input", given=written("input"))
plant("upstream_overwritten", "The input gradient is written into the caller's upstream gradient.", "wrote to its caller's upstream", given=written("upstream"))
# Gradients.
plant("gradient_without_mean", "The mean's share is missing from the input gradient.", "mean term missing", when=training, grad_input=lambda l, g, n, r: l.gamma() * r * (g - n * (g * n).mean(0)))
plant("gradient_without_variance", "The variance's share is missing from the input gradient.", "variance term missing", when=training, grad_input=lambda l, g, n, r: l.gamma() * r * (g - g.mean(0)))
plant("gradient_of_constants", "The input gradient takes the batch statistics for constants.", "statistics taken for constants", when=training, grad_input=lambda l, g, n, r: l.gamma() * r * g)
plant("gradient_without_gamma", "Gamma is missing from the input gradient.", "gamma missing from the input gradient", when=lambda l: training(l) and l.backward, gamma=lambda l: np.ones_like(gamma(l)))
plant("gamma_gradient_not_normalized", "The gradient of gamma takes x - mean, without the root.", "gamma gradient not normalized", grad_gamma=lambda l, g, n, x, r: (g * n / r).sum(0))
plant("gamma_gradient_of_input", "The gradient of gamma takes x.", "gamma gradient of x", grad_gamma=lambda l, g, n, x, r: (g * x).sum(0))
plant("beta_gradient_mean", "The gradient of beta is a mean.", "beta gradient averaged", grad_beta=lambda l, g: g.mean(0) if len(g) else g.sum(0))
plant("gamma_gradient_of_last_step", "The gradient of gamma is that of the step before.", "gradient of gamma of the step before", grad_gamma=previous_gamma_gradient)
plant("gradients_accumulate", "The gradients of gamma and beta add up over the steps.", "gradient of gamma and beta added up over the steps", given=accumulating)
plant("gamma_gradient_missing", "The gradient of gamma is zero.", "gradient of gamma missing", grad_gamma=lambda l, g, n, x, r: 0 * n.sum(0))
plant("gamma_gradient_shape", "The gradient of gamma is not summed over the batch.", "has shape", grad_gamma=lambda l, g, n, x, r: g * n)
plant("inference_gradient_of_training", "The input gradient in inference is that of training.", "training's input gradient in inference", when=inference, grad_input=training_gradient)
plant("gradients_of_moving_variance", "The backward pass of training takes the moving variance.", "gradients with the root of the moving variance after", when=training, gradient_root=lambda l, r, v: inverse(l, l.value("moving_variance")))
plant("upstream_in_bfloat16", "The upstream gradient is rounded to bfloat16.", "upstream rounded to bfloat16", when=lambda l: l.backward, rows=lambda l, a: rounded(rows(l, a), BFLOAT16))
# Edges.
plant("nan_swallowed", "NaN are left out of the mean and the variance.", "non-finite values left out of the statistics", rare=True, mean=lambda l, x: np.nanmean(x, 0), variance=lambda l, x, c: np.nanmean(np.square(x - c), 0))
plant("nan_spreads", "A NaN in one feature makes all means NaN.", "that must be finite", rare=True, mean=spreading)
plant("infinity_clipped", "Infinities count as a large number.", "finite that must be NaN or infinite", rare=True, rows=lambda l, a: infinity_replaced(rows(l, a)))
plant("non_finite_batch_skipped", "A batch with a non-finite value leaves the moving values.", "moving values not updated", rare=True, update=skipping_non_finite)
plant("empty_makes_nan", "An empty batch makes the moving values NaN.", "that must be finite", rare=True, empty=empty_with_nan)
plant("empty_decays", "An empty batch moves the moving values towards zero.", "an empty batch moves the moving values towards 0", rare=True, empty=empty_decaying)
plant("single_value_divides_by_zero", "One value per feature is divided by m - 1 = 0.", "that must be finite", rare=True, when=lambda l: l.x.size == l.configuration.feature_count, variance=lambda l, x, c: variance(l, x, c) / l.t(0))
plant("single_sample_not_moved", "A batch of one sample leaves the moving values.", "moving values not updated", rare=True, when=lambda l: l.x.shape[0] == 1, moved=lambda l, n, old, batch: old)
# State and steps.
plant("frozen_infers", "Frozen, a train step infers.", "frozen layer infers", rare=True, trains=lambda l: not l.frozen)
plant("freeze_ignored", "Frozen, gamma and beta still move.", "a frozen layer learns", rare=True, froze=lambda l, on: None)
plant("unfreeze_ignored", "Once frozen, gamma and beta never move again.", "not moved by a gradient step", rare=True, froze=lambda l, on: frozen(l, True))
plant("sgd_sign", "Gradient steps go uphill.", "gradient step uphill", rare=True, descended=lambda l, n, old, d, rate: old + old.dtype.type(rate) * d)
plant("sgd_without_rate", "Gradient steps leave the learning rate out.", "gradient step without its learning rate", rare=True, descended=lambda l, n, old, d, rate: old - d)
plant("sgd_beta_alone", "Gradient steps leave gamma.", "gamma not moved by a gradient step", rare=True, descended=lambda l, n, old, d, rate: descended(l, n, old, d, rate) if n == "beta" else old)
plant("reload_loses_variance", "The moving variance is not saved.", "moving_variance not saved", rare=True, loaded=lambda l, s: {**s, "moving_variance": np.ones_like(s["moving_variance"])})
plant("reload_in_half", "The state is saved in bfloat16.", "saved in bfloat16", rare=True, loaded=lambda l, s: {n: rounded(v, BFLOAT16) for n, v in s.items()})
plant("reload_starts_over", "Loading gives the initial state.", "loading gives the initial state", rare=True, loaded=lambda l, s: dict(l.initial))
plant("output_dtype", "Half-precision input gives float32 output.", "has dtype", rare=True, given=lambda l, q: {**q, "output": q["output"].astype(np.float32)} if l.configuration.dtype in HALF else q)
plant("inference_not_repeatable", "Every second inference rounds its output up.", "differs from step", rare=True, output=wobbling)
# Conditions.
plant("second_step", "The second train step alone leaves epsilon out.", "epsilon dropped", when=lambda l: l.kind == "train" and l.trained == 1, epsilon=lambda l: l.t(0))
plant("third_step_on", "From the third train step the decay is inverted.", "decay inverted", when=after(2), decay=lambda l, n: l.t(1 - l.native.decay))
plant("bfloat16_alone", "In bfloat16 alone the variance over m - 1 normalizes.", "normalizing correction 1", rare=True, when=lambda l: l.configuration.dtype == "bfloat16", normalizing=corrected, grad_input=corrected_gradient)
plant("float16_alone", "In float16 alone the variance over m - 1 enters the moving variance.", "moving correction 1", rare=True, when=lambda l: l.configuration.dtype == "float16", entering=times(lambda l, x: bessel(len(x))))
plant("float64_alone", "In float64 alone epsilon is added twice.", "epsilon twice", rare=True, when=lambda l: l.configuration.dtype == "float64", epsilon=lambda l: l.t(2 * l.native.epsilon))
plant("rank_5_alone", "Of five axes alone, the moving variance takes the variance over m - 1.", "moving correction 1", rare=True, when=lambda l: l.configuration.rank == 5, entering=times(lambda l, x: bessel(len(x))))
plant("features_first_alone", "Features first alone, the moving variance takes the variance over m - 1.", "moving correction 1", when=features_first, entering=times(lambda l, x: bessel(len(x))))
plant("several_feature_axes_alone", "With several feature axes alone the decay is inverted.", "decay inverted", rare=True, when=lambda l: len(l.configuration.feature_axes) > 1, decay=lambda l, n: l.t(1 - l.native.decay))

# fmt: on
NOTHING = Fault("nothing", "Nothing is wrong.", None)


def call(configuration: Configuration) -> Call:
    return Call(path="BatchNorm", keywords={"decay": configuration.decay, "epsilon": configuration.epsilon})


def implementation(fault: Fault) -> Implementation:
    def start(native: BatchNorm, configuration: Configuration, state: Quantities, mode: str, device: str) -> Layer:
        return Layer(native, configuration, state, fault)

    return Implementation(
        name=f"planted.{fault.name}",
        op="batch_norm",
        profile=(),
        modes=("eager",),
        dtypes=("float32", "float64", "float16", "bfloat16"),
        supports=lambda configuration: None,
        call=call,
        start=start,
        state=lambda live: dict(live.state),
        steps={"train": train, "infer": infer, "reload": reload, "freeze": freeze, "unfreeze": unfreeze, "sgd": sgd},
    )


ADAPTER = Adapter(
    library="planted",
    versions={"numpy": np.__version__},
    implementations=tuple(implementation(fault) for fault in (NOTHING, *PLANTED)),
)

"""A healthy batch normalization in virtual batches and through a transformation, and the same with one fault each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "divided", "group": None, "environment": {}}]


@dataclass(frozen=True)
class Fault:
    """One fault: what a diagnosis should say of it, and the parts of the healthy layer that it replaces."""

    name: str
    op: str
    #: Text that the diagnosis of a failed cell must contain; None where no hypothesis can be expected.
    diagnosis: str | None
    parts: dict[str, Callable[..., Any]] = field(default_factory=dict)


class BatchNorm:
    """What a user would construct; `start` puts the rest into it."""

    def __init__(self, *, decay: float, epsilon: float) -> None:
        self.decay, self.epsilon = decay, epsilon


class Layer:
    """One live layer; `l.part(...)` is the healthy part or the fault's. Arrays are (m, C)."""

    def __init__(self, native: BatchNorm, configuration: Configuration, state: Quantities, fault: Fault) -> None:
        self.native, self.configuration, self.fault = native, configuration, fault
        self.state: dict[str, Any] = {name: value.copy() for name, value in state.items()}
        self.t: Any = np.float64 if configuration.dtype == "float64" else np.float32
        self.size = configuration.options.get("virtual_batch")
        self.gradients: dict[str, Any] = {}
        self.reloaded = False

    def __getattr__(self, name: str) -> Any:
        fault: Fault = self.__dict__["fault"]
        return partial(fault.parts.get(name, HEALTHY[name]), self)

    def value(self, name: str) -> Any:
        default = np.full(self.configuration.features, name == "gamma", self.t)
        return self.state.get(name, default).reshape(-1).astype(self.t)

    def keep(self, name: str, value: Any) -> None:
        old = self.state[name]
        self.state[name] = value.astype(old.dtype).reshape(old.shape)


# The healthy parts.


def rows(l: Layer, array: Any) -> Any:
    axes = l.configuration.feature_axes
    last = tuple(range(-len(axes), 0))
    return np.moveaxis(array, axes, last).reshape(-1, l.configuration.feature_count).astype(l.t)


def unrows(l: Layer, array: Any, like: Any) -> Any:
    axes = l.configuration.feature_axes
    last = tuple(range(-len(axes), 0))
    kept = [size for axis, size in enumerate(like.shape) if axis not in axes]
    return np.moveaxis(array.reshape(*kept, *l.configuration.features), last, axes).astype(like.dtype)


def grouping(l: Layer, samples: int) -> Any:
    """The samples of each part."""
    return np.arange(samples).reshape(-1, l.size or samples)


def statistics(l: Layer, x: Any, number: int) -> Any:
    center = x.mean(0)
    return center, np.square(x - center).mean(0)


def entering(l: Layer, found: Any, x: Any) -> Any:
    """The statistics by which the moving values are updated, one after another."""
    return found


def update(l: Layer, center: Any, spread: Any) -> None:
    a = l.t(l.native.decay)
    for name, batch in (("moving_mean", center), ("moving_variance", spread)):
        l.keep(name, a * l.value(name) + (1 - a) * batch)


def inverse(l: Layer, spread: Any) -> Any:
    return 1 / np.sqrt(spread + l.t(l.native.epsilon))


def gathered(l: Layer, parts: Any) -> Any:
    """The gradients of gamma or beta of all parts."""
    return np.sum(parts, axis=0)


def inferring(l: Layer, x: Any) -> Any:
    return l.value("moving_mean"), l.value("moving_variance")


def ended(l: Layer, kind: str, x: Any, flat: Any) -> None:
    """What else a step does."""


def loaded(l: Layer) -> None:
    """What else a reload does."""


def remembers(l: Layer) -> bool:
    """Whether a layer without moving values has some all the same."""
    return False


HEALTHY: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        rows,
        unrows,
        grouping,
        statistics,
        entering,
        update,
        inverse,
        gathered,
        inferring,
        ended,
        loaded,
        remembers,
    )
}


# The steps.


def train(l: Layer, x: Any, upstream: Any) -> Any:
    if not x.size:
        zero = np.zeros(l.configuration.features, x.dtype)
        return {"output": x.copy(), "grad_input": x.copy(), "grad_gamma": zero, "grad_beta": zero}
    flat, g = l.rows(x), l.rows(upstream)
    chosen = np.arange(len(flat)).reshape(x.shape[0] if 0 not in l.configuration.feature_axes else 1, -1)
    parts = [chosen[each].reshape(-1) for each in l.grouping(len(chosen))]
    found = [l.statistics(flat[each], number) for number, each in enumerate(parts)]
    output, grad_input = np.empty_like(flat), np.empty_like(flat)
    betas, gammas = [], []
    for part, (center, spread) in zip(parts, found, strict=True):
        root = l.inverse(spread)
        n, pull, m = (flat[part] - center) * root, g[part], l.t(len(part))
        output[part] = l.value("gamma") * n + l.value("beta")
        betas.append(pull.sum(0))
        gammas.append((pull * n).sum(0))
        grad_input[part] = l.value("gamma") * root * (pull - betas[-1] / m - n * (gammas[-1] / m))
    for center, spread in l.entering(found, flat):
        l.update(center, spread)
    l.gradients = {"grad_gamma": l.gathered(gammas), "grad_beta": l.gathered(betas)}
    l.ended("train", x, flat)
    return {"output": l.unrows(output, x), "grad_input": l.unrows(grad_input, x), **owned(l, l.gradients)}


def owned(l: Layer, gradients: Quantities) -> Quantities:
    dtype, shape = l.state["moving_mean"].dtype, l.configuration.features
    has = {name: each for name, each in gradients.items() if name.removeprefix("grad_") in l.state}
    return {name: value.astype(dtype).reshape(shape) for name, value in has.items()}


def infer(l: Layer, x: Any, upstream: Any) -> Any:
    flat = l.rows(x)
    center, spread = l.inferring(flat)
    root = l.inverse(spread)
    n = (flat - center) * root
    found = {"output": l.unrows(l.value("gamma") * n + l.value("beta"), x)}
    l.ended("infer", x, flat)
    if upstream is None:
        return found
    g = l.rows(upstream)
    gradients = {"grad_gamma": (g * n).sum(0), "grad_beta": g.sum(0)}
    return {**found, "grad_input": l.unrows(l.value("gamma") * root * g, x), **owned(l, gradients)}


def infer_untracked(l: Layer, x: Any, upstream: Any) -> Any:
    """By its own batch; a fault may have it infer by what training left behind."""
    if l.remembers():
        return infer(l, x, upstream)
    found = train(l, x, np.zeros_like(x) if upstream is None else upstream)
    return {"output": found["output"]} if upstream is None else found


def reload(l: Layer) -> Layer:
    l.state = {name: value.copy() for name, value in l.state.items()}
    l.loaded()
    return l


def sgd(l: Layer, learning_rate: float) -> None:
    for name in ("gamma", "beta"):
        if name in l.state:
            l.keep(name, l.value(name) - l.t(learning_rate) * l.gradients[f"grad_{name}"])


def start(native: Any, configuration: Configuration, state: Quantities, mode: str, device: str, fault: Fault) -> Layer:
    zero = np.zeros(configuration.features, configuration.parameter_dtype)
    hidden = {} if "moving_mean" in state else {"moving_mean": zero, "moving_variance": zero + 1}
    return Layer(native, configuration, {**state, **hidden}, fault)


def state(l: Layer) -> Quantities:
    return {name: value.copy() for name, value in l.state.items()}


def state_untracked(l: Layer) -> Quantities:
    return {name: value for name, value in state(l).items() if not name.startswith("moving")}


def call(configuration: Configuration) -> Call:
    return Call(path="BatchNorm", keywords={"decay": configuration.decay, "epsilon": configuration.epsilon})


# The faults.


def interleaved(l: Layer, samples: int) -> Any:
    return np.arange(samples).reshape(l.size or samples, -1).T


def whole(l: Layer, samples: int) -> Any:
    return np.arange(samples).reshape(1, -1)


def mean_of(l: Layer, found: Any, x: Any) -> Any:
    return [tuple(np.mean(each, axis=0) for each in zip(*found, strict=True))]


def of_all(l: Layer, found: Any, x: Any) -> Any:
    return [statistics(l, x, 0)]


def twice(l: Layer, center: Any, spread: Any) -> None:
    update(l, center, spread)
    update(l, center, spread)


def corrected(l: Layer, found: Any, x: Any) -> Any:
    m = l.t(len(x) // len(found))
    return [(center, spread * (m / (m - 1))) for center, spread in found]


def of_the_part_before(l: Layer, x: Any, number: int) -> Any:
    """The third part and later ones are normalized with the statistics of the second."""
    found = statistics(l, x, number)
    if number < 2:
        l.__dict__["second"] = found
    return l.__dict__["second"]


def size_forgotten(l: Layer, samples: int) -> Any:
    return (whole if l.reloaded else grouping)(l, samples)


def outside(l: Layer, spread: Any) -> Any:
    return 1 / (np.sqrt(spread) + l.t(l.native.epsilon))


def always(l: Layer) -> bool:
    return True


def unbiased(l: Layer, x: Any, number: int) -> Any:
    center, spread = statistics(l, x, number)
    return center, spread * l.t(len(x)) / l.t(len(x) - 1)


def moved_in_inference(l: Layer, kind: str, x: Any, flat: Any) -> None:
    if kind == "infer":
        l.update(*statistics(l, flat, 0))


def overwritten(l: Layer, kind: str, x: Any, flat: Any) -> None:
    """The input's buffer is given away, though its caller has it still."""
    x[...] = 0


def over_the_stack(l: Layer, x: Any, number: int) -> Any:
    """Statistics over all layers of a stack at once."""
    layers = l.configuration.features[0] if len(l.configuration.features) > 1 else 1
    center, spread = statistics(l, x.reshape(len(x), layers, -1).reshape(len(x) * layers, -1), number)
    return np.tile(center, layers), np.tile(spread, layers)


def only_the_first(l: Layer, center: Any, spread: Any) -> None:
    """The moving values of the first layer of a stack alone are written back."""
    old = {name: l.state[name].copy() for name in ("moving_mean", "moving_variance")}
    update(l, center, spread)
    if len(l.configuration.features) > 1:
        for name, before in old.items():
            l.state[name][1:] = before[1:]


VIRTUAL, TRANSFORMED, UNTRACKED = "virtual_batch_norm", "transformed_batch_norm", "untracked_batch_norm"
NOTHING = tuple(Fault(f"nothing-{op.partition('_')[0]}", op, None) for op in (VIRTUAL, TRANSFORMED, UNTRACKED))
PLANTED = (
    Fault("interleaved", VIRTUAL, "interleaved samples", {"grouping": interleaved}),
    Fault("once-by-the-mean", VIRTUAL, "updated once, by the mean", {"entering": mean_of}),
    Fault("both", VIRTUAL, "interleaved samples", {"grouping": interleaved, "entering": mean_of}),
    Fault("undivided", VIRTUAL, "not divided", {"grouping": whole}),
    Fault("first-part", VIRTUAL, "first virtual batch", {"entering": lambda l, found, x: found[:1]}),
    Fault("last-part", VIRTUAL, "last virtual batch", {"entering": lambda l, found, x: found[-1:]}),
    Fault("in-reverse", VIRTUAL, "in reverse", {"entering": lambda l, found, x: found[::-1]}),
    Fault("whole-batch", VIRTUAL, "by the whole batch", {"entering": of_all}),
    Fault("mean-gradients", VIRTUAL, "averaged over", {"gathered": lambda l, parts: np.mean(parts, axis=0)}),
    Fault("last-gradients", VIRTUAL, "last virtual batch", {"gathered": lambda l, parts: parts[-1]}),
    Fault("correction", VIRTUAL, "moving correction 1", {"entering": corrected}),
    Fault("stale-part", VIRTUAL, None, {"statistics": of_the_part_before}),
    Fault(
        "reloaded-undivided",
        VIRTUAL,
        "not divided",
        {"grouping": size_forgotten, "loaded": lambda l: setattr(l, "reloaded", True)},
    ),
    Fault("epsilon", VIRTUAL, "epsilon outside", {"inverse": outside}),
    Fault("not-moved", VIRTUAL, "not updated", {"update": lambda l, center, spread: None}),
    Fault("twice", TRANSFORMED, "updated twice", {"update": twice}),
    Fault("state-dropped", TRANSFORMED, "not updated", {"update": lambda l, center, spread: None}),
    Fault("moves-in-inference", TRANSFORMED, "updated in inference", {"ended": moved_in_inference}),
    Fault("overwrites", TRANSFORMED, None, {"ended": overwritten}),
    Fault("over-the-stack", TRANSFORMED, None, {"statistics": over_the_stack}),
    Fault("first-of-the-stack", TRANSFORMED, None, {"update": only_the_first}),
    Fault("never-moved", UNTRACKED, "mean 0 and variance 1", {"remembers": always, "update": lambda l, *batch: None}),
    Fault("tracked-all-the-same", UNTRACKED, None, {"remembers": always}),
    Fault("untracked-epsilon", UNTRACKED, "epsilon outside", {"inverse": outside}),
    Fault("untracked-correction", UNTRACKED, None, {"statistics": unbiased}),
)


def implementation(fault: Fault) -> Implementation:
    untracked = fault.op == UNTRACKED
    infers = infer_untracked if untracked else infer
    steps: dict[str, Callable[..., Any]] = {"train": train, "infer": infers, "reload": reload, "sgd": sgd}
    return Implementation(
        name=f"divided.{fault.name}",
        op=fault.op,
        profile=(),
        modes=("eager",),
        dtypes=("float64", "float32", "float16", "bfloat16"),
        supports=lambda configuration: None,
        call=call,
        start=partial(start, fault=fault),
        state=state_untracked if untracked else state,
        steps=steps,
    )


ADAPTER = Adapter(
    library="divided", versions={}, implementations=tuple(implementation(each) for each in (*NOTHING, *PLANTED))
)

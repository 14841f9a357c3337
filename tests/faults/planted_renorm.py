"""A correct batch renormalization in NumPy, and the same with one fault each: what the suite must see of it.

Arrays are (m, C) in the work dtype. A fault replaces one part; the table at the end lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "planted-renorm", "group": None, "environment": {}}]
PAIRS = (("moving_mean", "moving_deviation"), ("renorm_mean", "renorm_deviation"))


@dataclass(frozen=True)
class Fault:
    """One fault: what a diagnosis should say of it and which part it replaces."""

    name: str
    diagnosis: str
    parts: dict[str, Callable[..., Any]] = field(default_factory=dict)


class Native:
    """What a user would construct; `start` puts the rest into it."""


class Layer:
    """One live layer. `l.part(...)` is the healthy part or the fault's."""

    def __init__(self, configuration: Configuration, state: Quantities, fault: Fault) -> None:
        self.configuration, self.fault, self.state = configuration, fault, dict(state)
        self.t: Any = np.float64 if configuration.dtype == "float64" else np.float32
        self.epsilon = self.t(configuration.epsilon)
        self.trained, self.frozen = 0, False
        self.gradients: dict[str, Any] = {}
        #: What one fault remembers of the correction.
        self.mean: Any = None
        self.old: Any = None

    def __getattr__(self, name: str) -> Any:
        part = self.__dict__["fault"].parts.get(name, HEALTHY.get(name))
        if part is None:
            raise AttributeError(name)
        return lambda *arguments: part(self, *arguments)

    def value(self, name: str) -> Any:
        """Return a number of the state in the work dtype; gamma and beta default to one and zero."""
        if name in self.state:
            return self.state[name].reshape(-1).astype(self.t)
        return np.full(self.configuration.feature_count, name == "gamma", self.t)

    def keep(self, name: str, value: Any) -> None:
        old = self.state[name]
        self.state[name] = value.astype(old.dtype).reshape(old.shape)


def rows(l: Layer, array: Any) -> Any:
    axes = l.configuration.feature_axes
    last = tuple(range(-len(axes), 0))
    return np.moveaxis(array, axes, last).reshape(-1, l.configuration.feature_count).astype(l.t)


def unrows(l: Layer, array: Any, like: Any) -> Any:
    axes = l.configuration.feature_axes
    kept = [size for axis, size in enumerate(like.shape) if axis not in axes]
    spread = array.reshape(*kept, *l.configuration.features)
    return np.moveaxis(spread, tuple(range(-len(axes), 0)), axes).astype(like.dtype)


# The healthy parts.


def limit(l: Layer, name: str, absent: float) -> Any:
    given = l.configuration.options.get(name)
    if isinstance(given, tuple | list):
        given = given[min(l.step(), len(given) - 1)]
    return l.t(absent if given is None else given)


def step(l: Layer) -> int:
    return l.trained


def clipped_r(l: Layer, r: Any) -> Any:
    return np.minimum(np.maximum(r, l.limit("rmin", 0.0)), l.limit("rmax", np.inf))


def clipped_d(l: Layer, d: Any) -> Any:
    reach = l.limit("dmax", np.inf)
    return np.minimum(np.maximum(d, -reach), reach)


def averages(l: Layer) -> Any:
    """The averages that the correction is of."""
    return l.value("renorm_mean"), l.value("renorm_deviation")


def divisor(l: Layer, deviation: Any) -> Any:
    return np.maximum(deviation, np.sqrt(l.epsilon))


def correction(l: Layer, mean: Any, deviation: Any, old: Any) -> Any:
    average, below = old[0], l.divisor(old[1])
    return l.clipped_r(deviation / below), l.clipped_d((mean - average) / below)


def decay(l: Layer, name: str) -> Any:
    options = l.configuration.options
    return l.t(options["renorm_decay"] if name.startswith("renorm") else l.configuration.decay)


def entering(l: Layer, mean: Any, deviation: Any, x: Any, r: Any, d: Any) -> Any:
    return mean, deviation


def moving_variance(l: Layer, deviation: Any, before: Any, x: Any) -> Any:
    return np.maximum(deviation * deviation - l.epsilon, l.t(0))


def update(l: Layer, batch: Any, x: Any) -> None:
    before = l.value("moving_deviation")
    for pair in PAIRS:
        for name, value in zip(pair, batch, strict=True):
            a = l.decay(name)
            l.keep(name, a * l.value(name) + (1 - a) * value)
    l.keep("moving_variance", l.moving_variance(l.value("moving_deviation"), before, x))


def output(l: Layer, n: Any, r: Any, d: Any) -> Any:
    return l.value("gamma") * (n * r + d) + l.value("beta")


def grad_gamma(l: Layer, g: Any, n: Any, r: Any, d: Any) -> Any:
    return (g * (n * r + d)).sum(0)


def grad_input(l: Layer, g: Any, n: Any, inverse: Any, r: Any, d: Any) -> Any:
    m = l.t(len(g))
    return l.value("gamma") * r * inverse * (g - g.sum(0) / m - n * ((g * n).sum(0) / m))


def inferring(l: Layer, x: Any) -> Any:
    return l.value("moving_mean"), l.value("moving_variance")


HEALTHY: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        limit,
        step,
        clipped_r,
        clipped_d,
        averages,
        divisor,
        correction,
        decay,
        entering,
        moving_variance,
        update,
        output,
        grad_gamma,
        grad_input,
        inferring,
    )
}


# The steps.


def train(l: Layer, x: Any, upstream: Any) -> Any:
    flat, g = rows(l, x), rows(l, upstream)
    if not x.size:
        zero = np.zeros_like(l.state["moving_mean"])
        l.gradients = owned(l, zero, zero)
        return {"output": x.copy(), "grad_input": x.copy(), **l.gradients}
    with np.errstate(all="ignore"):
        mean = flat.mean(0)
        variance = np.square(flat - mean).mean(0)
        deviation, inverse = np.sqrt(variance + l.epsilon), 1 / np.sqrt(variance + l.epsilon)
        old = l.averages()
        r, d = l.correction(mean, deviation, old)
        l.update(l.entering(mean, deviation, flat, r, d), flat)
        if "late" in l.fault.parts:
            r, d = l.correction(mean, deviation, l.averages())
        n = (flat - mean) * inverse
        found = {"output": unrows(l, l.output(n, r, d), x)}
        found["grad_input"] = unrows(l, l.grad_input(g, n, inverse, r, d), x)
        l.gradients = owned(l, l.grad_gamma(g, n, r, d), g.sum(0))
    l.trained += 1
    return {**found, **l.gradients}


def infer(l: Layer, x: Any, upstream: Any) -> Any:
    with np.errstate(all="ignore"):
        flat = rows(l, x)
        mean, variance = l.inferring(flat)
        inverse = 1 / np.sqrt(variance + l.epsilon)
        n = (flat - mean) * inverse
        found = {"output": unrows(l, l.value("gamma") * n + l.value("beta"), x)}
        if upstream is None:
            return found
        g = rows(l, upstream)
        found["grad_input"] = unrows(l, l.value("gamma") * inverse * g, x)
        return {**found, **owned(l, (g * n).sum(0), g.sum(0))}


def owned(l: Layer, gamma: Any, beta: Any) -> Quantities:
    state = l.state
    dtype, shape = state["moving_mean"].dtype, l.configuration.features
    given = {"gamma": gamma, "beta": beta}
    return {f"grad_{name}": given[name].astype(dtype).reshape(shape) for name in given if name in state}


def reload(l: Layer) -> Layer:
    l.state = {name: value.copy() for name, value in l.state.items()}
    return l


def freeze(l: Layer) -> None:
    l.frozen = True


def unfreeze(l: Layer) -> None:
    l.frozen = False


def sgd(l: Layer, learning_rate: float) -> None:
    for name in ("gamma", "beta"):
        if name in l.state and not l.frozen:
            gradient = l.gradients[f"grad_{name}"].reshape(-1).astype(l.t)
            l.keep(name, l.value(name) - l.t(learning_rate) * gradient)


# What the faults are made of.


def differentiated(l: Layer, g: Any, n: Any, inverse: Any, r: Any, d: Any) -> Any:
    """The input gradient with what goes through r and d where no limit holds them."""
    below, m = l.divisor(l.old[1]), l.t(len(g))
    free_r, free_d = (1 / inverse) / below, (l.mean - l.old[0]) / below
    gamma = l.value("gamma")
    through = (r == free_r) * n * (g * n).sum(0) + (d == free_d) * g.sum(0)
    return grad_input(l, g, n, inverse, r, d) + gamma * through / (m * below)


def remembered(l: Layer, mean: Any, deviation: Any, old: Any) -> Any:
    l.mean, l.old = mean, old
    return correction(l, mean, deviation, old)


def swapped(l: Layer, name: str) -> Any:
    return decay(l, "moving" if name.startswith("renorm") else "renorm")


def averaged_variance(l: Layer, deviation: Any, before: Any, x: Any) -> Any:
    a = l.t(l.configuration.decay)
    return a * l.value("moving_variance") + (1 - a) * x.var(0)


def clipped_statistics(l: Layer, mean: Any, deviation: Any, x: Any, r: Any, d: Any) -> Any:
    average, below = l.averages()[0], l.divisor(l.averages()[1])
    return average + d * below, r * below


def inferring_and_updating(l: Layer, x: Any) -> Any:
    found = inferring(l, x)
    if len(x):
        deviation = np.sqrt(np.square(x - x.mean(0)).mean(0) + l.epsilon)
        l.update((x.mean(0), deviation), x)
    return found


def by_renorm(l: Layer, x: Any) -> Any:
    deviation = l.value("renorm_deviation")
    return l.value("renorm_mean"), np.maximum(deviation * deviation - l.epsilon, l.t(0))


def one_sided(l: Layer, d: Any) -> Any:
    return np.minimum(d, l.limit("dmax", np.inf))


def symmetric(l: Layer, r: Any) -> Any:
    high = l.limit("rmax", np.inf)
    return np.minimum(np.maximum(r, 1 / high), high)


NOTHING = Fault("nothing", "")
PLANTED = (
    Fault("r-left-out", "r left out", {"clipped_r": lambda l, r: np.ones_like(r)}),
    Fault("d-left-out", "d left out", {"clipped_d": lambda l, d: np.zeros_like(d)}),
    Fault("r-not-clipped", "r not clipped", {"clipped_r": lambda l, r: r}),
    Fault("d-not-clipped", "d not clipped", {"clipped_d": lambda l, d: d}),
    Fault("rmin-from-rmax", "rmin taken for 1/rmax", {"clipped_r": symmetric}),
    Fault("d-from-above", "d clipped from above alone", {"clipped_d": one_sided}),
    Fault("schedule-late", "clipping schedule one step late", {"step": lambda l: max(0, l.trained - 1)}),
    Fault("schedule-baked", "clipping schedule kept at its first limits", {"step": lambda l: 0}),
    Fault("averages-after", "r and d of the averages after the step", {"late": None}),  # type: ignore[dict-item] # a mark
    Fault(
        "moving-for-renorm",
        "r and d of the moving values",
        {"averages": lambda l: (l.value("moving_mean"), l.value("moving_deviation"))},
    ),
    Fault(
        "d-by-batch-deviation",
        "d divided by the batch's deviation",
        {"correction": lambda l, m, s, old: (l.clipped_r(s / l.divisor(old[1])), l.clipped_d((m - old[0]) / s))},
    ),
    Fault("no-floor", "renorm deviation not held to √ε", {"divisor": lambda l, deviation: deviation}),
    Fault(
        "d-not-scaled",
        "d not scaled by gamma",
        {"output": lambda l, n, r, d: l.value("gamma") * n * r + d + l.value("beta")},
    ),
    Fault("differentiated", "r and d differentiated", {"grad_input": differentiated, "correction": remembered}),
    Fault(
        "r-not-in-gradient",
        "r missing from the input gradient",
        {"grad_input": lambda l, g, n, inverse, r, d: grad_input(l, g, n, inverse, l.t(1), d)},
    ),
    Fault(
        "gamma-without-d", "d missing from the gamma gradient", {"grad_gamma": lambda l, g, n, r, d: r * (g * n).sum(0)}
    ),
    Fault("decays-swapped", "decay and renorm_decay swapped", {"decay": swapped}),
    Fault("one-decay", "decay in place of renorm_decay", {"decay": lambda l, name: decay(l, "moving")}),
    Fault("variances-averaged", "variances averaged for the moving variance", {"moving_variance": averaged_variance}),
    Fault(
        "epsilon-kept",
        "epsilon not taken from the moving variance",
        {"moving_variance": lambda l, deviation, before, x: deviation * deviation},
    ),
    Fault(
        "variance-late",
        "moving variance of the deviation before the step",
        {"moving_variance": lambda l, deviation, before, x: moving_variance(l, before, before, x)},
    ),
    Fault(
        "averaged-without-epsilon",
        "epsilon left out of the averaged deviation",
        {"entering": lambda l, mean, deviation, x, r, d: (mean, np.sqrt(x.var(0)))},
    ),
    Fault(
        "corrected-deviation",
        "averaged deviations with correction 1",
        {"entering": lambda l, mean, deviation, x, r, d: (mean, np.sqrt(x.var(0, ddof=1) + l.epsilon))},
    ),
    Fault("clipped-statistics", "clipped statistics averaged", {"entering": clipped_statistics}),
    Fault("updates-in-inference", "averages updated in inference", {"inferring": inferring_and_updating}),
    Fault("infers-by-renorm", "inference by the renorm averages", {"inferring": by_renorm}),
)


def implementation(fault: Fault) -> Implementation:
    return Implementation(
        name=f"renorm.{fault.name}",
        op="batch_renorm",
        profile=(),
        modes=("eager",),
        dtypes=("float64", "float32", "float16", "bfloat16"),
        supports=lambda configuration: None,
        call=lambda configuration: Call(path="Native", keywords={}),
        start=lambda native, configuration, state, mode, device: Layer(configuration, state, fault),
        state=lambda l: dict(l.state),
        steps={"train": train, "infer": infer, "reload": reload, "freeze": freeze, "unfreeze": unfreeze, "sgd": sgd},
    )


ADAPTER = Adapter(
    library="planted-renorm",
    versions={"planted-renorm": "0"},
    implementations=tuple(implementation(fault) for fault in (NOTHING, *PLANTED)),
)

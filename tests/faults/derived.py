"""A healthy batch normalization with further derivatives in closed form, and the same with one fault each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "derived", "group": None, "environment": {}}]
OP = "differentiated_batch_norm"
ORDERS = ("forward_over_forward", "forward_over_reverse", "reverse_over_forward")


class BatchNorm:
    """What a user would construct; `start` puts the rest into it."""

    def __init__(self, *, decay: float, epsilon: float) -> None:
        self.decay, self.epsilon = decay, epsilon


@dataclass(frozen=True)
class Fault:
    """One fault: what a diagnosis should say of it, and how it changes the derivatives d or the inverse root."""

    name: str
    op: str
    diagnosis: str | None
    change: Callable[[SimpleNamespace], None] = lambda d: None
    inverse: Callable[[Any, Any], Any] = lambda spread, epsilon: 1 / np.sqrt(spread + epsilon)


def start(native: Any, configuration: Configuration, state: Quantities, mode: str, device: str, fault: Fault) -> Any:
    kept = {name: value.reshape(-1).copy() for name, value in state.items()}
    wide = np.float64 if configuration.dtype == "float64" else np.float32
    return SimpleNamespace(native=native, configuration=configuration, state=kept, fault=fault, wide=wide)


def state(l: Any) -> Quantities:
    return {name: value.reshape(l.configuration.features).copy() for name, value in l.state.items()}


def rows(l: Any, array: Any) -> Any:
    axes = l.configuration.feature_axes
    return np.moveaxis(array, axes, range(-len(axes), 0)).reshape(-1, l.configuration.feature_count).astype(l.wide)


def unrows(l: Any, array: Any, like: Any) -> Any:
    axes = l.configuration.feature_axes
    kept = [size for each, size in enumerate(like.shape) if each not in axes]
    apart = array.reshape(*kept, *l.configuration.features)
    return np.moveaxis(apart, range(-len(axes), 0), axes).astype(like.dtype)


def train(l: Any, x: Any, upstream: Any, tangent: Any) -> Any:
    flat = rows(l, x)
    mean = flat.mean(0)
    spread = np.square(flat - mean).mean(0)
    found = derived(l, x, upstream, tangent, mean, spread, l.wide(1))
    a = l.wide(l.native.decay)
    for name, batch in (("moving_mean", mean), ("moving_variance", spread)):
        old = l.state[name]
        l.state[name] = (a * old.astype(l.wide) + (1 - a) * batch).astype(old.dtype)
    return found


def infer(l: Any, x: Any, upstream: Any, tangent: Any) -> Any:
    mean, spread = (l.state[name].astype(l.wide) for name in ("moving_mean", "moving_variance"))
    return derived(l, x, upstream, tangent, mean, spread, l.wide(0))


def derived(l: Any, x: Any, upstream: Any, tangent: Any, mean: Any, spread: Any, follows: Any) -> Any:
    flat, g, v = (rows(l, each) for each in (x, upstream, tangent))
    gamma = l.state["gamma"].astype(l.wide) if "gamma" in l.state else l.wide(1)
    beta = l.state["beta"].astype(l.wide) if "beta" in l.state else l.wide(0)
    d = SimpleNamespace(g=g, v=v, gamma=gamma, follows=follows, m=l.wide(len(flat)))
    d.root = l.fault.inverse(spread, l.wide(l.native.epsilon))
    d.n = (flat - mean) * d.root
    d.a, d.b = follows * (v * d.n).mean(0), follows * (g * d.n).mean(0)
    d.along = v - follows * v.mean(0) - d.n * d.a
    d.back = g - follows * g.mean(0) - d.n * d.b
    d.product = (v * d.back).mean(0)
    d.scale = gamma * d.root
    d.tangent_output = d.scale * d.along
    d.second_grad_upstream = d.tangent_output
    d.second_grad_gamma = d.root * d.m * d.product
    d.second_grad_input = -follows * d.scale * d.root * (d.n * d.product + d.b * d.along + d.a * d.back)
    own = (v * d.along).mean(0)
    d.forward_over_forward = -follows * d.scale * d.root * (d.n * own + 2 * d.a * d.along)
    d.forward_over_reverse = d.reverse_over_forward = d.second_grad_input
    l.fault.change(d)
    shaped = {"output": gamma * d.n + beta, "grad_input": d.scale * d.back}
    names = ("tangent_output", "second_grad_upstream", "second_grad_input", *ORDERS)
    shaped |= {name: getattr(d, name) for name in names}
    single = {"grad_gamma": (g * d.n).sum(0), "second_grad_gamma": d.second_grad_gamma} if "gamma" in l.state else {}
    single |= {"grad_beta": g.sum(0)} if "beta" in l.state else {}
    dtype = l.state["moving_mean"].dtype
    return {
        **{name: unrows(l, value, x) for name, value in shaped.items()},
        **{name: value.astype(dtype).reshape(l.configuration.features) for name, value in single.items()},
    }


def call(configuration: Configuration) -> Call:
    return Call(path="BatchNorm", keywords={"decay": configuration.decay, "epsilon": configuration.epsilon})


# The faults.


def constant_statistics(d: Any) -> None:
    d.tangent_output = d.second_grad_upstream = d.scale * d.v


def no_mean(d: Any) -> None:
    """The derivative along v forgets what v does to the mean."""
    d.tangent_output = d.tangent_output + d.follows * d.scale * d.v.mean(0)


def no_variance(d: Any) -> None:
    d.tangent_output = d.tangent_output + d.scale * d.n * d.a


def no_gamma(d: Any) -> None:
    d.tangent_output = d.root * d.along


def constant_root(d: Any) -> None:
    d.second_grad_input = -d.scale * d.root * (d.b * d.along + d.a * d.back)


def constant_normalized(d: Any) -> None:
    d.second_grad_input = -d.follows * d.scale * d.root * d.n * d.product


def constant_mean(d: Any) -> None:
    """The variance's gradient stops at the mean: zero once, and not when differentiated again."""
    d.second_grad_input = d.second_grad_input - d.follows * d.scale * d.root * d.b * d.v.mean(0)


def constant_at_gamma(d: Any) -> None:
    d.second_grad_gamma = d.root * (d.v * d.g).sum(0)


def saved(d: Any) -> None:
    """The forward derivative is right, and knows the mean and the inverse root as saved numbers alone."""
    centred, squared = d.v - d.v.mean(0), -d.follows * d.scale * d.root
    d.forward_over_forward = squared * (d.a * d.v + d.n * (centred * d.v).mean(0))
    d.reverse_over_forward = squared * (d.a * d.g + d.b * centred)


def one_product(d: Any) -> None:
    """One of the two products of the Hessian, though it is symmetric."""
    d.second_grad_input = -d.follows * d.scale * d.root * (d.n * d.product + 2 * d.b * d.along)


def last_row(d: Any) -> None:
    """The last value's second gradient is that of the first."""
    d.second_grad_input = d.second_grad_input.copy()
    d.second_grad_input[-1] = d.second_grad_input[0]


def changes(**fields: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(d: Any) -> None:
        for name, value in fields.items():
            setattr(d, name, value(d))

    return change


NOTHING = (Fault("nothing", OP, None),)
PLANTED = (
    Fault("constant-statistics", OP, "constants by forward", constant_statistics),
    Fault("no-mean", OP, "mean's share missing", no_mean),
    Fault("no-variance", OP, "variance's share missing", no_variance),
    Fault("no-gamma", OP, "gamma missing from forward", no_gamma),
    Fault("no-second", OP, "input missing", changes(second_grad_input=lambda d: 0 * d.second_grad_input)),
    Fault("negated", OP, "negated", changes(second_grad_input=lambda d: -d.second_grad_input)),
    Fault("half", OP, "half of", changes(second_grad_input=lambda d: d.second_grad_input / 2)),
    Fault("constant-root", OP, "inverse root taken for a constant", constant_root),
    Fault("constant-normalized", OP, "normalized input taken for a constant", constant_normalized),
    Fault("constant-mean", OP, "mean taken for a constant", constant_mean),
    Fault("no-second-gamma", OP, "gamma missing", changes(second_grad_gamma=lambda d: 0 * d.second_grad_gamma)),
    Fault("times-gamma", OP, "times gamma", changes(second_grad_gamma=lambda d: d.second_grad_gamma * d.gamma)),
    Fault("constant-at-gamma", OP, "constants by the second gradient of gamma", constant_at_gamma),
    Fault("saved", OP, "saved mean and inverse root taken for constants", saved),
    Fault("no-order", OP, "input missing", changes(forward_over_reverse=lambda d: 0 * d.second_grad_input)),
    Fault("one-product", OP, None, one_product),
    Fault("last-row", OP, None, last_row),
    Fault("epsilon", OP, "epsilon outside", inverse=lambda spread, epsilon: 1 / (np.sqrt(spread) + epsilon)),
)


def implementation(fault: Fault) -> Implementation:
    return Implementation(
        name=f"derived.{fault.name}",
        op=fault.op,
        profile=(),
        modes=("eager",),
        dtypes=("float64", "float32", "float16", "bfloat16"),
        supports=lambda configuration: None,
        call=call,
        start=partial(start, fault=fault),
        state=state,
        steps={"train": train, "infer": infer},
    )


ADAPTER = Adapter(
    library="derived", versions={}, implementations=tuple(implementation(each) for each in (*NOTHING, *PLANTED))
)

"""A correct masked batch normalization, and the same with one fault each: what the suite must see.

`masked.nothing` computes in float32 (float64 for float64 input) and is healthy. Every other implementation replaces
one of the steps of its computation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "masked", "group": None, "environment": {}}]


@dataclass(frozen=True)
class Fault:
    """One fault: what is wrong, what a diagnosis should say of it, and which parts it replaces."""

    name: str
    sentence: str
    #: Text that the diagnosis of a failed cell must contain; None where no hypothesis can be expected.
    diagnosis: str | None
    parts: dict[str, Callable[..., Any]] = field(default_factory=dict)


class Masked:
    """What a user would construct; `start` puts the rest into it."""

    def __init__(self, *, decay: float, epsilon: float) -> None:
        self.decay, self.epsilon = decay, epsilon


# The healthy parts; x and g are (m, C), w is (m,).


def counted(l: Any, w: Any) -> Any:
    return w


def divisor(l: Any, w: Any) -> Any:
    return w.sum()


def chosen(l: Any, w: Any, x: Any) -> Any:
    """What enters the sums: what does not count is left out, number or not."""
    return np.where(w[:, np.newaxis], x, 0)


def entering(l: Any, mean: Any, variance: Any, w: Any) -> Any:
    return mean, variance


def moves(l: Any, w: Any) -> bool:
    """Whether the moving values move."""
    return bool(w.any())


def output(l: Any, y: Any, x: Any, w: Any) -> Any:
    return y


def pulled(l: Any, g: Any, w: Any) -> Any:
    """The upstream gradient as it enters dβ and dγ."""
    return g


def reached(l: Any, w: Any) -> Any:
    """The positions that the statistics follow."""
    return w


def shared(l: Any, w: Any) -> Any:
    """What the gradient through the statistics is divided by."""
    return max(1, w.sum())


def grad_input(l: Any, dx: Any, w: Any) -> Any:
    return dx


HEALTHY: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (counted, divisor, chosen, entering, moves, output, pulled, reached, shared, grad_input)
}


def state(live: Any) -> Quantities:
    return dict(live.held)


def flat(live: Any, array: Any) -> Any:
    c = live.configuration
    wide = np.float64 if c.dtype == "float64" else np.float32
    return np.moveaxis(array, c.feature_axes, range(-len(c.feature_axes), 0)).reshape(-1, c.feature_count).astype(wide)


def shaped(live: Any, array: Any, like: Any) -> Any:
    c = live.configuration
    last = tuple(range(-len(c.feature_axes), 0))
    kept = [size for axis, size in enumerate(like.shape) if axis not in c.feature_axes]
    return np.moveaxis(array.reshape(*kept, *c.features), last, c.feature_axes).astype(like.dtype)


def value(live: Any, name: str, like: Any) -> Any:
    held = live.held.get(name)
    count = live.configuration.feature_count
    return np.full(count, name == "gamma", like.dtype) if held is None else held.reshape(-1).astype(like.dtype)


def keep(live: Any, name: str, new: Any) -> None:
    old = live.held[name]
    live.held[name] = new.astype(old.dtype).reshape(old.shape)


def part(live: Any, name: str, *arguments: Any) -> Any:
    return live.parts[name](live, *arguments)


def train(live: Any, x: Any, upstream: Any, mask: Any = None) -> Quantities:
    values = flat(live, x)
    live.mask_shape = None if mask is None else mask.shape
    w = np.ones(len(values), np.bool_) if mask is None else mask.reshape(-1)
    w = part(live, "counted", w)
    with np.errstate(all="ignore"):
        share = values.dtype.type(part(live, "divisor", w))
        mean = part(live, "chosen", w, values).sum(0) / share
        variance = part(live, "chosen", w, np.square(values - mean)).sum(0) / share
        if part(live, "moves", w):
            batch = part(live, "entering", mean, variance, w)
            for name, each in zip(("moving_mean", "moving_variance"), batch, strict=True):
                a = values.dtype.type(live.native.decay)
                keep(live, name, a * value(live, name, values) + (1 - a) * each)
        return transform(live, x, values, mean, variance, upstream, w)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    values = flat(live, x)
    mean, variance = (value(live, name, values) for name in ("moving_mean", "moving_variance"))
    return transform(live, x, values, mean, variance, upstream, np.zeros(len(values), np.bool_), training=False)


def transform(
    live: Any, x: Any, values: Any, mean: Any, variance: Any, upstream: Any, w: Any, training: bool = True
) -> Quantities:
    gamma, beta = value(live, "gamma", values), value(live, "beta", values)
    root = 1 / np.sqrt(variance + values.dtype.type(live.native.epsilon))
    n = (values - mean) * root
    y = gamma * n + beta
    found = {"output": shaped(live, part(live, "output", y, values, w) if training else y, x)}
    if upstream is None:
        return found
    g = flat(live, upstream)
    into = part(live, "pulled", g, w) if training else g
    learned = {"gamma": (into * n).sum(0), "beta": into.sum(0)}
    dx = gamma * root * g
    if training:
        through = (g.sum(0) + n * (g * n).sum(0)) / values.dtype.type(part(live, "shared", w))
        dx = gamma * root * np.where(part(live, "reached", w)[:, np.newaxis], g - through, g)
        dx = part(live, "grad_input", dx, w)
    gradients = {
        f"grad_{name}": each.astype(live.held[name].dtype).reshape(live.held[name].shape)
        for name, each in learned.items()
        if name in live.held
    }
    return {**found, "grad_input": shaped(live, dx, x), **gradients}


# The faults.


def bessel(l: Any, mean: Any, variance: Any, w: Any) -> Any:
    count = variance.dtype.type(w.sum())
    return mean, variance * (count / max(count - 1, 1))


def whole_bessel(l: Any, mean: Any, variance: Any, w: Any) -> Any:
    count = variance.dtype.type(len(w))
    return mean, variance * (count / max(count - 1, 1))


def by_row(l: Any, w: Any) -> Any:
    if l.mask_shape is None or 0 in l.configuration.feature_axes:
        return w
    rows = w.reshape(l.mask_shape[0], -1)
    return np.repeat(rows.any(1), rows.shape[1])


def in_columns(l: Any, w: Any) -> Any:
    return w if l.mask_shape is None else w.reshape(l.mask_shape).reshape(-1, order="F")


def samples(l: Any, w: Any) -> Any:
    return w.reshape(l.mask_shape[0], -1).any(1).sum() if l.mask_shape is not None else w.sum()


def dividing(by: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Another divisor, forward and backward."""
    return {"divisor": by, "shared": by}


NOTHING = Fault("nothing", "Nothing is wrong.", None)
PLANTED = (
    Fault("ignored", "The mask is ignored.", "mask ignored", {"counted": lambda l, w: w | True}),
    Fault("inverted", "What does not count does.", "mask inverted", {"counted": lambda l, w: ~w if not w.all() else w}),
    Fault("by-row", "A row counts whole.", "whole rows counted", {"counted": by_row}),
    Fault("columns", "The mask is read by columns.", "mask read in column-major order", {"counted": in_columns}),
    Fault(
        "shifted", "The mask is one position off.", "mask of the neighbouring", {"counted": lambda l, w: np.roll(w, 1)}
    ),
    Fault("all-positions", "Sums are divided by m.", "wrong divisor: all positions", dividing(lambda l, w: len(w))),
    Fault("one-less", "Sums are divided by k - 1.", "one position less", dividing(lambda l, w: max(1, w.sum() - 1))),
    Fault("tiny", "Sums are divided by k + 1e-3.", "and 0.001", dividing(lambda l, w: w.sum() + 1e-3)),
    Fault("samples", "Sums are divided by the samples.", "wrong divisor: the samples that count", dividing(samples)),
    Fault("bessel", "V takes k/(k - 1).", "correction", {"entering": bessel}),
    Fault("whole-bessel", "V takes m/(m - 1).", "correction of the positions", {"entering": whole_bessel}),
    Fault(
        "multiplied",
        "What does not count is multiplied by 0, number or not.",
        "multiplied by 0",
        {"chosen": lambda l, w, x: w[:, np.newaxis] * x},
    ),
    Fault(
        "zero-moves",
        "M and V move towards 0 where nothing counts.",
        "a mean and a variance of 0",
        {
            "divisor": lambda l, w: max(1, w.sum()),
            "moves": lambda l, w: True,
        },
    ),
    Fault(
        "nothing-moves", "M and V become 0/0 where nothing counts.", "statistics of 0/0", {"moves": lambda l, w: True}
    ),
    Fault(
        "output-zero",
        "Where nothing counts 0 comes out.",
        "does not count: 0",
        {
            "output": lambda l, y, x, w: np.where(w[:, np.newaxis], y, 0),
        },
    ),
    Fault(
        "output-input",
        "What does not count passes as it is.",
        "the input",
        {
            "output": lambda l, y, x, w: np.where(w[:, np.newaxis], y, x),
        },
    ),
    Fault(
        "masked-upstream",
        "dβ and dγ leave out what does not count.",
        "upstream left out",
        {
            "pulled": lambda l, g, w: np.where(w[:, np.newaxis], g, 0),
        },
    ),
    Fault(
        "reaches-all",
        "The statistics follow every position.",
        "reaches every position",
        {
            "reached": lambda l, w: w | True,
        },
    ),
    Fault(
        "constants", "The statistics are constants to dx.", "taken for constants", {"reached": lambda l, w: w & False}
    ),
    Fault("gradient-by-all", "dx is divided by m.", "input gradient divided by all", {"shared": lambda l, w: len(w)}),
    Fault(
        "input-zero",
        "dx is 0 where nothing counts.",
        "input gradient 0",
        {
            "grad_input": lambda l, dx, w: np.where(w[:, np.newaxis], dx, 0),
        },
    ),
)


def implementation(fault: Fault) -> Implementation:
    def start(native: Masked, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
        parts = {**HEALTHY, **fault.parts}
        return SimpleNamespace(native=native, configuration=configuration, held=dict(state), parts=parts)

    return Implementation(
        name=f"masked.{fault.name}",
        op="masked_batch_norm",
        profile=(),
        modes=("eager",),
        dtypes=("float64", "float32", "float16", "bfloat16"),
        supports=lambda configuration: None,
        call=lambda c: Call(path="Masked", keywords={"decay": c.decay, "epsilon": c.epsilon}),
        start=start,
        state=state,
        steps={"train": train, "infer": infer},
    )


ADAPTER = Adapter(
    library="masked",
    versions={"masked": "1"},
    implementations=tuple(implementation(fault) for fault in (NOTHING, *PLANTED)),
)

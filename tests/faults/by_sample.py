"""Normalizations of each sample, right and with one fault each: what the suite must see, and by which name.

A forward pass is written in parts, of which a fault replaces one; it is differentiated by complex steps, so that the
gradients of a faulty forward pass are those that automatic differentiation would give. A fault of the backward pass
replaces a part of the closed form instead. Nothing here is shared with the references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.outcome import Produced
from conformance.precision import dtype_named
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case

Array = np.ndarray[Any, np.dtype[Any]]
Parts = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What is normalized: the case's configuration, and the arithmetic in which that is done."""

    case: Case
    narrow: Any
    parts: Parts

    @property
    def epsilon(self) -> float:
        """As it is configured."""
        return self.case.epsilon

    def part(self, name: str, *arguments: Any) -> Any:
        """Return what that part makes of the arguments."""
        return self.parts[name](self, *arguments)


# Which values belong together: the labels of their groups, of the shape (samples, positions, features).


def rows(l: Layer, labels: Array) -> Array:
    return np.broadcast_to(np.arange(labels[..., 0].size).reshape(labels.shape[:2])[..., np.newaxis], labels.shape)


def columns(l: Layer, labels: Array) -> Array:
    return np.broadcast_to(np.arange(labels.shape[2]), labels.shape)


def samples(l: Layer, labels: Array) -> Array:
    return np.broadcast_to(np.arange(labels.shape[0])[:, np.newaxis, np.newaxis], labels.shape)


def everything(l: Layer, labels: Array) -> Array:
    return np.zeros_like(labels)


def last_axis(l: Layer, labels: Array) -> Array:
    length = l.case.configuration.features[-1]
    return np.arange(labels.size).reshape(labels.shape) // length


def channels(l: Layer, labels: Array) -> Any:
    return samples(l, labels) * labels.shape[2] + columns(l, labels)


def channel_groups(l: Layer, labels: Array) -> Any:
    return samples(l, labels) * labels.shape[2] + columns(l, labels) // (labels.shape[2] // l.case.options["groups"])


def interleaved(l: Layer, labels: Array) -> Any:
    return samples(l, labels) * labels.shape[2] + columns(l, labels) % l.case.options["groups"]


def swapped(l: Layer, labels: Array) -> Any:
    return samples(l, labels) * labels.shape[2] + columns(l, labels) // l.case.options["groups"]


# The forward pass; x is (values, groups) and may be complex, as may what is computed of it.


def count(l: Layer, x: Array) -> int:
    return len(x)


def center(l: Layer, x: Array) -> Any:
    return x.mean(axis=0)


def nothing(l: Layer, x: Array) -> Any:
    return np.zeros_like(x[0])


def square(l: Layer, x: Array, mean: Any) -> Any:
    return np.square(x - mean).sum(axis=0) / l.part("count", x)


def inverse(l: Layer, squares: Any) -> Any:
    if l.case.options.get("epsilon") == "outside":
        return 1 / (np.sqrt(squares) + l.epsilon)
    return 1 / np.sqrt(squares + l.epsilon)


def given(l: Layer, x: Array) -> Array:
    return x


def normalized(l: Layer, x: Array, mean: Any, root: Any) -> Any:
    return (x - mean) * root


def cast(l: Layer, values: Array) -> Array:
    if l.case.options.get("cast") != "before_gamma" or np.iscomplexobj(values):
        return values
    return values.astype(dtype_named(l.case.dtype)).astype(values.dtype)


def gain(l: Layer, gamma: Array, beta: Array) -> Any:
    return (1 + gamma if l.case.options.get("unit_offset") else gamma), beta


# The backward pass: r, ĝ = γ·g, x̂ and what goes through mean and root.


def pull(l: Layer, gamma: Array, upstream: Array) -> Any:
    return gamma * upstream


def level(l: Layer, pulled: Array, centred: bool) -> Any:
    return pulled.mean(axis=0) if centred else 0


def slope(l: Layer, pulled: Array, n: Array) -> Any:
    return n * (pulled * n).mean(axis=0)


def last(l: Layer, dx: Array, gamma: Array) -> Any:
    return dx


def met(l: Layer, parameter: Array) -> Any:
    """Return gamma or beta as it meets the values."""
    return parameter


def along_last(l: Layer, parameter: Array) -> Any:
    """Return it along the positions of a sample, of which there are as many as features."""
    return parameter[:, np.newaxis]


def grad_gamma(l: Layer, upstream: Array, n: Array, x: Array, deviation: Array) -> Any:
    return (upstream * n).sum(axis=0)


def grad_beta(l: Layer, upstream: Array) -> Any:
    return upstream.sum(axis=0)


HEALTHY: Parts = {
    part.__name__: part
    for part in (
        count, center, square, inverse, given, normalized, cast, gain, met, pull, level, slope, last, grad_gamma, grad_beta,
    )
}  # fmt: skip
#: By operation, what its parts are beside those.
OF: Mapping[str, Parts] = {
    "layer_norm": {"groups": rows},
    "rms_norm": {"groups": rows, "center": nothing},
    "group_norm": {"groups": channel_groups},
    "instance_norm": {"groups": channels},
}
_BACKWARD = frozenset({"pull", "level", "slope", "last", "grad_gamma", "grad_beta"})
#: The parts whose change the closed form would not follow.
_DIFFERENTIATED = frozenset({"met", "count", "center", "square", "inverse", "given", "normalized"})


def flat(case: Case, array: Array) -> Array:
    """Return the array as (samples, positions, features)."""
    axes = case.configuration.feature_axes
    moved = np.moveaxis(array, axes, range(-len(axes), 0))
    return moved.reshape(array.shape[0], -1, case.configuration.feature_count)


def shaped(case: Case, array: Array, shape: tuple[int, ...]) -> Array:
    """Return the inverse of `flat`."""
    c = case.configuration
    kept = [size for axis, size in enumerate(shape) if axis not in c.feature_axes]
    return np.moveaxis(array.reshape(*kept, *c.features), range(-len(c.features), 0), c.feature_axes)


def places(l: Layer, x: Array) -> Array:
    """Return the flat positions of each group's values, (groups, values)."""
    labels = l.part("groups", np.zeros(x.shape, int)).reshape(-1)
    order = np.argsort(labels, kind="stable")
    return order.reshape(len(np.unique(labels)), -1)


def forward(l: Layer, x: Array, gamma: Array, beta: Array) -> Any:
    """Return the output of x, of the shape (samples, positions, features)."""
    at = places(l, x)
    grouped = l.part("given", x.reshape(-1)[at].T)
    mean = l.part("center", grouped)
    root = l.part("inverse", l.part("square", grouped, mean))
    n = np.empty(x.size, np.result_type(grouped, root))
    n[at] = l.part("cast", l.part("normalized", grouped, mean, root)).T
    gained, added = l.part("gain", gamma, beta)
    return l.part("met", gained) * n.reshape(x.shape) + l.part("met", added)


def by_complex_steps(l: Layer, x: Array, gamma: Array, beta: Array, upstream: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of Σ g·y with respect to x, gamma and beta."""
    step = 1e-30

    def along(**moved: Array) -> float:
        arguments = {"x": x, "gamma": gamma, "beta": beta, **moved}
        return float((upstream * forward(l, **arguments)).sum().imag) / step

    def each(name: str, array: Array) -> Array:
        gradient = np.zeros(array.size)
        for position in range(array.size):
            moved = array.astype(np.complex128).reshape(-1)
            moved[position] += 1j * step
            gradient[position] = along(**{name: moved.reshape(array.shape)})
        return gradient.reshape(array.shape)

    return each("x", x), each("gamma", gamma), each("beta", beta)


def closed(l: Layer, x: Array, gamma: Array, beta: Array, upstream: Array) -> tuple[Array, Array, Array]:
    """Return the same by the closed form."""
    at = places(l, x)
    grouped = l.part("given", x.reshape(-1)[at].T)
    mean = l.part("center", grouped)
    deviation = grouped - mean
    root = l.part("inverse", l.part("square", grouped, mean))
    n = deviation * root
    gained, _ = l.part("gain", gamma, beta)
    by_value = np.broadcast_to(gained, x.shape).reshape(-1)[at].T
    pulled = l.part("pull", by_value, upstream.reshape(-1)[at].T)
    share = 1.0
    if l.case.options.get("epsilon") == "outside":
        share = 1 / (root * np.sqrt(np.square(deviation).mean(axis=0)))
    through = l.part("level", pulled, l.parts["center"] is center) + share * l.part("slope", pulled, n)
    dx, x_hat, away = np.empty(x.size, x.dtype), np.empty(x.size, x.dtype), np.empty(x.size, x.dtype)
    dx[at] = l.part("last", root * (pulled - through), by_value).T
    x_hat[at], away[at] = n.T, deviation.T
    values = [array.reshape(-1, x.shape[2]) for array in (upstream, x_hat, x, away)]
    return dx.reshape(x.shape), l.part("grad_gamma", *values), l.part("grad_beta", values[0])


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: its name, what a diagnosis should say of it, and the parts it replaces."""

    name: str
    #: Text that the diagnosis must contain.
    diagnosis: str
    parts: Parts = field(default_factory=dict)
    #: The cases that show it, as the ends of their ids; empty where all do that are asked.
    cases: tuple[str, ...] = ()


def produced(case: Case, parts: Parts, narrow: Any = None) -> Iterator[Produced]:
    """Yield what a layer with those parts gives at each step of the case: in float32, or in float64 where the case is."""
    wide = narrow or (np.float64 if case.dtype == "float64" else np.float32)
    l = Layer(case=case, narrow=wide, parts={**HEALTHY, **OF[case.op], **parts})
    inputs = inputs_of(case)
    held = {name: np.array(value) for name, value in inputs.initial.items()}
    yield Produced(quantities={}, state=dict(held), seconds=0.0)
    c = case.configuration
    for step in inputs.steps:
        assert step.input is not None
        with np.errstate(all="ignore"):
            quantities = _pass(l, held, step.input, step.upstream, wide)
        shapes = {"output": step.input.shape, "grad_input": step.input.shape}
        answered = {
            name: (shaped(case, value, shapes[name]) if name in shapes else value.reshape(c.features))
            for name, value in quantities.items()
        }
        dtypes = {name: case.dtype if name in shapes else c.parameter_dtype for name in answered}
        yield Produced(
            quantities={name: value.astype(dtype_named(dtypes[name])) for name, value in answered.items()},
            state=dict(held),
            seconds=0.0,
        )


def _pass(l: Layer, held: Mapping[str, Array], x: Array, upstream: Array | None, wide: Any) -> dict[str, Array]:
    values = flat(l.case, x).astype(wide)
    features = l.case.configuration.feature_count
    neutral = {"gamma": np.ones(features), "beta": np.zeros(features)}
    gamma, beta = (held.get(name, value).reshape(-1).astype(wide) for name, value in neutral.items())
    quantities = {"output": forward(l, values, gamma, beta)}
    if upstream is None:
        return quantities
    right = {**HEALTHY, **OF[l.case.op]}
    changed = {name for name, part in l.parts.items() if part is not right[name]}
    differentiated = by_complex_steps if changed & _DIFFERENTIATED and not changed & _BACKWARD else closed
    gradients = differentiated(l, values, gamma, beta, flat(l.case, upstream).astype(wide))
    named = dict(zip(("grad_input", "grad_gamma", "grad_beta"), gradients, strict=True))
    return quantities | {name: value for name, value in named.items() if name[5:] in held or name == "grad_input"}


# Healthy variants: the same numbers by other ways.


def welford(l: Layer, x: Array, mean: Any) -> Any:
    running, total = x[0] * 0, x[0] * 0
    for number, value in enumerate(x, start=1):
        away = value - running
        running = running + away / x.real.dtype.type(number)
        total = total + away * (value - running)
    return total / x.real.dtype.type(len(x))


def reversed_sum(l: Layer, x: Array) -> Any:
    total = x[0] * 0
    for value in x[::-1]:
        total = total + value
    return total / x.real.dtype.type(len(x))


def one_by_one(l: Layer, x: Array, mean: Any) -> Any:
    return reversed_sum(l, np.square(x - mean))


def in_double(l: Layer, x: Array) -> Any:
    return x.astype(np.float64) if not np.iscomplexobj(x) else x


VARIANTS: Mapping[str, Mapping[str, Parts]] = {
    "layer_norm": {
        "two-pass": {},
        "welford": {"square": welford},
        "sequential": {"center": reversed_sum, "square": one_by_one},
        "double": {"given": in_double},
    },
    "group_norm": {"two-pass": {}, "welford": {"square": welford}, "double": {"given": in_double}},
    "instance_norm": {"two-pass": {}, "welford": {"square": welford}, "double": {"given": in_double}},
    "rms_norm": {"two-pass": {}, "sequential": {"square": one_by_one}, "double": {"given": in_double}},
}


# Faults of a forward pass.


def fixed_epsilon(l: Layer, squares: Any) -> Any:
    return 1 / np.sqrt(squares + 1e-5)


def one_pass(l: Layer, x: Array, mean: Any) -> Any:
    return np.square(x).mean(axis=0) - np.square(mean)


def rounded_input(l: Layer, x: Array) -> Any:
    half = x.real.astype(dtype_named("bfloat16")).astype(x.real.dtype)
    return half + 1j * x.imag if np.iscomplexobj(x) else half


def cast_gamma(l: Layer, upstream: Array, n: Array, x: Array, deviation: Array) -> Any:
    """The gradient of gamma by an x̂ that was rounded."""
    return (upstream * n.astype(dtype_named(l.case.dtype)).astype(n.dtype)).sum(axis=0)


#: Faults that every operation here may have.
COMMON = (
    Fault(name="epsilon-dropped", diagnosis="epsilon dropped", parts={"inverse": lambda l, q: 1 / np.sqrt(q)}),
    Fault(
        name="epsilon-outside",
        diagnosis="epsilon outside the root",
        parts={"inverse": lambda l, q: 1 / (np.sqrt(q) + l.epsilon)},
        cases=("rank-2/float32", "signs", "two-axes/float32"),
    ),
    Fault(
        name="epsilon-twice", diagnosis="epsilon twice", parts={"inverse": lambda l, q: 1 / np.sqrt(q + 2 * l.epsilon)}
    ),
    Fault(name="epsilon-fixed", diagnosis="epsilon 1e-5", parts={"inverse": fixed_epsilon}),
    Fault(name="batch", diagnosis="each feature's values over the batch", parts={"groups": columns}),
    Fault(name="whole", diagnosis="the whole batch", parts={"groups": everything}),
    Fault(
        name="gamma-ignored", diagnosis="gamma ignored", parts={"gain": lambda l, gamma, beta: (1 + 0 * gamma, beta)}
    ),
    Fault(
        name="gamma-rolled",
        diagnosis="gamma of the neighbour",
        parts={"gain": lambda l, gamma, beta: (np.roll(gamma, 1), beta)},
    ),
    Fault(name="input-rounded", diagnosis="input rounded to bfloat16", parts={"given": rounded_input}),
    Fault(
        name="constants",
        diagnosis="taken for constants",
        parts={"level": lambda l, p, c: 0, "slope": lambda l, p, n: 0},
    ),
    Fault(name="variance-term", diagnosis="variance term missing", parts={"slope": lambda l, p, n: 0}),
    Fault(name="gamma-out-of-dx", diagnosis="gamma missing from", parts={"pull": lambda l, gamma, g: g}),
    Fault(
        name="gamma-last",
        diagnosis="gamma multiplied after",
        parts={"pull": lambda l, gamma, g: g, "last": lambda l, dx, gamma: gamma * dx},
    ),
    Fault(
        name="gamma-averaged",
        diagnosis="gamma gradient averaged",
        parts={"grad_gamma": lambda l, g, n, x, d: (g * n).mean(axis=0)},
    ),
    Fault(
        name="gamma-of-x", diagnosis="gamma gradient", parts={"grad_gamma": lambda l, g, n, x, d: (g * x).sum(axis=0)}
    ),
    Fault(
        name="gamma-not-learned",
        diagnosis="gradient of gamma",
        parts={"grad_gamma": lambda l, g, n, x, d: 0 * g.sum(axis=0)},
    ),
)
#: Faults where a mean is taken off, and a beta added.
CENTRED = (
    Fault(name="corrected", diagnosis="correction 1", parts={"count": lambda l, x: len(x) - 1}),
    Fault(name="uncentred", diagnosis="mean not subtracted", parts={"normalized": lambda l, x, mean, root: x * root}),
    Fault(
        name="about-zero",
        diagnosis="variance taken about zero",
        parts={"square": lambda l, x, mean: np.square(x).mean(axis=0)},
    ),
    Fault(name="unscaled", diagnosis="not divided by", parts={"inverse": lambda l, q: 1 + 0 * q}),
    Fault(
        name="one-pass",
        diagnosis="one-pass variance",
        parts={"square": one_pass},
        cases=("2-8/float32", "2-8/first/float32"),
    ),
    Fault(name="mean-term", diagnosis="mean term missing", parts={"level": lambda l, p, c: 0}),
    Fault(
        name="swapped",
        diagnosis="gamma and beta swapped",
        parts={"gain": lambda l, gamma, beta: (beta, gamma)},
    ),
    Fault(
        name="beta-before", diagnosis="beta added before", parts={"gain": lambda l, gamma, beta: (gamma, beta * gamma)}
    ),
    Fault(name="beta-ignored", diagnosis="beta ignored", parts={"gain": lambda l, gamma, beta: (gamma, 0 * beta)}),
    Fault(name="beta-averaged", diagnosis="beta gradient averaged", parts={"grad_beta": lambda l, g: g.mean(axis=0)}),
    Fault(
        name="not-normalized",
        diagnosis="gamma gradient not normalized",
        parts={"grad_gamma": lambda l, g, n, x, d: (g * d).sum(axis=0)},
    ),
)
#: Faults of a normalization of rows whose features lie along several axes, or that lie in samples of several rows.
OF_ROWS = (
    Fault(name="samples", diagnosis="each sample's values", parts={"groups": samples}, cases=("rank-3/float32",)),
    Fault(name="last-axis", diagnosis="the last axis alone", parts={"groups": last_axis}, cases=("two-axes/float32",)),
)
#: In rows of an axis that is not the last.
ALONG = (
    Fault(name="along-last-axis", diagnosis="along the last axis", parts={"met": along_last}, cases=("first-square",)),
    Fault(
        name="trailing",
        diagnosis="the input's last axis, along which gamma and beta lie",
        parts={"groups": channels, "met": along_last},
        cases=("first-square",),
    ),
)
OF_RMS = (
    Fault(name="mean-subtracted", diagnosis="mean subtracted", parts={"center": center}),
    Fault(
        name="variance-alone",
        diagnosis="variance instead of the mean square",
        parts={"square": lambda l, x, mean: np.square(x - x.mean(axis=0)).mean(axis=0)},
    ),
    Fault(
        name="sum",
        diagnosis="root of the sum of squares",
        parts={"square": lambda l, x, mean: np.square(x).sum(axis=0)},
    ),
    Fault(
        name="one-added",
        diagnosis="1 + gamma in place of gamma",
        parts={"gain": lambda l, gamma, beta: (1 + gamma, beta)},
        cases=("rank-2/float32", "signs"),
    ),
    Fault(
        name="one-not-added",
        diagnosis="gamma in place of 1 + gamma",
        parts={"gain": lambda l, gamma, beta: (gamma, beta)},
        cases=("unit-offset/float32",),
    ),
    Fault(
        name="epsilon-inside",
        diagnosis="epsilon inside the root",
        parts={"inverse": lambda l, q: 1 / np.sqrt(q + l.epsilon)},
        cases=("outside/large/float32", "outside/small/float32"),
    ),
    Fault(
        name="rounded-before",
        diagnosis="before gamma",
        parts={"cast": lambda l, n: n.astype(dtype_named(l.case.dtype)).astype(n.dtype), "grad_gamma": cast_gamma},
        cases=("half/float16/float32", "half/bfloat16/float32"),
    ),
)
OF_GROUPS = (
    Fault(name="one-group", diagnosis="in one group", parts={"groups": samples}),
    Fault(name="own-groups", diagnosis="in groups of one", parts={"groups": channels}),
    Fault(name="rows", diagnosis="all features at each position", parts={"groups": rows}),
    Fault(name="interleaved", diagnosis="do not follow one another", parts={"groups": interleaved}),
    Fault(name="swapped-groups", diagnosis="as there should be groups", parts={"groups": swapped}),
)
OF_INSTANCES = (
    Fault(name="samples", diagnosis="all features together", parts={"groups": samples}),
    Fault(name="rows", diagnosis="all features at each position", parts={"groups": rows}),
)
FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "layer_norm": (*COMMON, *CENTRED, *OF_ROWS, *ALONG),
    "rms_norm": (*COMMON, *OF_ROWS, *OF_RMS, *ALONG),
    "group_norm": (*COMMON, *CENTRED, *OF_GROUPS),
    "instance_norm": (
        *(fault for fault in (*COMMON, *CENTRED) if fault.name != "gamma-last"),
        *OF_INSTANCES,
    ),
}

"""Batch normalization in one dtype throughout, by the algorithms that healthy implementations use; its faults are off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.operations.situation import Situation

F = np.float32
Array = np.ndarray[Any, np.dtype[Any]]
Sums = Callable[[Array], Array]


def sequential(values: Array) -> Array:
    total = np.zeros(values.shape[1:], values.dtype)
    for value in values:
        total = total + value
    return total


def pairwise(values: Array) -> Array:
    while len(values) > 1:
        if len(values) % 2:
            values = np.concatenate([values, np.zeros_like(values[:1])])
        values = values[::2] + values[1::2]
    return np.asarray(values[0])


def by_numpy(values: Array) -> Array:
    return np.asarray(values.sum(axis=0))


SUMS: dict[str, Sums] = {"sequential": sequential, "pairwise": pairwise, "numpy": by_numpy}


def two_pass(x: Array, sums: Sums) -> tuple[Array, Array]:
    count = x.dtype.type(len(x))
    mean = sums(x) / count
    deviation = x - mean
    return mean, sums(deviation * deviation) / count


def welford(x: Array, _: Sums) -> tuple[Array, Array]:
    mean, squares = np.zeros_like(x[0]), np.zeros_like(x[0])
    for count, value in enumerate(x, 1):
        delta = value - mean
        mean = mean + delta / x.dtype.type(count)
        squares = squares + delta * (value - mean)
    return mean, squares / x.dtype.type(len(x))


def chan(x: Array, sums: Sums) -> tuple[Array, Array]:
    """Two-pass statistics of both halves, merged by Chan, Golub and LeVeque 1983, equation 2.1."""
    t = x.dtype.type
    half = max(1, len(x) // 2)
    if half == len(x):
        return two_pass(x, sums)
    (mean_a, variance_a), (mean_b, variance_b) = chan(x[:half], sums), chan(x[half:], sums)
    a, b, n = t(half), t(len(x) - half), t(len(x))
    delta = mean_b - mean_a
    squares = variance_a * a + variance_b * b + delta * delta * (a * b / n)
    return mean_a + delta * (b / n), squares / n


def one_pass(x: Array, sums: Sums) -> tuple[Array, Array]:
    count = x.dtype.type(len(x))
    mean = sums(x) / count
    return mean, sums(x * x) / count - mean * mean


@dataclass(frozen=True)
class Healthy:
    """One way to compute a train step, all in the dtype of its input; the faults are off."""

    statistics: Callable[[Array, Sums], tuple[Array, Array]] = two_pass
    sums: Sums = by_numpy
    folded: bool = False
    incremental: bool = False
    fault: str = ""

    def train(self, s: Situation, x: Array, g: Array) -> dict[str, Array]:
        t, count = x.dtype.type, x.dtype.type(len(x))
        state = {name: value.astype(x.dtype) for name, value in s.state.items()}
        mean, variance = self.statistics(x, self.sums)
        normalizing = variance * (count / (count - t(1))) if self.fault == "correction" else variance
        inverse = self.inverse(normalizing, t(s.configuration.epsilon))
        grad_beta, grad_gamma, grad_input = self.gradients(x, g, mean, inverse, state["gamma"])
        return {
            "batch_mean": mean,
            "batch_variance": variance,
            "output": self.output(x, mean, inverse, state),
            "grad_beta": grad_beta,
            "grad_gamma": grad_gamma,
            "grad_input": grad_input,
            "moving_mean": self.moved(state["moving_mean"], mean, s.configuration.decay),
            "moving_variance": self.moved(state["moving_variance"], variance, s.configuration.decay),
        }

    def gradients(self, x: Array, g: Array, mean: Array, inverse: Array, gamma: Array) -> tuple[Array, Array, Array]:
        """The closed form; or, folded, what automatic differentiation makes of y = x·s + (β - μ·s)."""
        count, grad_beta = x.dtype.type(len(x)), self.sums(g)
        if self.folded:
            grad_scale = self.sums(g * x) - mean * grad_beta
            grad_variance = x.dtype.type(-0.5) * gamma * grad_scale * (inverse * inverse * inverse)
            spread = grad_variance * (x.dtype.type(2) * (x - mean) / count)
            return (
                grad_beta,
                grad_scale * inverse,
                g * (gamma * inverse) + spread - grad_beta * (gamma * inverse) / count,
            )
        normalized = (x - mean) * inverse
        grad_gamma = self.sums(g * normalized)
        through = grad_beta if self.fault == "gradient" else grad_beta + normalized * grad_gamma
        return grad_beta, grad_gamma, gamma * inverse * (g - through / count)

    def infer(self, s: Situation, x: Array, g: Array) -> dict[str, Array]:
        state = {name: value.astype(x.dtype) for name, value in s.state.items()}
        mean, inverse = (
            state["moving_mean"],
            self.inverse(state["moving_variance"], x.dtype.type(s.configuration.epsilon)),
        )
        return {
            "output": self.output(x, mean, inverse, state),
            "grad_beta": self.sums(g),
            "grad_gamma": self.sums(g * ((x - mean) * inverse)),
            "grad_input": g * (state["gamma"] * inverse),
        }

    def inverse(self, variance: Array, epsilon: Any) -> Array:
        match self.fault:
            case "outside":
                return np.asarray(1 / (np.sqrt(variance) + epsilon))
            case "dropped":
                return np.asarray(1 / np.sqrt(variance))
            case _:
                return np.asarray(1 / np.sqrt(variance + epsilon))

    def output(self, x: Array, mean: Array, inverse: Array, state: dict[str, Array]) -> Array:
        if self.folded:
            scale = state["gamma"] * inverse
            return np.asarray(x * scale + (state["beta"] - mean * scale))
        return np.asarray((x - mean) * inverse * state["gamma"] + state["beta"])

    def moved(self, old: Array, batch: Array, decay: float) -> Array:
        a = old.dtype.type(1 - decay if self.fault == "inverted" else decay)
        if self.incremental:
            return np.asarray(old - (old - batch) * (1 - a))
        return np.asarray(a * old + (1 - a) * batch)


HEALTHY = {
    **{f"two-pass-{name}": Healthy(sums=sums) for name, sums in SUMS.items()},
    **{f"two-pass-{name}-folded": Healthy(sums=sums, folded=True) for name, sums in SUMS.items()},
    "two-pass-incremental": Healthy(incremental=True),
    "welford": Healthy(statistics=welford, sums=sequential),
    "welford-folded": Healthy(statistics=welford, sums=sequential, folded=True),
    "chan": Healthy(statistics=chan, sums=pairwise),
    "chan-folded-incremental": Healthy(statistics=chan, sums=sequential, folded=True, incremental=True),
}

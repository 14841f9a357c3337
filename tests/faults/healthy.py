"""Healthy ways to compute a batch normalization step in float32, which no bound may fail; and a few unhealthy ones.

Arrays are (m, C): each of the C columns is a case of its own, so that one pass computes hundreds of them. All
arithmetic is in the dtype of the input, except where a variant accumulates wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Sums = Callable[[Array], Array]
Statistics = Callable[[Array, Sums], tuple[Array, Array]]


# Sums over the rows, in every order.


def sequential(values: Array) -> Array:
    total = np.zeros_like(values[0])
    for value in values:
        total = total + value
    return np.asarray(total)


def backwards(values: Array) -> Array:
    return sequential(values[::-1])


def shuffled(values: Array) -> Array:
    return sequential(values[np.random.default_rng(len(values)).permutation(len(values))])


def by_size(values: Array) -> Array:
    """From the largest to the smallest of each column, the worst order."""
    order = np.argsort(-np.abs(values), axis=0, kind="stable")
    return sequential(np.take_along_axis(values, order, axis=0))


def pairwise(values: Array) -> Array:
    while len(values) > 1:
        if len(values) % 2:
            values = np.concatenate([values, np.zeros_like(values[:1])])
        values = values[::2] + values[1::2]
    return np.asarray(values[0])


def by_numpy(values: Array) -> Array:
    """NumPy's own along contiguous memory: eight lanes, pairwise above 128 values."""
    return np.asarray(np.ascontiguousarray(values.T).sum(axis=1))


def in_lanes(values: Array) -> Array:
    """Eight running sums, as a vector register keeps them, combined at the end."""
    lanes = [sequential(values[lane::8]) for lane in range(min(8, len(values)))]
    return pairwise(np.stack(lanes))


def in_blocks(values: Array) -> Array:
    """Running sums of 32 rows each, themselves summed in order."""
    return sequential(np.stack([sequential(values[start : start + 32]) for start in range(0, len(values), 32)]))


def in_float64(values: Array) -> Array:
    return np.asarray(values.astype(np.float64).sum(axis=0).astype(values.dtype))


def exactly(values: Array) -> Array:
    """The sum rounded once."""
    return np.array([math.fsum(column) for column in values.T.tolist()]).astype(values.dtype)


def fused(a: Any, b: Any, c: Any) -> Array:
    """a·b + c rounded once, by way of float64, in which the product of two float32 is exact."""
    found = np.asarray(a, np.float64) * np.asarray(b, np.float64) + np.asarray(c, np.float64)
    return np.asarray(found.astype(np.float32))


# Statistics.


def two_pass(x: Array, sums: Sums) -> tuple[Array, Array]:
    count = x.dtype.type(len(x))
    mean = sums(x) / count
    deviation = x - mean
    return mean, sums(deviation * deviation) / count


def by_reciprocal(x: Array, sums: Sums) -> tuple[Array, Array]:
    """Two passes, divided by multiplying with a rounded 1/m."""
    share = x.dtype.type(1) / x.dtype.type(len(x))
    mean = sums(x) * share
    deviation = x - mean
    return mean, sums(deviation * deviation) * share


def corrected_two_pass(x: Array, sums: Sums) -> tuple[Array, Array]:
    """Chan, Golub and LeVeque 1983, equation 1.7, held at zero from below."""
    count = x.dtype.type(len(x))
    mean = sums(x) / count
    deviation = x - mean
    rest = sums(deviation)
    return mean, np.maximum((sums(deviation * deviation) - rest * rest / count) / count, 0)


def two_pass_fused(x: Array, sums: Sums) -> tuple[Array, Array]:
    """Squares of deviations added by a fused multiply-add."""
    count = x.dtype.type(len(x))
    mean = sums(x) / count
    total = np.zeros_like(mean)
    for deviation in x - mean:
        total = fused(deviation, deviation, total)
    return mean, total / count


def wide(x: Array, sums: Sums) -> tuple[Array, Array]:
    """Mean and variance in float64, each rounded once."""
    mean, variance = two_pass(x.astype(np.float64), sequential)
    return mean.astype(x.dtype), variance.astype(x.dtype)


def wide_one_pass(x: Array, sums: Sums) -> tuple[Array, Array]:
    """The textbook formula in float64, shifted by the first value: as good as two passes in float32."""
    shifted = x.astype(np.float64) - x[0].astype(np.float64)
    mean = shifted.mean(axis=0)
    variance = np.maximum((shifted * shifted).mean(axis=0) - mean * mean, 0)
    return (mean + x[0]).astype(x.dtype), variance.astype(x.dtype)


def welford(x: Array, sums: Sums) -> tuple[Array, Array]:
    t = x.dtype.type
    mean, squares = np.zeros_like(x[0]), np.zeros_like(x[0])
    for count, value in enumerate(x, 1):
        delta = value - mean
        mean = mean + delta / t(count)
        squares = squares + delta * (value - mean)
    return mean, squares / t(len(x))


def merged(a: tuple[Array, Array, int], b: tuple[Array, Array, int]) -> tuple[Array, Array, int]:
    """Mean, sum of squares and count of two parts together: Chan, Golub and LeVeque 1983, equation 2.1."""
    t = a[0].dtype.type
    count = a[2] + b[2]
    delta = b[0] - a[0]
    mean = a[0] + delta * (t(b[2]) / t(count))
    return mean, a[1] + b[1] + delta * delta * (t(a[2]) * t(b[2]) / t(count)), count


def part(x: Array, statistics: Statistics, sums: Sums) -> tuple[Array, Array, int]:
    mean, variance = statistics(x, sums)
    return mean, variance * x.dtype.type(len(x)), len(x)


def chan_of_blocks(x: Array, sums: Sums) -> tuple[Array, Array]:
    """Two-pass statistics of blocks of 16 rows, merged in order."""
    found = part(x[:16], two_pass, sums)
    for start in range(16, len(x), 16):
        found = merged(found, part(x[start : start + 16], two_pass, sums))
    return found[0], found[1] / x.dtype.type(len(x))


def chan_of_welford(x: Array, sums: Sums) -> tuple[Array, Array]:
    """Welford's statistics of both halves, merged, as threads do it."""
    middle = max(1, len(x) // 2)
    if middle == len(x):
        return welford(x, sums)
    found = merged(part(x[:middle], welford, sums), part(x[middle:], welford, sums))
    return found[0], found[1] / x.dtype.type(len(x))


def chan_as_a_tree(x: Array, sums: Sums) -> tuple[Array, Array]:
    """Single values merged pair by pair."""

    def tree(values: Array) -> tuple[Array, Array, int]:
        if len(values) == 1:
            return values[0], np.zeros_like(values[0]), 1
        middle = len(values) // 2
        return merged(tree(values[:middle]), tree(values[middle:]))

    found = tree(x)
    return found[0], found[1] / x.dtype.type(len(x))


# Roots.


def reciprocal_of_root(total: Array) -> Array:
    return np.asarray(1 / np.sqrt(total))


def root_of_reciprocal(total: Array) -> Array:
    return np.asarray(np.sqrt(1 / total))


def approximate(total: Array) -> Array:
    """A hardware's own reciprocal root, up to two units off either way."""
    off = np.where(np.arange(total.size).reshape(total.shape) % 2, 2.0, -2.0) * 2.0**-24
    return np.asarray((1 / np.sqrt(total.astype(np.float64)) * (1 + off)).astype(total.dtype))


# Outputs.


def scale_first(x: Array, mean: Array, inverse: Array, gamma: Array, beta: Array) -> Array:
    return np.asarray((x - mean) * (gamma * inverse) + beta)


def normalized_first(x: Array, mean: Array, inverse: Array, gamma: Array, beta: Array) -> Array:
    return np.asarray(gamma * ((x - mean) * inverse) + beta)


def folded(x: Array, mean: Array, inverse: Array, gamma: Array, beta: Array) -> Array:
    scale = gamma * inverse
    return np.asarray(x * scale + (beta - mean * scale))


def folded_fused(x: Array, mean: Array, inverse: Array, gamma: Array, beta: Array) -> Array:
    scale = gamma * inverse
    return fused(x, scale, fused(-mean, scale, beta))


def centred_fused(x: Array, mean: Array, inverse: Array, gamma: Array, beta: Array) -> Array:
    return fused(x - mean, gamma * inverse, beta)


# Gradients of gamma, beta and the input.


def closed(x: Array, g: Array, mean: Array, inverse: Array, gamma: Array, sums: Sums) -> tuple[Array, Array, Array]:
    """γ r (g - dβ/m - x̂ dγ/m)."""
    count = x.dtype.type(len(x))
    normalized = (x - mean) * inverse
    grad_beta, grad_gamma = sums(g), sums(g * normalized)
    return grad_gamma, grad_beta, gamma * inverse * (g - grad_beta / count - normalized * (grad_gamma / count))


def closed_by_count(
    x: Array, g: Array, mean: Array, inverse: Array, gamma: Array, sums: Sums
) -> tuple[Array, Array, Array]:
    """γ r / m (m g - dβ - x̂ dγ)."""
    count = x.dtype.type(len(x))
    normalized = (x - mean) * inverse
    grad_beta, grad_gamma = sums(g), sums(g * normalized)
    return grad_gamma, grad_beta, (gamma * inverse / count) * (count * g - grad_beta - normalized * grad_gamma)


def closed_of_deviations(
    x: Array, g: Array, mean: Array, inverse: Array, gamma: Array, sums: Sums
) -> tuple[Array, Array, Array]:
    """(g - dβ/m - (x - μ) r² Σg(x - μ)/m) r γ, the root taken out of the sums, as C kernels have it."""
    count = x.dtype.type(len(x))
    deviation = x - mean
    products, grad_beta = sums(g * deviation), sums(g)
    share = products * inverse * inverse / count
    return products * inverse, grad_beta, (g - grad_beta / count - deviation * share) * inverse * gamma


def branches(x: Array, g: Array, mean: Array, inverse: Array, gamma: Array, sums: Sums) -> tuple[Array, Array, Array]:
    """Automatic differentiation of γ((x - μ) r) + β: one branch through σ², one through μ."""
    t = x.dtype.type
    count, deviation = t(len(x)), x - mean
    normalized = deviation * inverse
    pulled = g * gamma
    grad_variance = sums(pulled * deviation) * t(-0.5) * (inverse * inverse * inverse)
    spread = grad_variance * (t(2) * deviation / count)
    through = pulled * inverse + spread
    return sums(g * normalized), sums(g), through - sums(through) / count


def branches_folded(
    x: Array, g: Array, mean: Array, inverse: Array, gamma: Array, sums: Sums
) -> tuple[Array, Array, Array]:
    """Automatic differentiation of x·s + (β - μ·s), s = γ r."""
    t = x.dtype.type
    count, grad_beta = t(len(x)), sums(g)
    grad_scale = sums(g * x) - mean * grad_beta
    grad_variance = t(-0.5) * gamma * grad_scale * (inverse * inverse * inverse)
    spread = grad_variance * (t(2) * (x - mean) / count)
    scale = gamma * inverse
    return grad_scale * inverse, grad_beta, g * scale + spread - grad_beta * scale / count


# Moving values.


def weighed(old: Array, batch: Array, decay: Any) -> Array:
    return np.asarray(decay * old + (1 - decay) * batch)


def stepped(old: Array, batch: Array, decay: Any) -> Array:
    return np.asarray(old - (old - batch) * (1 - decay))


def weighed_fused(old: Array, batch: Array, decay: Any) -> Array:
    return fused(old, decay, (1 - decay) * batch)


@dataclass(frozen=True)
class Variant:
    """One way to compute a step."""

    statistics: Statistics = two_pass
    sums: Sums = by_numpy
    root: Callable[[Array], Array] = reciprocal_of_root
    output: Callable[..., Array] = normalized_first
    gradients: Callable[..., tuple[Array, Array, Array]] = closed
    moved: Callable[..., Array] = weighed
    #: What happens to the sum of variance and epsilon before the root; a fault, where it is not their sum.
    total: Callable[[Array, Any], Array] = np.add

    def train(self, x: Array, g: Array, state: dict[str, Array], decay: float, epsilon: float) -> dict[str, Array]:
        t = x.dtype.type
        mean, variance = self.statistics(x, self.sums)
        inverse = self.root(self.total(variance, t(epsilon)))
        grad_gamma, grad_beta, grad_input = self.gradients(x, g, mean, inverse, state["gamma"], self.sums)
        return {
            "batch_mean": mean,
            "batch_variance": variance,
            "output": self.output(x, mean, inverse, state["gamma"], state["beta"]),
            "grad_gamma": grad_gamma,
            "grad_beta": grad_beta,
            "grad_input": grad_input,
            "moving_mean": self.moved(state["moving_mean"], mean, t(decay)),
            "moving_variance": self.moved(state["moving_variance"], variance, t(decay)),
        }

    def infer(self, x: Array, g: Array, state: dict[str, Array], epsilon: float) -> dict[str, Array]:
        mean, gamma = state["moving_mean"], state["gamma"]
        inverse = self.root(self.total(state["moving_variance"], x.dtype.type(epsilon)))
        return {
            "output": self.output(x, mean, inverse, gamma, state["beta"]),
            "grad_gamma": self.sums(g * ((x - mean) * inverse)),
            "grad_beta": self.sums(g),
            "grad_input": g * (gamma * inverse),
        }


VARIANTS: dict[str, Variant] = {
    "two-pass-sequential": Variant(sums=sequential),
    "two-pass-backwards": Variant(sums=backwards, output=scale_first),
    "two-pass-shuffled": Variant(sums=shuffled, gradients=closed_by_count),
    "two-pass-largest-first": Variant(sums=by_size, output=folded),
    "two-pass-pairwise": Variant(sums=pairwise, moved=stepped),
    "two-pass-numpy": Variant(sums=by_numpy, gradients=closed_of_deviations),
    "two-pass-lanes": Variant(sums=in_lanes, root=approximate, output=centred_fused),
    "two-pass-blocks": Variant(sums=in_blocks, root=root_of_reciprocal),
    "two-pass-float64-sums": Variant(sums=in_float64, output=scale_first),
    "two-pass-exact-sums": Variant(sums=exactly),
    "two-pass-folded": Variant(sums=sequential, output=folded, gradients=branches_folded),
    "two-pass-folded-largest-first": Variant(sums=by_size, output=folded, gradients=branches_folded, moved=stepped),
    "two-pass-folded-fused": Variant(sums=pairwise, output=folded_fused, gradients=branches_folded, root=approximate),
    "two-pass-fused": Variant(two_pass_fused, sequential, output=centred_fused, moved=weighed_fused),
    "two-pass-by-reciprocal": Variant(by_reciprocal, sequential, gradients=closed_by_count),
    "two-pass-corrected": Variant(corrected_two_pass, sequential, gradients=branches),
    "two-pass-differentiated": Variant(sums=sequential, gradients=branches, root=root_of_reciprocal),
    "float64-statistics": Variant(wide, in_float64, gradients=branches, output=folded),
    "float64-shifted-one-pass": Variant(wide_one_pass, in_lanes, gradients=closed_of_deviations),
    "welford": Variant(welford, sequential),
    "welford-folded": Variant(welford, sequential, output=folded, gradients=branches_folded, root=approximate),
    "welford-backwards": Variant(
        lambda x, sums: welford(x[::-1], sums), backwards, output=scale_first, gradients=branches, moved=stepped
    ),
    "chan-blocks": Variant(chan_of_blocks, in_blocks, output=folded_fused),
    "chan-of-welford": Variant(chan_of_welford, in_lanes, gradients=closed_of_deviations, moved=stepped),
    "chan-tree": Variant(chan_as_a_tree, pairwise, output=folded, gradients=branches_folded),
}


def one_pass(x: Array, sums: Sums) -> tuple[Array, Array]:
    count = x.dtype.type(len(x))
    mean = sums(x) / count
    return mean, np.maximum(sums(x * x) / count - mean * mean, 0)


def over_one_less(x: Array, sums: Sums) -> tuple[Array, Array]:
    mean, variance = two_pass(x, sums)
    return mean, variance * (x.dtype.type(len(x)) / x.dtype.type(len(x) - 1))


def without_the_mean(
    x: Array, g: Array, mean: Array, inverse: Array, gamma: Array, sums: Sums
) -> tuple[Array, Array, Array]:
    grad_gamma, grad_beta, whole = closed(x, g, mean, inverse, gamma, sums)
    return grad_gamma, grad_beta, whole + gamma * inverse * (grad_beta / x.dtype.type(len(x)))


_PLAIN = Variant(sums=sequential)
#: Wrong, each with the quantities that show it.
UNHEALTHY: dict[str, tuple[Variant, tuple[str, ...]]] = {
    "one-pass-variance": (replace(_PLAIN, statistics=one_pass), ("batch_variance", "moving_variance", "output")),
    "variance-over-m-minus-1": (replace(_PLAIN, statistics=over_one_less), ("batch_variance", "output", "grad_input")),
    "epsilon-outside-the-root": (
        replace(_PLAIN, total=lambda variance, epsilon: np.square(np.sqrt(variance) + epsilon)),
        ("output", "grad_gamma", "grad_input"),
    ),
    "gradient-without-the-mean": (replace(_PLAIN, gradients=without_the_mean), ("grad_input",)),
}

"""How far rounding may take a healthy batch normalization: elementwise, deterministic bounds.

Model: every operation is correctly rounded with unit roundoff u (a root or its reciprocal within 4u), sums
run in any order (the height h of the summation tree is at most m - 1), nothing overflows. Then each
quantity computed by a two-pass or Welford algorithm, centred or folded (y = x·s + (β - c·s)), lies within
these bounds of the exact one. `docs/tolerances.md` derives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from conformance.operations.batch_norm.reference import Gradients, Normalization, dot
from conformance.operations.frozen import replace
from conformance.operations.kept import kept
from conformance.operations.situation import Situation, VarianceAlgorithm
from conformance.precision import Precision, theta

Array = np.ndarray[Any, np.dtype[Any]]
Float64 = np.ndarray[Any, np.dtype[np.float64]]

#: Error of 1/sqrt in units of u: 2.5 for a correctly rounded root and division, 4 for hardware's own.
ROOT = 4.0
#: Squares of numbers up to this, and sums of some of them, are in the range of float64.
_SQUARED = 2.0**480
_LEAST = float(np.finfo(float).tiny)


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """A class of implementations: how the variance is computed, and how long its sums are."""

    variance: VarianceAlgorithm
    worked: Precision
    height: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StatisticsBound:
    """Bounds on batch statistics, each of shape (C,): the variance may err unequally up and down."""

    mean: Array
    above: Array
    below: Array
    #: Whether the variance may come out below 0, as a difference may and a sum of squares may not.
    signed: bool = False

    @property
    def variance(self) -> Array:
        """The bound on the variance's error, either way."""
        return np.maximum(self.above, self.below)


EXACT = StatisticsBound(mean=np.zeros(()), above=np.zeros(()), below=np.zeros(()))


class Measured(Protocol):
    """What the bounds on the statistics of a batch are made of."""

    @property
    def x(self) -> Float64:
        """|x|, of shape (m, C)."""

    @property
    def level(self) -> Float64:
        """Its mean over the rows."""

    @property
    def largest(self) -> Float64:
        """The largest of it in the rows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchSizes:
    """|x|, of shape (m, C), and its mean and largest over the rows."""

    x: Float64
    level: Float64
    largest: Float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sizes:
    """What the bounds of a step are made of, taken once: absolute values in float64, whose digits do for a bound."""

    #: |x|, of shape (m, C), and its mean and largest over the rows.
    x: Float64
    level: Float64
    largest: Float64
    #: |x̂|, of shape (m, C).
    normalized: Float64
    output: Float64
    gamma: Float64
    beta: Float64
    center: Float64
    inverse_root: Float64
    #: |g|, of shape (m, C), and its sum; None where no gradients are asked for.
    pull: Float64 | None
    total: Float64 | None


def sizes(situation: Situation, n: Normalization) -> Sizes:
    """Return the sizes of a step."""
    batch = sizes_of_batch(situation.x)
    pull, total = (None, None) if situation.upstream is None else _pull_of(situation.upstream)
    return Sizes(
        x=batch.x,
        level=batch.level,
        largest=batch.largest,
        normalized=size(n.normalized),
        output=size(n.output),
        gamma=size(n.gamma),
        beta=size(n.beta),
        center=size(n.center),
        inverse_root=size(n.inverse_root),
        pull=pull,
        total=total,
    )


@kept
def sizes_of_batch(x: Array) -> BatchSizes:
    """Return |x|, and its mean and largest over the rows."""
    absolute = size(x)
    level = np.add.reduce(absolute, axis=0) / max(1, len(absolute))
    return BatchSizes(x=absolute, level=level, largest=np.maximum.reduce(absolute, axis=0, initial=0))


@kept
def _pull_of(upstream: Array) -> tuple[Float64, Float64]:
    """Return |g| and its sum over the rows."""
    absolute = size(upstream)
    return absolute, np.add.reduce(absolute, axis=0)


def size(array: Array) -> Float64:
    """Return |array| in float64, or as wide as it is where float64 could not hold a product of two of its numbers."""
    sizes: Float64 = np.abs(array)
    if (
        sizes.dtype != np.float64
        and np.maximum.reduce(sizes, axis=None, initial=0, where=np.isfinite(sizes)) > _SQUARED
    ):
        return sizes
    return sizes.astype(np.float64, copy=False)


def statistics_bound(sizes: Measured, mean: Array, variance: Array, algorithm: Algorithm) -> StatisticsBound:
    """Return the bounds on batch mean and variance (correction 0).

    mean      δ = θ(h+2) mean|x|
    two-pass  -θ(h+4)(V + δ²) .. θ(h+4)(V + δ²) + δ²       since Σ(x-μ̂)² = mV + mδ² exactly
    Welford   ±(θ(h+6) V + 2√2 σ δw + 2 δw²), δw = θ(h+4) max|x|
    one-pass  ±(θ(h+3) mean x² + 2|μ|δ + δ² + u(|μ|+δ)² + uV): what E[x²] - E[x]² keeps, which is little
    """
    u, tiny, height = algorithm.worked.unit, algorithm.worked.tiny, algorithm.height
    variance = size(variance)
    error = theta(height + 2, u) * sizes.level + 2 * tiny
    match algorithm.variance:
        case "two_pass":
            below = theta(height + 4, u) * (variance + error**2) + 2 * tiny
            return StatisticsBound(mean=error, above=below + error**2, below=below)
        case "welford":
            running = theta(height + 4, u) * sizes.largest
            either = theta(height + 6, u) * variance + (np.sqrt(8 * variance) + 2 * running) * running + 2 * tiny
            return StatisticsBound(mean=np.maximum(error, running), above=either, below=either)
        case "one_pass":
            level = size(mean)
            squares = theta(height + 3, u) * (sizes.x**2).mean(axis=0) + u * variance + u * (level + error) ** 2
            either = squares + 2 * level * error + error**2 + 2 * tiny
            return StatisticsBound(mean=error, above=either, below=either, signed=True)


def corrected(bound: StatisticsBound, factor: float, variance: Array, u: float) -> StatisticsBound:
    """Return the bounds on the variance times Bessel's factor, itself rounded twice."""
    extra = 2 * u * factor * size(variance)
    above, below = factor * bound.above * (1 + 2 * u) + extra, factor * bound.below + extra
    return replace(bound, above=above, below=below)


def spread_bound(old: Array, mean: Array, mean_bound: Array, factor: float, after: Array, worked: Precision) -> Array:
    """Return the bound on f·(M-μ)², which merging two batches adds to the variance V' after the step.

    With d = |M-μ| and e = δ + u(d + δ) + 3u|M|, the last for means formed from sums:
    f(2de + e²) + 6u·f(d + e)² + 2u|V'|.
    """
    u = worked.unit
    distance = np.abs(old - mean)
    error = mean_bound + u * (distance + mean_bound) + 3 * u * np.abs(old)
    squared = 2 * distance * error + error**2
    rounded = 6 * u * factor * (distance + error) ** 2 + 2 * u * np.abs(after)
    return np.asarray(factor * squared + rounded + 2 * worked.tiny)


def root_bound(variance: Array, epsilon: float | Array, bound: StatisticsBound, u: float) -> Array:
    """Return ρ, the bound on the relative error of (v + ε)^(-1/2).

    With p± = δ±/(v+ε) + 2u (epsilon rounded, the sum rounded), the root moves between (1+p⁺)^(-1/2) and
    (1-p⁻)^(-1/2); no lower than ε^(-1/2) allows, unless the variance may come out negative. Where v + ε may not be
    positive, the root may be anything, NaN included.
    """
    total = size(variance) + epsilon
    up = bound.above / total + 2 * u
    down = up if bound.above is bound.below else bound.below / total + 2 * u
    shrink = 1 - 1 / np.sqrt(1 + up)
    grow = np.where(down < 1, 1 / np.sqrt(np.maximum(1 - down, _LEAST)) - 1, np.inf)
    # Of several epsilons, one that is 0 gives the ceiling of infinity.
    if (isinstance(epsilon, np.ndarray) or epsilon) and not bound.signed:
        ceiling = np.sqrt(total / epsilon) - 1
        grow = np.minimum(grow, np.maximum(ceiling, 2 * u))
    moved = np.maximum(shrink, grow)
    return np.asarray(moved + ROOT * u * (1 + moved))


def output_bound(sizes: Sizes, root: Array, bound: StatisticsBound, worked: Precision) -> Array:
    """Return the bound on the output, shape (m, C).

    With s = |γ| r (1+ρ): e = s(δ + 3u(|x-c| + δ)) + |γ x̂| ρ + s·u(|x| + 2(|c| + δ)) + u|β|, then one more
    rounding, e + u(|y| + e). The third and fourth terms are the folded form's. Gathered by what varies within a
    feature, with |x-c| = |x̂|/r: e = floor + slope |x̂| + s·u |x|.
    """
    u, tiny = worked.unit, worked.tiny
    scale = sizes.gamma * sizes.inverse_root * (1 + root)
    floor = scale * ((1 + 5 * u) * bound.mean + 2 * u * sizes.center + tiny) + (u * sizes.beta + 3 * tiny)
    slope = sizes.gamma * (3 * u * (1 + root) + root)
    again = 1 + u
    return _added([(slope * again, sizes.normalized), (scale * (u * again), sizes.x), (u, sizes.output)], floor * again)


def _added(terms: Sequence[tuple[Array | float, Float64]], last: Array) -> Array:
    """Return Σ factor·array + last in one new array of the arrays' shape."""
    (factor, array), *others = terms
    result = np.multiply(array, factor)
    product = np.empty_like(result)
    for other_factor, other in others:
        np.multiply(other, other_factor, out=product)
        np.add(result, product, out=result)
    return np.add(result, last, out=result)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GradientsBound:
    """Bounds on the three gradients."""

    beta: Array
    gamma: Array
    input: Array


def gradients_bound(
    sizes: Sizes, n: Normalization, g: Gradients, root: Array, bound: StatisticsBound, algorithm: Algorithm
) -> GradientsBound:
    """Return the bounds on dβ, dγ (C,) and dx (m, C), derivation in `docs/tolerances.md`.

    They cover the closed form and automatic differentiation through the centred and the folded form, which
    rounds Σgx and c·Σg apart and so loses to their cancellation.
    """
    assert sizes.pull is not None
    assert sizes.total is not None
    u, tiny, height = algorithm.worked.unit, algorithm.worked.tiny, algorithm.height
    count = sizes.x.shape[0]
    stretch, total = 1 + root, sizes.total
    inverse = sizes.inverse_root * stretch
    shifted, reach = inverse * bound.mean, sizes.center + bound.mean
    grad_beta, grad_gamma = size(g.beta), size(g.gamma)
    beta = theta(height, u) * total + (u * grad_beta + tiny)

    products = dot(sizes.pull, sizes.normalized) + shifted * total
    spread = dot(sizes.pull, sizes.x) + reach * total
    error = shifted * grad_beta + root * grad_gamma + theta(height + 4, u) * stretch * products
    error = error + inverse * (theta(height + 3, u) * spread + tiny * count) + tiny * count
    gamma = (1 + u) * error + u * grad_gamma

    again, scale = 1 + 4 * u, sizes.gamma * inverse
    scaled, least = again * scale, tiny * 4 * again * (1 + scale)
    if not n.coupling:
        # x has no part in dx = γ r g, and need not be finite (18.1).
        alone = [(3 * u * scaled, sizes.pull), (again * (root + 4 * u), size(g.input))]
        return GradientsBound(beta=beta, gamma=gamma, input=_added(alone, least))
    # What goes through the mean and the variance: b dβ/m and b κ dγ/m, and the error of the second.
    through = float(n.coupling) / max(1, count)
    slope = (through * float(n.bessel)) * grad_gamma
    slope_error = (through * (float(n.bessel) + 2 * u)) * error + 2 * u * slope
    both = slope + slope_error
    # The error of x̂, wobble = w0 + w1 |x̂| + w2 |x|, gathered by what varies within a feature.
    still = (1 + 2 * u) * shifted + 9 * u * inverse * reach
    fixed = (through * theta(height + 2, u)) * total + (6 * u * through) * grad_beta + still * both
    with_normalized = slope_error + (root + 2 * u) * both + 3 * u * slope
    whole = _added(
        [
            (scaled * with_normalized, sizes.normalized if g.own is n.normalized else size(g.own)),
            (scaled * both * (3 * u * inverse), sizes.x),
            (3 * u * scaled, sizes.pull),
            (again * (root + 4 * u), size(g.input)),
        ],
        scaled * fixed + least,
    )
    return GradientsBound(beta=beta, gamma=gamma, input=whole)

"""How far rounding may take a healthy batch normalization: elementwise, deterministic bounds.

Model: every operation is correctly rounded with unit roundoff u (a root or its reciprocal within 4u), sums
run in any order (the height h of the summation tree is at most m - 1), nothing overflows. Then each
quantity computed by a two-pass or Welford algorithm, centred or folded (y = x·s + (β - c·s)), lies within
these bounds of the exact one. `docs/tolerances.md` derives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.operation import VarianceAlgorithm
from conformance.operations.batch_norm.reference import Gradients, Normalization
from conformance.precision import Precision, theta

Array = np.ndarray[Any, np.dtype[Any]]
Float64 = np.ndarray[Any, np.dtype[np.float64]]

#: Error of 1/sqrt in units of u: 2.5 for a correctly rounded root and division, 4 for hardware's own.
ROOT = 4.0


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

    @property
    def variance(self) -> Array:
        """The bound on the variance's error, either way."""
        return np.maximum(self.above, self.below)


EXACT = StatisticsBound(mean=np.zeros(()), above=np.zeros(()), below=np.zeros(()))


def statistics_bound(x: Array, variance: Array, algorithm: Algorithm) -> StatisticsBound:
    """Return the bounds on batch mean and variance (correction 0).

    mean      δ = θ(h+2) mean|x|
    two-pass  -θ(h+4)(V + δ²) .. θ(h+4)(V + δ²) + δ²       since Σ(x-μ̂)² = mV + mδ² exactly
    Welford   ±(θ(h+6) V + 2√2 σ δw + 2 δw²), δw = θ(h+4) max|x|
    one-pass  ±(θ(h+3) mean x² + 2|μ|δ + δ² + u(|μ|+δ)² + uV): what E[x²] - E[x]² keeps, which is little
    """
    u, tiny, height = algorithm.worked.unit, algorithm.worked.tiny, algorithm.height
    size, variance = _size(x), _size(variance)
    error = theta(height + 2, u) * size.mean(axis=0) + 2 * tiny
    match algorithm.variance:
        case "two_pass":
            below = theta(height + 4, u) * (variance + error**2) + 2 * tiny
            return StatisticsBound(mean=error, above=below + error**2, below=below)
        case "welford":
            running = theta(height + 4, u) * size.max(axis=0)
            either = theta(height + 6, u) * variance + np.sqrt(8 * variance) * running + 2 * running**2 + 2 * tiny
            return StatisticsBound(mean=np.maximum(error, running), above=either, below=either)
        case "one_pass":
            level = _size(x.mean(axis=0))
            squares = theta(height + 3, u) * (size**2).mean(axis=0) + u * variance + u * (level + error) ** 2
            either = squares + 2 * level * error + error**2 + 2 * tiny
            return StatisticsBound(mean=error, above=either, below=either)


def corrected(bound: StatisticsBound, factor: float, variance: Array, u: float) -> StatisticsBound:
    """Return the bounds on the variance times Bessel's factor, itself rounded twice."""
    extra = 2 * u * factor * _size(variance)
    return StatisticsBound(
        mean=bound.mean, above=factor * bound.above * (1 + 2 * u) + extra, below=factor * bound.below + extra
    )


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


def root_bound(variance: Array, epsilon: float, bound: StatisticsBound, u: float) -> Array:
    """Return ρ, the bound on the relative error of (v + ε)^(-1/2).

    With p± = δ±/(v+ε) + 2u (epsilon rounded, the sum rounded), the root moves between (1+p⁺)^(-1/2) and
    (1-p⁻)^(-1/2); no lower than ε^(-1/2) allows, since a sum of squares is never negative.
    """
    total = _size(variance) + epsilon
    up = bound.above / total + 2 * u
    down = bound.below / total + 2 * u
    shrink = 1 - 1 / np.sqrt(1 + up)
    with np.errstate(divide="ignore", invalid="ignore"):
        grow = np.where(down < 1, 1 / np.sqrt(np.maximum(1 - down, np.finfo(float).tiny)) - 1, np.inf)
        ceiling = np.sqrt(total / epsilon) - 1 if epsilon else np.full_like(total, np.inf)
    moved = np.maximum(shrink, np.minimum(grow, np.maximum(ceiling, 2 * u)))
    return np.asarray(moved + ROOT * u * (1 + moved))


def output_bound(n: Normalization, root: Array, bound: StatisticsBound, x: Array, worked: Precision) -> Array:
    """Return the bound on the output, shape (m, C).

    With s = |γ| r (1+ρ): e = s(δ + 3u(|x-c| + δ)) + |γ x̂| ρ + s·u(|x| + 2(|c| + δ)) + u|β|, then one more
    rounding, e + u(|y| + e). The third and fourth terms are the folded form's. Gathered by what varies within a
    feature, with |x-c| = |x̂|/r: e = floor + slope |x̂| + s·u |x|.
    """
    u, tiny = worked.unit, worked.tiny
    gamma = _size(n.gamma)
    scale = gamma * _size(n.inverse_root) * (1 + root)
    floor = scale * (bound.mean * (1 + 5 * u) + 2 * u * _size(n.center)) + u * _size(n.beta) + tiny * (3 + scale)
    slope = gamma * (3 * u * (1 + root) + root)
    error = floor + slope * _size(n.normalized) + scale * u * _size(x)
    return np.asarray(error + u * (_size(n.output) + error))


def _size(array: Array) -> Float64:
    """Return |array| in float64: enough for a bound, whatever the reference is computed in."""
    return np.abs(array).astype(np.float64, copy=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GradientsBound:
    """Bounds on the three gradients."""

    beta: Array
    gamma: Array
    input: Array


def gradients_bound(
    n: Normalization, g: Gradients, root: Array, bound: StatisticsBound, x: Array, upstream: Array, algorithm: Algorithm
) -> GradientsBound:
    """Return the bounds on dβ, dγ (C,) and dx (m, C), derivation in `docs/tolerances.md`.

    They cover the closed form and automatic differentiation through the centred and the folded form, which
    rounds Σgx and c·Σg apart and so loses to their cancellation.
    """
    u, tiny, height = algorithm.worked.unit, algorithm.worked.tiny, algorithm.height
    count = x.shape[0]
    size, pull, normalized = _size(x), _size(upstream), _size(n.normalized)
    inverse = _size(n.inverse_root) * (1 + root)
    total, reach = pull.sum(axis=0), _size(n.center) + bound.mean
    grad_beta, grad_gamma = _size(g.beta), _size(g.gamma)
    beta = theta(height, u) * total + u * grad_beta + tiny

    error = inverse * bound.mean * grad_beta + root * grad_gamma
    products = (pull * normalized).sum(axis=0) + inverse * bound.mean * total
    error = error + theta(height + 4, u) * (1 + root) * products
    spread = (pull * size).sum(axis=0) + reach * total
    error = error + theta(height + 3, u) * inverse * spread + tiny * count * (1 + inverse)
    gamma = error + u * (grad_gamma + error)

    b = float(n.coupling)
    slope = b * float(n.bessel) * grad_gamma / count
    slope_error = b * float(n.bessel) * error / count + 2 * u * (slope + b * error / count)
    level = b * grad_beta / count
    level_error = b * theta(height + 2, u) * total / count
    level_error = level_error + 3 * u * (level + 2 * inverse * reach * (slope + slope_error))
    own = _size(g.own)
    # The error of x̂, wobble = w0 + w1 |x̂| + w2 |x|, gathered by what varies within a feature.
    both = slope + slope_error
    still = inverse * bound.mean * (1 + 2 * u) + 3 * u * inverse * reach
    fixed = level_error + still * both + 3 * u * level
    with_normalized = slope_error + (root + 2 * u) * both + 3 * u * slope
    scale = _size(n.gamma) * inverse
    whole = scale * fixed + tiny * (4 + 4 * scale)
    whole = whole + (scale * with_normalized) * own + (scale * 3 * u * inverse * both) * size
    whole = whole + (scale * 3 * u) * pull
    return GradientsBound(beta=beta, gamma=gamma, input=(whole + _size(g.input) * (root + 4 * u)) * (1 + 4 * u))

"""How far rounding may take a healthy batch renormalization: elementwise bounds on top of those of batch normalization.

The model is that of `conformance.operations.batch_norm.tolerance`; r and d may come from other sums than the
normalization does, so that no error of the two is taken to cancel. `docs/tolerances.md` has the derivation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations.batch_norm import tolerance
from conformance.operations.batch_norm.reference import Gradients
from conformance.operations.batch_norm.tolerance import ROOT, Algorithm, GradientsBound, Sizes, StatisticsBound, size
from conformance.operations.batch_renorm.reference import Correction, Training, averages, composed_gamma, parameters
from conformance.operations.moving import moved_bound, weights
from conformance.operations.situation import Situation
from conformance.precision import Precision, storage_rounding, theta

Array = np.ndarray[Any, np.dtype[Any]]

#: Roundings between x̂, r, d, γ and the output: of x̂·r, of its sum with d, of that by γ; or of γ·r and γ·d. One is spare.
_COMPOSED = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CorrectionBound:
    """Absolute bounds on r and d, each of shape (C,)."""

    r: Array
    d: Array


def deviation_bound(variance: Array, epsilon: float, bound: StatisticsBound, u: float) -> Array:
    """Return ρ, the bound on the relative error of √(v + ε).

    With p± = δ±/(v+ε) + 2u: up to (1+p⁺)^(1/2) - 1, down to 1 - (1-p⁻)^(1/2), which is no more than 1 - (ε/(v+ε))^(1/2)
    since a sum of squares is never negative; and the root's own roundings.
    """
    total = size(variance) + epsilon
    grown = np.sqrt(1 + bound.above / total + 2 * u) - 1
    left = np.maximum(1 - bound.below / total - 2 * u, epsilon / total * (1 - 2 * u))
    moved = np.maximum(grown, 1 - np.sqrt(left))
    return np.asarray(moved + ROOT * u * (1 + moved))


def correction_bound(
    situation: Situation, by: Correction, mean: Array, deviation: Array, worked: Precision
) -> CorrectionBound:
    """Return the bounds on r and d from those on the mean, δ, and on the deviation, ρ (relative).

    r: |r|(ρ + (ψ + 2u)(1 + ρ)), where ψ is 0 where the average divides and (ROOT + 1)u where √ε does.
    d: (δ + u(|μ - R| + δ))/σ·(1 + ψ + 2u) + |d|(ψ + 2u).
    Both before clipping, which brings no two numbers further apart.
    """
    u, tiny = worked.unit, worked.tiny
    divisor, epsilon = size(by.divisor), situation.configuration.epsilon
    near_root = size(situation.state["renorm_deviation"]) < np.sqrt(epsilon) * (1 + 8 * u)
    rooted = np.where(near_root, (ROOT + 1) * u, 0.0) + 2 * u
    r, d = by.free_r.astype(np.float64), by.free_d.astype(np.float64)
    of_r = np.abs(r) * (deviation + rooted * (1 + deviation)) + tiny
    of_d = (mean + u * (np.abs(d) * divisor + mean) + tiny) / divisor * (1 + rooted) + np.abs(d) * rooted + tiny
    limits = by.clipping
    return CorrectionBound(
        r=_clipped(r, of_r, limits.rmin, limits.rmax, u), d=_clipped(d, of_d, -limits.dmax, limits.dmax, u)
    )


def _clipped(value: Array, error: Array, low: float, high: float, u: float) -> Array:
    """Return the bound on clip(v'), v' within `error` of v, the limits rounded: 0 of `error` is left far beyond them."""
    held = np.clip(value, low, high)
    apart = np.maximum(np.clip(value + error, low, high) - held, held - np.clip(value - error, low, high))
    return np.asarray(apart + u * (np.abs(held) + apart))


def averages_bound(
    situation: Situation, step: Training, bound: StatisticsBound, deviation: Array, worked: Precision
) -> dict[str, Array]:
    """Return the bounds on the five averages after the step.

    V = max(S² - ε, 0) from S within e: 2|S|e + e² + u(|S| + e)² + uε + u|V'|, V' the largest it may be. S may be the one
    that is stored: where that is narrower, e has its rounding.
    """
    spread = step.deviation.astype(np.float64) * deviation
    batch = {"mean": (step.statistics.mean, bound.mean), "deviation": (step.deviation, spread)}
    bounds = {}
    for names, decay in averages(situation.configuration):
        weight = weights(situation.dialect, decay, situation.trained, situation.x.dtype.type)
        for name in names:
            value, error = batch[name.rpartition("_")[2]]
            bounds[name] = moved_bound(situation.state[name], value, error, weight, worked)
    u, epsilon = worked.unit, situation.configuration.epsilon
    s = size(step.after["moving_deviation"])
    stored = situation.configuration.parameter_dtype
    e = storage_rounding(bounds["moving_deviation"], s, stored, worked)
    squared = (2 * s + e) * e + u * (s + e) ** 2
    rounded = u * epsilon + u * (size(step.after["moving_variance"]) + squared + u * epsilon)
    return {**bounds, "moving_variance": squared + rounded + 2 * worked.tiny}


def output_bound(
    situation: Situation,
    sizes: Sizes,
    by: Correction,
    wrong: CorrectionBound,
    root: Array,
    bound: StatisticsBound,
    worked: Precision,
) -> Array:
    """Return the bound on y = γ(x̂·r + d) + β, shape (m, C).

    (1 + E_r/r) times the bound of a batch normalization with |γ r| and |γ|(|d| + E_d) + |β|, and what the errors of r
    and d and the roundings between make of it: |γ|((E_r + 4u r)|x̂| + E_d + 4u|d|) + u(|γ d| + |β|).
    """
    u = worked.unit
    gamma, beta = (size(parameter) for parameter in parameters(situation, by.r))
    r, d = size(by.r), size(by.d)
    reach = gamma * (d + wrong.d) + beta
    whole = (1 + wrong.r / r) * tolerance.output_bound(replace(sizes, beta=reach), root, bound, worked)
    slope = gamma * (wrong.r + _COMPOSED * u * r)
    floor = gamma * (wrong.d + _COMPOSED * u * (d + wrong.d)) + u * reach
    return np.asarray(whole + (1 + u) * (slope * sizes.normalized + floor))


def gradients_bound(
    sizes: Sizes,
    step: Training,
    plain: Gradients,
    wrong: CorrectionBound,
    root: Array,
    bound: StatisticsBound,
    algorithm: Algorithm,
) -> GradientsBound:
    """Return the bounds on dβ, dγ = r·Σ(g·x̂) + d·Σg and dx; `plain` are those of the normalization with γ·r.

    dγ: (r + E_r)·E + (E_r + 3u r)Σ|g x̂| + θ(h+6)(|d| + E_d)Σ|g| + E_d|Σg| + u|dγ|, E the bound on Σ(g·x̂).
    dx: (1 + E_r/r) times its bound with |γ r|, and (E_r/r + 2u)|dx|.
    """
    assert sizes.pull is not None
    assert sizes.total is not None
    u, r, d = algorithm.worked.unit, size(step.correction.r), size(step.correction.d)
    bounds = tolerance.gradients_bound(sizes, step.normalization, plain, root, bound, algorithm)
    products = np.einsum("ij,ij->j", sizes.pull, sizes.normalized)
    error = (r + wrong.r) * bounds.gamma + (wrong.r + 3 * u * r) * products
    error = error + theta(algorithm.height + 6, u) * (d + wrong.d) * sizes.total + wrong.d * size(plain.beta)
    composed = size(composed_gamma(step.correction, plain))
    ratio = wrong.r / r
    return GradientsBound(
        beta=bounds.beta,
        gamma=(1 + u) * error + u * composed + algorithm.worked.tiny,
        input=(1 + ratio) * bounds.input + (ratio + 2 * u) * size(plain.input),
    )

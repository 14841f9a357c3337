"""How far rounding may take a healthy masked batch normalization: the bounds of batch normalization, counted anew.

Leaving a value out is exact, whether it is chosen away or multiplied by 0 and added, and so is the count k: the
statistics are those of a batch of k values. Σg and Σg·x̂ run over all m positions. `docs/tolerances.md`, section 10.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations.batch_norm import tolerance
from conformance.operations.batch_norm.reference import Gradients, Normalization, corrected
from conformance.operations.batch_norm.tolerance import Algorithm, GradientsBound, Sizes, StatisticsBound
from conformance.operations.masked_batch_norm.reference import Trained, compact
from conformance.operations.moving import debiasing, moved_bound, weights
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """A class of implementations, by its sums over the k values that count and over all m."""

    counted: Algorithm
    all: Algorithm


def statistics_bound(situation: Situation, trained: Trained, algorithm: Algorithm) -> StatisticsBound:
    """Return the bounds on μ and σ², from the values that count; `algorithm` is one of their sums."""
    sizes = tolerance.sizes(compact(situation), trained.normalization)
    return tolerance.statistics_bound(sizes, trained.statistics.mean, trained.statistics.variance, algorithm)


def moving_bounds(
    situation: Situation, trained: Trained, bound: StatisticsBound, algorithm: Algorithm
) -> tuple[Array, Array]:
    """Return the bounds on M and V after the step; Bessel's factor, in a dialect, is k/(k - 1)."""
    dialect, decay, statistics = situation.dialect, situation.configuration.decay, trained.statistics
    worked, count = algorithm.worked, statistics.count
    weight = weights(dialect, decay, situation.trained, situation.x.dtype.type)
    debiased = debiasing(dialect, decay, situation.trained)
    entering = bound
    if dialect.moving_correction and count > 1:
        entering = tolerance.corrected(bound, count / (count - 1), statistics.variance, worked.unit)
    old_mean, old_variance = situation.state["moving_mean"], situation.state["moving_variance"]
    batch = corrected(statistics, dialect.moving_correction)
    return (
        moved_bound(old_mean, statistics.mean, bound.mean, weight, worked, debiased),
        moved_bound(old_variance, batch, entering.variance, weight, worked, debiased),
    )


def gradients_bound(
    sizes: Sizes,
    n: Normalization,
    g: Gradients,
    root: Array,
    bound: StatisticsBound,
    counted: Array,
    algorithm: Algorithm,
) -> GradientsBound:
    """Return the bounds on dβ, dγ (C,) and dx (m, C).

    Where a position counts, dx = γ r (g - b dβ/m - b x̂ dγ/m) with the coupling b = m/k: batch normalization's own
    bound. Where it does not, dx = γ r g is within (ρ + 4u)|dx| + 3u|γ| r (1 + ρ)|g|, as in inference.
    """
    u, tiny = algorithm.worked.unit, algorithm.worked.tiny
    coupled = replace(n, coupling=len(sizes.x) / max(1, int(counted.sum())))
    whole = tolerance.gradients_bound(sizes, coupled, g, root, bound, algorithm)
    assert sizes.pull is not None
    scale = sizes.gamma * sizes.inverse_root * (1 + root)
    again = 1 + 4 * u
    free = again * (3 * u * scale * sizes.pull + (root + 4 * u) * tolerance.size(g.input) + 4 * tiny * (1 + scale))
    return replace(whole, input=np.where(counted[:, np.newaxis], whole.input, free))

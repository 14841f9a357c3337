"""Batch normalization with a mask in more precision than is judged: `spec/semantics.md`, section 22.

Arrays are (m, C), the mask is (m,); k of the m positions count, the same for every feature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations.batch_norm.reference import (
    Gradients,
    Normalization,
    Statistics,
    batch_statistics,
    moving_values,
    normalize,
    total,
)
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What one train step of a batch with at least one value that counts comes to."""

    #: Shape (m,): which positions count.
    counted: Array
    statistics: Statistics
    #: The moving mean and variance after the step.
    after: tuple[Array, Array]
    normalization: Normalization


def counts(situation: Situation) -> Array:
    """Return which positions count, shape (m,): all of them where the step has no mask."""
    mask = situation.arrays.get("mask")
    return np.ones(situation.x.shape[0], dtype=np.bool_) if mask is None else mask


def compact(situation: Situation) -> Situation:
    """Return the situation of the positions that count alone: batch normalization of them, clause 22.2."""
    counted = counts(situation)
    upstream = None if situation.upstream is None else situation.upstream[counted]
    return replace(situation, x=situation.x[counted], upstream=upstream, arrays={})


def training(situation: Situation) -> Trained:
    """Return the statistics of the k values that count, and the transform of all m by them.

    μ = Σ'x/k and σ² = Σ'(x - μ)²/k, Σ' over the positions that count; clauses 22.2, 22.5 and 22.6.
    """
    counted = counts(situation)
    statistics = batch_statistics(situation.x[counted])
    return Trained(
        counted=counted,
        statistics=statistics,
        after=moving_values(situation, statistics),
        normalization=normalize(situation, statistics.mean, statistics.variance, 1.0),
    )


def gradients(n: Normalization, upstream: Array, counted: Array) -> Gradients:
    """Return the three gradients, clause 22.7: every position is normalized, those that count alone move μ and σ².

    dβ = Σ g
    dγ = Σ g x̂
    dx = γ r (g - w (dβ + x̂ dγ)/k), w 1 where the position counts and 0 elsewhere
    """
    grad_beta, grad_gamma = total(upstream), total(upstream * n.normalized)
    scale = n.gamma * n.inverse_root
    count = n.deviation.dtype.type(counted.sum())
    through = (grad_beta + n.normalized * n.share * grad_gamma) / count
    # A choice, not a product: a value that does not count may be no number.
    pull = np.where(counted[:, np.newaxis], upstream - through, upstream)
    return Gradients(beta=grad_beta, gamma=grad_gamma, input=scale * pull, own=n.normalized)

"""Batch normalization in more precision than is judged: one function per equation of `spec/semantics.md`.

Arrays are (m, C): m values of each of C features; statistics are (C,). Ioffe and Szegedy 2015, algorithm 1
and section 3; the gradients keep epsilon, which the paper's own form does too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.operations.batch_norm import overflow
from conformance.operations.batch_norm.expectations import MOVING
from conformance.operations.frozen import replace
from conformance.operations.kept import kept, kept_by_situation
from conformance.operations.moving import Weights, moved, weights
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]

#: Sums shorter than this are as good row after row.
_PAIRWISE_FROM = 32
#: Of more rows than NumPy's iterators buffer, einsum adds in an order that depends on how many columns there are.
_EINSUM_UPTO = 8192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """What training takes from the batch."""

    count: int
    mean: Array
    variance: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Normalization:
    """The normalizing transform and all that its error depends on."""

    gamma: Array
    beta: Array
    center: Array
    variance: Array
    #: How far the center and variance follow the batch: 1 in training, 0 in inference.
    coupling: float | np.floating[Any]
    #: Factor of Bessel's correction inside the variance's dependence on the batch.
    bessel: float | np.floating[Any]
    #: Whether the variance is that of all values so far, merged.
    merged: bool
    deviation: Array
    inverse_root: Array
    normalized: Array
    output: Array
    #: Under a hypothesis, the share of the gradient through the variance that is left; else 1.
    share: Array | float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gradients:
    """The gradients of the loss whose gradient with respect to the output is given."""

    beta: Array
    gamma: Array
    input: Array
    #: κ (x - μ) r: what the gradient of the variance is proportional to; x̂ where the batch normalizes.
    own: Array


def total(values: Array) -> Array:
    """Return the sum over the rows of each feature.

    NumPy adds pairwise along a contiguous axis alone, and row after row otherwise: extended precision is not so
    much wider than float64 that the longer sum would do.
    """
    if values.dtype == np.float64 or values.shape[0] < _PAIRWISE_FROM:
        return np.asarray(np.add.reduce(values, axis=0))
    return np.asarray(np.add.reduce(np.ascontiguousarray(values.T), axis=-1))


def dot(one: Array, other: Array) -> Array:
    """Return Σab over the rows of each feature: the same whatever the features beside it."""
    if len(one) > _EINSUM_UPTO:
        return np.asarray(np.add.reduce(one * other, axis=0))
    return np.asarray(np.einsum("ij,ij->j", one, other))


def batch_mean(x: Array) -> Array:
    """Return μ = (1/m) Σ x, with one correction by the mean of the remainders."""
    mean = total(x) / x.shape[0]
    return np.asarray(mean + total(x - mean) / x.shape[0])


@kept
def batch_statistics(x: Array) -> Statistics:
    """Return count, mean and variance (correction 0) of each feature of the batch.

    With d the remainders about a first mean: μ = first + Σd/m and σ² = (Σd² - (Σd)²/m)/m. Chan, Golub and LeVeque
    1983, equation 1.7: the second term removes the error of the first mean.
    """
    count = x.shape[0]
    first = total(x) / count
    remainder = x - first
    rest = total(remainder)
    np.multiply(remainder, remainder, out=remainder)
    return Statistics(count=count, mean=first + rest / count, variance=(total(remainder) - rest * rest / count) / count)


def normalize(
    situation: Situation,
    center: Array,
    variance: Array,
    coupling: float | np.floating[Any],
    bessel: float | np.floating[Any] = 1.0,
) -> Normalization:
    """Return y = γ (x - c) (v + ε)^(-1/2) + β and its intermediates.

    An infinite variance stands for one beyond the range of its dtype: nothing can be normalized by it, clause 18.4.
    """
    gamma, beta = situation.state.get("gamma"), situation.state.get("beta")
    gamma = np.ones_like(center) if gamma is None else gamma
    beta = np.zeros_like(center) if beta is None else beta
    deviation = situation.x - center
    of_batch = coupling == 1
    inverse_root = overflow.inverse(situation, deviation, center, variance, root(variance, situation), of_batch)
    normalized = deviation * inverse_root
    return Normalization(
        gamma=gamma,
        beta=beta,
        center=center,
        variance=variance,
        coupling=coupling,
        bessel=bessel,
        merged=situation.dialect.update == "merge",
        deviation=deviation,
        inverse_root=inverse_root,
        normalized=normalized,
        output=gamma * normalized + beta,
        share=overflow.share(situation, variance, inverse_root),
    )


def root(variance: Array, situation: Situation) -> Array:
    """Return (v + ε)^(1/2), or what stands for it under a hypothesis about epsilon."""
    epsilon = situation.x.dtype.type(situation.least)
    match situation.epsilon:
        case "inside":
            return np.asarray(np.sqrt(variance + epsilon))
        case "outside":
            return np.asarray(np.sqrt(variance) + epsilon)
        case "floor":
            return np.asarray(np.sqrt(np.maximum(variance, epsilon)))


def gradients(normalization: Normalization, upstream: Array, x: Array) -> Gradients:
    """Return the three gradients for the upstream gradient g, with x̂ the normalized input.

    dβ = Σ g
    dγ = Σ g x̂
    dx = γ r (g - b Σg/m - b κ (x - μ) r dγ/m)

    b is the coupling: 1 where the batch normalizes, so that dx = γ r (g - dβ/m - x̂ dγ/m); 0 where the
    moving values do, so that dx = γ r g; 1 - a where the moving values after their update do. κ is Bessel's
    factor m/(m-1) where the normalizing variance is corrected.
    """
    grad_beta = total(upstream)
    grad_gamma = total(upstream * normalization.normalized)
    scale = normalization.gamma * normalization.inverse_root
    if not normalization.coupling:
        return Gradients(beta=grad_beta, gamma=grad_gamma, input=scale * upstream, own=normalization.normalized)
    count = x.shape[0]
    coupling, bessel = x.dtype.type(normalization.coupling), x.dtype.type(normalization.bessel)
    if coupling == 1 and bessel == 1:
        own = normalization.normalized
    else:
        mean = batch_mean(x)
        # A merged variance follows the batch by its mean as well: κ (x - μ) + (μ - M') in place of κ (x - μ).
        drift = mean - normalization.center if normalization.merged else x.dtype.type(0)
        own = (bessel * (x - mean) + drift) * normalization.inverse_root
    through = coupling * grad_beta / count + own * (normalization.share * coupling * grad_gamma / count)
    return Gradients(beta=grad_beta, gamma=grad_gamma, input=scale * (upstream - through), own=own)


def corrected(statistics: Statistics, correction: int) -> Array:
    """Return the batch variance times m / max(m - correction, 1): 0 for one value, clause 8.2."""
    if not correction:
        return statistics.variance
    count = statistics.variance.dtype.type(statistics.count)
    return np.asarray(statistics.variance * (count / max(statistics.count - correction, 1)))


def moving_variance_batch(situation: Situation, statistics: Statistics) -> Array:
    """Return the batch variance that enters the moving variance, corrected as the dialect has it."""
    return corrected(statistics, situation.dialect.moving_correction)


def moving_values(situation: Situation, statistics: Statistics) -> tuple[Array, Array]:
    """Return the moving mean and variance after the step, those before it where they are neither wanted nor used."""
    if situation.wanted.isdisjoint(MOVING) and situation.wanted and situation.dialect.normalizes_with != "moving_after":
        return situation.state["moving_mean"], situation.state["moving_variance"]
    weight = _weights(situation)
    old_mean, old_variance = situation.state["moving_mean"], situation.state["moving_variance"]
    mean = moved(old_mean, statistics.mean, weight)
    variance = moved(old_variance, moving_variance_batch(situation, statistics), weight)
    if situation.dialect.update == "merge" and situation.trained:
        # Chan, Golub and LeVeque 1983, equation 2.1b, for equal batches: the spread between the two means.
        variance = variance + weight[0] * weight[1] * (old_mean - statistics.mean) ** 2
    return mean, variance


def moving(situation: Situation) -> tuple[Statistics, tuple[Array, Array]]:
    """Return the batch's statistics and the moving values after one train step."""
    statistics = batch_statistics(situation.x)
    if situation.overflows:
        statistics = replace(statistics, variance=overflow.clipped(situation, statistics.variance))
    return statistics, moving_values(situation, statistics)


@kept_by_situation
def training(situation: Situation) -> tuple[Statistics, tuple[Array, Array], Normalization]:
    """Return the batch's statistics, the moving values after the step, and the transform of one train step."""
    dialect = situation.dialect
    statistics, after = moving(situation)
    count = statistics.count
    match dialect.normalizes_with:
        case "batch":
            correction = dialect.normalizing_correction
            variance = corrected(statistics, correction)
            bessel = situation.x.dtype.type(count) / (count - correction) if count > correction else 1.0
            return statistics, after, normalize(situation, statistics.mean, variance, 1.0, bessel)
        case "moving_before":
            before = situation.state["moving_mean"], situation.state["moving_variance"]
            return statistics, after, normalize(situation, *before, 0.0)
        case "moving_after":
            batch_weight = _weights(situation)[1]
            assert not isinstance(batch_weight, np.ndarray)  # several decays are for moving values alone
            correction = dialect.moving_correction
            bessel = situation.x.dtype.type(count) / (count - correction) if count > correction else 1.0
            return statistics, after, normalize(situation, *after, batch_weight, bessel)


def _weights(situation: Situation) -> Weights:
    return weights(situation.dialect, situation.decay, situation.trained, situation.x.dtype.type)


@kept_by_situation
def inference(situation: Situation) -> Normalization:
    """Return the transform of one inference step: by the moving values, which stay."""
    return normalize(situation, situation.state["moving_mean"], situation.state["moving_variance"], 0.0)

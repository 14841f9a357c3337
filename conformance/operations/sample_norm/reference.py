"""Normalization by statistics of each group of a sample's values, in more precision than is judged.

Arrays are (k, R), k values of each of R groups, and (R,); gamma, beta and their gradients are (C,).
Ba, Kiros and Hinton 2016, section 3; Zhang and Sennrich 2019, equation 4; Wu and He 2018, equations 1 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations.batch_norm import overflow
from conformance.operations.batch_norm import reference as of_batch
from conformance.operations.sample_norm.groups import Kind, gathered, scattered
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gradients:
    """What the backward pass gives, and what its error depends on."""

    #: ĝ = γ·g, (k, R).
    pull: Array
    #: Σĝ, 0 where no mean is subtracted, and Σĝ·x̂, (R,).
    level: Array
    slope: Array
    input: Array
    gamma: Array
    beta: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Numbers:
    """One pass of every group, and all that its error depends on."""

    #: The flat positions of every group's values, (R, k), and the shape (m, C) that they are positions in.
    members: Array
    shape: tuple[int, ...]
    x: Array
    #: Gamma, one added where the configuration says so, and beta, as they meet each value: (k, R).
    gamma: Array
    beta: Array
    center: Array
    #: What the root is taken of, epsilon apart: the variance, or the mean square.
    variance: Array
    #: Bessel's factor in the variance.
    bessel: float | np.floating[Any]
    inverse_root: Array
    #: How much more of the gradient goes through the root: 1 where epsilon is inside it.
    share: Array | float
    normalized: Array
    output: Array
    gradients: Gradients | None

    def in_rows(self, by_group: Array) -> Array:
        """Return values by group as (m, C)."""
        return scattered(by_group, self.members, self.shape)


def computed(kind: Kind, situation: Situation) -> Numbers:
    """Return y = γ·x̂ + β, x̂ = (x - c)·r, and where an upstream gradient is given what comes back from it.

    dβ = Σ g,   dγ = Σ g·x̂   over every value of the feature;
    dx = r·(ĝ - Σĝ/k - x̂·Σ(ĝ·x̂)/k),   ĝ = γ·g   over the group; without the middle term where no mean is subtracted.
    """
    members = kind.members(situation)
    x = gathered(situation.x, members)
    placed = _placed(situation)
    count = max(1, len(x))
    if kind.centred:
        statistics = of_batch.batch_statistics(x) if x.size else _of_nothing(x)
        center = statistics.mean
        correction = situation.dialect.normalizing_correction
        variance = of_batch.corrected(statistics, correction)
        bessel = x.dtype.type(count) / (count - correction) if count > correction else 1.0
    else:
        center = np.zeros(x.shape[1], dtype=x.dtype)
        variance, bessel = of_batch.total(x * x) / count, 1.0
    variance = overflow.clipped(placed, variance)
    deviation = x - center
    root = of_batch.root(variance, placed)
    inverse_root = overflow.inverse(placed, deviation, center, variance, root, of_batch=True)
    if not kind.centred:
        # Clause 29.7: an infinity among the values, none of them NaN, divides the finite ones to 0.
        inverse_root = np.where(np.isinf(x).any(axis=0) & ~np.isnan(x).any(axis=0), 0, inverse_root)
    share = overflow.share(placed, variance, inverse_root)
    if placed.epsilon == "outside":
        share = share * root / np.sqrt(variance)
    gamma, beta = (_met(name, situation, members) for name in ("gamma", "beta"))
    normalized = deviation * inverse_root
    numbers = Numbers(
        members=members,
        shape=situation.x.shape,
        x=x,
        gamma=gamma,
        beta=beta,
        center=center,
        variance=variance,
        bessel=bessel,
        inverse_root=inverse_root,
        share=share,
        normalized=normalized,
        output=gamma * normalized + beta,
        gradients=None,
    )
    if situation.upstream is None:
        return numbers
    return replace(numbers, gradients=_gradients(kind, numbers, situation.upstream))


def _gradients(kind: Kind, n: Numbers, upstream: Array) -> Gradients:
    pull = n.gamma * gathered(upstream, n.members)
    count = max(1, len(n.x))
    slope = of_batch.total(pull * n.normalized)
    level = of_batch.total(pull) if kind.centred else np.zeros_like(slope)
    through = level / count + n.normalized * (n.bessel * n.share * slope / count)
    return Gradients(
        pull=pull,
        level=level,
        slope=slope,
        input=n.inverse_root * (pull - through),
        gamma=of_batch.total(upstream * n.in_rows(n.normalized)),
        beta=of_batch.total(upstream),
    )


def _placed(situation: Situation) -> Situation:
    """Return the situation with epsilon where the configuration has it; under a hypothesis it is elsewhere already."""
    if situation.epsilon == "inside" and situation.configuration.options.get("epsilon") == "outside":
        return replace(situation, epsilon="outside")
    return situation


def _met(name: str, situation: Situation, members: Array) -> Array:
    """Return gamma or beta as it meets each value."""
    neutral = 1 if name == "gamma" else 0
    held = situation.state.get(name)
    if held is None:
        return np.full(members.shape[::-1], neutral, dtype=situation.x.dtype)
    if name == "gamma" and situation.configuration.options.get("unit_offset"):
        held = 1 + held
    return gathered(np.broadcast_to(held, situation.x.shape), members)


def _of_nothing(x: Array) -> of_batch.Statistics:
    none = np.zeros(x.shape[1], dtype=x.dtype)
    return of_batch.Statistics(count=max(1, len(x)), mean=none, variance=none)

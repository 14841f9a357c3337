"""Batch renormalization in more precision than is judged: one function per equation of `spec/semantics.md`, section 23.

Arrays are (m, C), statistics (C,). Ioffe 2017, algorithm 1: batch normalization followed by x̂·r + d, where r and d
carry the batch's own statistics to slow averages of them and are constants of the backward pass. The composition is
a batch normalization with γ' = γ·r and β' = γ·d + β, which is how it is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.reference import Gradients, Normalization, Statistics
from conformance.operations.batch_renorm.options import Clipping, clipping, renorm_decay
from conformance.operations.moving import moved, weights
from conformance.operations.situation import Situation
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Correction:
    """What carries the batch's statistics to the averages, each of shape (C,)."""

    r: Array
    d: Array
    #: The same before clipping.
    free_r: Array
    free_d: Array
    #: max(σ, √ε): what both are divided by.
    divisor: Array
    #: The limits of this very step.
    clipping: Clipping


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Training:
    """One train step."""

    statistics: Statistics
    #: √(σ²+ε) of the batch.
    deviation: Array
    correction: Correction
    #: The state after the step, gamma and beta aside.
    after: Mapping[str, Array]
    #: With γ·r for gamma and γ·d + β for beta.
    normalization: Normalization


def training(situation: Situation) -> Training:
    """Return one train step: by the averages before it, which then move."""
    statistics = reference.batch_statistics(situation.x)
    deviation = reference.root(statistics.variance, situation)
    by = correction(situation, statistics.mean, deviation)
    return Training(
        statistics=statistics,
        deviation=deviation,
        correction=by,
        after=moved_averages(situation, statistics.mean, deviation),
        normalization=composed(situation, statistics, by),
    )


def correction(situation: Situation, mean: Array, deviation: Array) -> Correction:
    """Return r = clip(σB/σ, rmin, rmax) and d = clip((μ - μr)/σ, -dmax, dmax), with σ the average, at least √ε."""
    wide, limits = situation.x.dtype.type, clipping(situation.configuration, situation.trained)
    least = np.sqrt(wide(situation.configuration.epsilon))
    divisor = np.maximum(situation.state["renorm_deviation"], least)
    free_r, free_d = deviation / divisor, (mean - situation.state["renorm_mean"]) / divisor
    return Correction(
        r=np.clip(free_r, wide(limits.rmin), wide(limits.rmax)),
        d=np.clip(free_d, -wide(limits.dmax), wide(limits.dmax)),
        free_r=free_r,
        free_d=free_d,
        divisor=divisor,
        clipping=limits,
    )


def composed(situation: Situation, statistics: Statistics, by: Correction) -> Normalization:
    """Return y = γ(x̂·r + d) + β as the normalizing transform with γ·r and γ·d + β."""
    gamma, beta = parameters(situation, by.r)
    state = {**situation.state, "gamma": gamma * by.r, "beta": gamma * by.d + beta}
    return reference.normalize(replace(situation, state=state), statistics.mean, statistics.variance, 1.0)


def parameters(situation: Situation, like: Array) -> tuple[Array, Array]:
    """Return γ and β, which are 1 and 0 where the configuration has none."""
    gamma, beta = situation.state.get("gamma"), situation.state.get("beta")
    return np.ones_like(like) if gamma is None else gamma, np.zeros_like(like) if beta is None else beta


def quantities(step: Training, plain: Gradients | None) -> dict[str, Array]:
    """Return what the step gives and leaves; `plain` are the gradients of the composed normalization, or None."""
    values = {
        "batch_mean": step.statistics.mean,
        "batch_variance": step.statistics.variance,
        **step.after,
        "output": step.normalization.output,
    }
    if plain is None:
        return values
    return {
        **values,
        "grad_gamma": composed_gamma(step.correction, plain),
        "grad_beta": plain.beta,
        "grad_input": plain.input,
    }


def composed_gamma(by: Correction, plain: Gradients) -> Array:
    """Return dγ = r·Σ(g·x̂) + d·Σg; dβ and dx are those of the composed normalization, r and d being constants."""
    return np.asarray(by.r * plain.gamma + by.d * plain.beta)


def moved_averages(situation: Situation, mean: Array, deviation: Array) -> dict[str, Array]:
    """Return the averages after the step, each pair with its own decay, and V = max(S² - ε, 0)."""
    configuration, state = situation.configuration, situation.state
    after = {}
    for names, decay in averages(configuration):
        weight = weights(situation.dialect, decay, situation.trained, situation.x.dtype.type)
        for name, batch in zip(names, (mean, deviation), strict=True):
            after[name] = moved(state[name], batch, weight)
    return {**after, "moving_variance": variance_of(situation, after["moving_deviation"])}


def averages(configuration: Configuration) -> tuple[tuple[tuple[str, str], float], ...]:
    """Return the pairs of averages, a mean and a deviation, with the decay of each."""
    return (
        (("moving_mean", "moving_deviation"), configuration.decay),
        (("renorm_mean", "renorm_deviation"), renorm_decay(configuration)),
    )


def variance_of(situation: Situation, deviation: Array) -> Array:
    """Return V = max(S² - ε, 0): what makes √(V+ε) of inference the averaged deviation S."""
    return np.asarray(np.maximum(deviation**2 - situation.x.dtype.type(situation.configuration.epsilon), 0))

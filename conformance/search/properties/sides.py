"""What identities compare of their related cases: the sides that more than one of them has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from conformance.search.properties.identity import Array, Evidence, Ground, Sides, near, same

Compare = Callable[[Ground, Evidence], Sides]


def agree(quantity: str) -> Compare:
    """Compare a quantity of the first steps of both arms, which may be apart by the bounds of both."""

    def compare(_ground: Ground, evidence: Evidence) -> Sides:
        first, second = evidence[0][0], evidence[1][0]
        return near(quantity, first.got[quantity], second.got[quantity], first.bound[quantity] + second.bound[quantity])

    return compare


def bits(quantity: str, factor: float = 1.0) -> Compare:
    """Compare a quantity of both arms, the first times a power of two, which must have the same bits."""

    def compare(_ground: Ground, evidence: Evidence) -> Sides:
        return same(quantity, evidence[0][0].got[quantity] * factor, evidence[1][0].got[quantity])

    return compare


def adds_up(quantity: str) -> Compare:
    """Compare the sum of a quantity over the positions with zero."""

    def compare(_ground: Ground, evidence: Evidence) -> Sides:
        seen = evidence[0][0]
        total = seen.got[quantity].sum(axis=0)
        return near(quantity, total, np.zeros_like(total), seen.bound[quantity].sum(axis=0))

    return compare


def statistics(ground: Ground) -> tuple[Array, Array, Array]:
    """Return mean, variance and inverse root of the batch in extended precision."""
    x = ground.x.astype(np.longdouble)
    mean = x.mean(axis=0)
    variance = np.square(x - mean).mean(axis=0)
    return mean, variance, 1 / np.sqrt(variance + np.longdouble(ground.epsilon))


def permuted_bits(ground: Ground, evidence: Evidence) -> Sides:
    """Compare the outputs in the other order, to the bit."""
    return same("output", evidence[0][0].got["output"][ground.order], evidence[1][0].got["output"])


def closed_form(ground: Ground, evidence: Evidence) -> Sides:
    """Compare M after three steps with a³·M₀ + (1 - a³)·μ; a step adds its own bound to what is left of the last one's."""
    mean, a = statistics(ground)[0], np.longdouble(ground.decay)
    allowed = np.zeros_like(mean)
    for seen in evidence[0]:
        allowed = a * allowed + seen.bound["moving_mean"]
    right = a**3 * ground.state["moving_mean"] + (1 - a**3) * mean
    return near("moving_mean", evidence[0][2].got["moving_mean"], right, allowed)

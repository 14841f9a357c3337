"""What the identities of layer, RMS, group and instance normalization compare of their related cases.

Of a group of k values: q = Σ(x - μ)²/k, where μ is their mean, or 0 in RMS normalization; r = (q + ε)^(-1/2),
x̂ = (x - μ)·r and ĝ = γ·g. B is the bound of a quantity, that of `docs/tolerances.md` for the very step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from conformance.search.properties.identity import Array, Evidence, Ground, Sides, near, same
from conformance.search.properties.sample_norm_arms import in_reverse
from conformance.search.properties.sample_norm_groups import Groups


def odd(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare the output of the negated input with the negated output; adding 0 makes the zeros of both alike."""
    return same("output", 0 - evidence[0][0].got["output"], 0 + evidence[1][0].got["output"])


def in_order(quantity: str) -> Callable[[Ground, Evidence], Sides]:
    """Compare a quantity of the input's shape with that of the samples in the reverse order."""

    def compare(ground: Ground, evidence: Evidence) -> Sides:
        first, second = evidence[0][0], evidence[1][0]
        allowed = in_reverse(ground, first.bound[quantity]) + second.bound[quantity]
        return near(quantity, in_reverse(ground, first.got[quantity]), second.got[quantity], allowed)

    return compare


def of_first(quantity: str) -> Callable[[Ground, Evidence], Sides]:
    """Compare a quantity of the first sample."""

    def compare(ground: Ground, evidence: Evidence) -> Sides:
        first, second, count = evidence[0][0], evidence[1][0], len(ground.x) // ground.samples
        allowed = first.bound[quantity][:count] + second.bound[quantity][:count]
        return near(quantity, first.got[quantity][:count], second.got[quantity][:count], allowed)

    return compare


def exchanged_gradients(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare the input gradients in the other order of the features."""
    first, second = evidence[0][0], evidence[1][0]
    allowed = first.bound["grad_input"][:, ::-1] + second.bound["grad_input"]
    return near("grad_input", first.got["grad_input"][:, ::-1], second.got["grad_input"], allowed)


def twice(quantity: str) -> Callable[[Ground, Evidence], Sides]:
    """Compare twice a sum over the batch with that of every sample twice."""

    def compare(_ground: Ground, evidence: Evidence) -> Sides:
        first, second = evidence[0][0], evidence[1][0]
        allowed = 2 * first.bound[quantity] + second.bound[quantity]
        return near(quantity, 2 * first.got[quantity], second.got[quantity], allowed)

    return compare


def train_is_inference(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare the outputs of both passes."""
    trained, inferred = evidence[0]
    allowed = trained.bound["output"] + inferred.bound["output"]
    return near("output", trained.got["output"], inferred.got["output"], allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByGroup:
    """What identities compare of sums over a group."""

    groups: Groups
    centred: bool

    def deviations(self, ground: Ground) -> tuple[Array, Array]:
        """Return x - μ and q of each group in extended precision."""
        x = self.groups(ground, ground.x).astype(np.longdouble)
        deviation = x - x.mean(axis=0) if self.centred else x
        return deviation, np.square(deviation).mean(axis=0)

    def adds_up(self, quantity: str) -> Callable[[Ground, Evidence], Sides]:
        """Compare the sum of a quantity over a group with zero."""

        def compare(ground: Ground, evidence: Evidence) -> Sides:
            seen = evidence[0][0]
            total = self.groups(ground, seen.got[quantity]).sum(axis=0)
            allowed = self.groups(ground, seen.bound[quantity]).sum(axis=0)
            return near(quantity, total, np.zeros_like(total), allowed)

        return compare

    def square_of_outputs(self, ground: Ground, evidence: Evidence) -> Sides:
        """Compare the mean square of x̂ with q/(q + ε)."""
        seen, (_, square) = evidence[0][0], self.deviations(ground)
        output, bound = (self.groups(ground, values["output"]) for values in (seen.got, seen.bound))
        allowed = (2 * np.abs(output) * bound + np.square(bound)).mean(axis=0)
        right = square / (square + np.longdouble(ground.epsilon))
        return near("output", np.square(output).mean(axis=0), right, allowed)

    def euler(self, ground: Ground, evidence: Evidence) -> Sides:
        """Compare Σ(x - μ)·dx with ε·r²·Σĝ·x̂."""
        seen, (deviation, square) = evidence[0][0], self.deviations(ground)
        reach = square + np.longdouble(ground.epsilon)
        pulled = self.groups(ground, _by_value(ground, ground.state["gamma"]) * ground.upstream)
        right = np.longdouble(ground.epsilon) / reach * (pulled * deviation).sum(axis=0) / np.sqrt(reach)
        gradient, bound = (self.groups(ground, values["grad_input"]) for values in (seen.got, seen.bound))
        allowed = (np.abs(deviation) * bound).sum(axis=0)
        return near("grad_input", (deviation * gradient).sum(axis=0), right, allowed)

    def symmetric(self, ground: Ground, evidence: Evidence) -> Sides:
        """Compare Σγ·h·dx(g) with Σγ·g·dx(h): ∂x̂/∂x is symmetric, and γ is before and behind it."""
        first, second = evidence[0][0], evidence[1][0]
        gamma = _by_value(ground, ground.state["gamma"])
        one, other = gamma * ground.pull, gamma * ground.upstream
        left = self.groups(ground, one * first.got["grad_input"]).sum(axis=0)
        right = self.groups(ground, other * second.got["grad_input"]).sum(axis=0)
        allowed = np.abs(one) * first.bound["grad_input"] + np.abs(other) * second.bound["grad_input"]
        return near("grad_input", left, right, self.groups(ground, allowed).sum(axis=0))


def _by_value(ground: Ground, parameter: Array) -> Array:
    return np.broadcast_to(parameter, ground.x.shape)

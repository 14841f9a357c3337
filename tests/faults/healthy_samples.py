"""Healthy ways to compute a step of layer, RMS, group or instance normalization in float32, which no bound may fail.

Each is a way to compute batch normalization (`healthy.VARIANTS`) whose columns are the groups of a step: arrays are (k, R),
k values of each of R groups, and gamma and beta vary within a group. Their gradients are sums over the rows, (m, C).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.faults.healthy import (
    Array,
    Sums,
    Variant,
    branches,
    branches_folded,
    by_reciprocal,
    closed_of_deviations,
    wide,
    wide_one_pass,
)


@dataclass(frozen=True)
class Groups:
    """Where the values of each group are."""

    #: Flat positions in (m, C), one row a group.
    members: Array
    #: (samples, positions, features), which the m rows are in.
    shape: tuple[int, int, int]
    #: Whether each group has all positions of its features.
    folds: bool

    def gathered(self, rows: Array) -> Array:
        return np.ascontiguousarray(rows.reshape(-1)[self.members].T)

    def in_rows(self, by_group: Array) -> Array:
        placed = np.empty(self.members.size, by_group.dtype)
        placed[self.members] = np.broadcast_to(by_group, self.members.shape[::-1]).T
        return placed.reshape(-1, self.shape[2])


def train(
    variant: Variant, op: str, groups: Groups, x: Array, g: Array, state: Mapping[str, Array], configured: Any
) -> dict[str, Array]:
    """Return what a train step gives; x and g are (m, C)."""
    t, options = x.dtype.type, configured.options
    own = groups.gathered(x)
    gained = t(1) + state["gamma"] if options.get("unit_offset") else state["gamma"]
    gamma, beta = (groups.gathered(np.broadcast_to(value, x.shape)) for value in (gained, state["beta"]))
    pull = groups.gathered(g) * gamma
    if op == "rms_norm":
        mean, variance = np.zeros_like(own[0]), _mean_square(variant, own)
    else:
        mean, variance = variant.statistics(own, variant.sums)
    outside = options.get("epsilon") == "outside"
    epsilon = t(configured.epsilon)
    inverse = t(1) / (np.sqrt(variance) + epsilon) if outside else variant.root(variance + epsilon)
    if op == "rms_norm":
        back = _rms_gradient(variant, own, pull, variance, inverse, epsilon, outside=outside)
    else:
        _, _, back = variant.gradients(own, pull, mean, inverse, np.ones_like(mean), variant.sums)
    normalized = groups.in_rows((own - mean) * inverse)
    result = {
        "output": groups.in_rows(variant.output(own, mean, inverse, gamma, beta)),
        "grad_input": groups.in_rows(back),
        "grad_gamma": variant.sums(g * normalized),
        "grad_beta": variant.sums(g),
    }
    if groups.folds and variant.gradients is branches_folded:
        result["grad_gamma"] = _folded(variant.sums, groups, x, g, mean, inverse)
    return result | (
        _moved(variant, groups, mean, variance, state, t(configured.decay)) if options.get("tracked") else {}
    )


def _mean_square(variant: Variant, x: Array) -> Array:
    t = x.dtype.type
    if variant.statistics in (wide, wide_one_pass):
        return np.asarray(np.square(x.astype(np.float64)).mean(axis=0).astype(x.dtype))
    if variant.statistics is by_reciprocal:
        return np.asarray(variant.sums(x * x) * (t(1) / t(len(x))))
    return np.asarray(variant.sums(x * x) / t(len(x)))


def _rms_gradient(
    variant: Variant, x: Array, pull: Array, square: Array, inverse: Array, epsilon: Any, *, outside: bool
) -> Array:
    """r·(ĝ - x̂·Σĝx̂/k), by the closed form, with the root taken out of the sum, or by a branch through the mean square."""
    t = x.dtype.type
    count = t(len(x))
    if variant.gradients in (branches, branches_folded):
        slope = inverse * inverse / np.sqrt(square) if outside else inverse * inverse * inverse
        through = variant.sums(pull * x) * t(-0.5) * slope
        return np.asarray(pull * inverse + through * (t(2) * x / count))
    share = (np.sqrt(square) + epsilon) / np.sqrt(square) if outside else t(1)
    if variant.gradients is closed_of_deviations:
        return np.asarray((pull - x * (variant.sums(pull * x) * inverse * inverse / count * share)) * inverse)
    normalized = x * inverse
    return np.asarray(inverse * (pull - normalized * (variant.sums(pull * normalized) / count * share)))


def _folded(sums: Sums, groups: Groups, x: Array, g: Array, mean: Array, inverse: Array) -> Array:
    """Of each sample and feature r·(Σgx - μΣg), added up over the samples."""
    samples, length, features = groups.shape
    shape = samples, length, features

    def by_position(rows: Array) -> Array:
        return np.ascontiguousarray(rows.reshape(shape).transpose(1, 0, 2).reshape(length, -1))

    center, root = (groups.in_rows(value).reshape(shape)[:, 0].reshape(-1) for value in (mean, inverse))
    parts = (sums(by_position(g * x)) - center * sums(by_position(g))) * root
    return sums(parts.reshape(samples, features))


def _moved(
    variant: Variant, groups: Groups, mean: Array, variance: Array, state: Mapping[str, Array], decay: Any
) -> dict[str, Array]:
    samples, _, features = groups.shape
    count = mean.dtype.type(samples)
    average = {
        name: variant.sums(value.reshape(samples, features)) / count
        for name, value in (("moving_mean", mean), ("moving_variance", variance))
    }
    return {name: variant.moved(state[name], value, decay) for name, value in average.items()}

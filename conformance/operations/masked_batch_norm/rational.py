"""Masked batch normalization in fractions: the second reference of `spec/semantics.md`, section 22.

Written from the clauses alone, as `conformance.operations.rational` is, whose arithmetic it uses. The gradient is the chain rule
through μ = Σwx/k and σ² = Σw(x - μ)²/k, term by term, where the first reference has its closed form.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from fractions import Fraction

from conformance.operations.batch_norm import rational as plain
from conformance.operations.batch_norm.rational import Moments
from conformance.operations.rational import (
    Feature,
    Numbers,
    Passes,
    Quantities,
    Rule,
    by_feature,
    inverse_root,
    mean,
    summed,
    variance,
)


def train(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a masked train step; M and V alone, as they were, where no value counts (22.8)."""
    mask = feature.mask or [True] * len(feature.x)
    counted = list(itertools.compress(feature.x, mask))
    moving = plain.moving_of(feature)
    if not feature.x:
        return plain.train(feature, rule)
    if not counted:
        return _moments(moving, "moving")
    entering = Moments(mean=mean(counted), variance=variance(counted, rule.dialect.moving_correction))
    batch = Moments(mean=mean(counted), variance=variance(counted))
    quantities = _moments(batch, "batch") | _moments(plain.moved_moments(rule, moving, entering), "moving")
    return quantities | _transformed(feature, rule, batch, mask)


def _moments(moments: Moments, kind: str) -> Quantities:
    return {
        f"{kind}_{name}": None if value is None else [value]
        for name, value in (("mean", moments.mean), ("variance", moments.variance))
    }


def _transformed(feature: Feature, rule: Rule, batch: Moments, mask: list[bool]) -> Quantities:
    """Return the output of every position, counted or not, and the gradients, clauses 22.5 and 22.7."""
    assert batch.mean is not None
    assert batch.variance is not None
    gamma, beta = plain.gamma_of(feature), plain.beta_of(feature)
    root = inverse_root(batch.variance + rule.epsilon)
    produced = {"output", "grad_input", "grad_gamma"}
    if root is None:
        quantities: Quantities = dict.fromkeys(produced if feature.upstream else {"output"})
        return quantities if "gamma" in feature.state else {key: None for key in quantities if key != "grad_gamma"}
    deviation = [x - batch.mean for x in feature.x]
    quantities = {"output": [gamma * root * difference + beta for difference in deviation]}
    g = feature.upstream
    if g is None:
        return quantities
    if "beta" in feature.state:
        quantities["grad_beta"] = [summed(g)]
    if "gamma" in feature.state:
        quantities["grad_gamma"] = [_dot(g, deviation) * root]
    return quantities | {"grad_input": _grad_input(g, deviation, mask, gamma * root, root)}


def _grad_input(g: Numbers, deviation: Numbers, mask: list[bool], scale: Fraction, root: Fraction) -> Numbers:
    """Return dx = γrg + w(dL/dμ·dμ/dx + dL/dσ²·dσ²/dx), with dμ/dx = 1/k and dσ²/dx = 2(x - μ)/k for w = 1."""
    share = Fraction(1, sum(mask))
    to_variance = -scale * root * root * _dot(g, deviation) / 2
    # Through μ the variance does not move, Σw(x - μ) being 0.
    to_mean = -scale * summed(g)
    return [
        scale * upstream + ((to_mean + 2 * to_variance * difference) * share if counts else 0)
        for upstream, difference, counts in zip(g, deviation, mask, strict=True)
    ]


def _dot(one: Iterable[Fraction], other: Iterable[Fraction]) -> Fraction:
    return summed(a * b for a, b in zip(one, other, strict=True))


PASSES = Passes(train=by_feature(train), infer=plain.PASSES.infer)

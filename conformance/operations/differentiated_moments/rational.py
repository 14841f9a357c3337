"""The gradient of a loss of mean and variance by exact rational arithmetic: clause 26.9."""

from __future__ import annotations

from fractions import Fraction

from conformance.operations.moments import rational as moments
from conformance.operations.rational import Feature, Passes, Quantities, Rule, by_feature, summed


def train(feature: Feature, rule: Rule) -> Quantities:
    """Return the moments, and dL/dx by the chain rule through dL/dμ and dL/dσ², μ within σ² included."""
    quantities = moments.moments(feature, rule)
    mean = quantities["batch_mean"]
    if feature.upstream is None or mean is None:
        return quantities
    share = Fraction(1, len(feature.x))
    pull = summed(feature.upstream)
    to_deviation = [2 * pull * (x - mean[0]) * share for x in feature.x]
    to_mean = pull - summed(to_deviation)
    return quantities | {"grad_input": [to_mean * share + through for through in to_deviation]}


PASSES = Passes(train=by_feature(train), infer=by_feature(train))

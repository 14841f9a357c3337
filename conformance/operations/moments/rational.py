"""Mean and variance of a batch by exact rational arithmetic: clause 27.1."""

from __future__ import annotations

from fractions import Fraction

from conformance.operations.rational import Feature, Passes, Quantities, Rule, by_feature, summed


def moments(feature: Feature, rule: Rule) -> Quantities:
    """Return mean and variance of the feature's values."""
    del rule
    count = Fraction(len(feature.x))
    if not count:
        return {"batch_mean": None, "batch_variance": None}
    mean = summed(feature.x) / count
    return {"batch_mean": [mean], "batch_variance": [summed((x - mean) ** 2 for x in feature.x) / count]}


PASSES = Passes(train=by_feature(moments), infer=by_feature(moments))

"""Weighted mean and variance of a batch by exact rational arithmetic: clauses 32.1 and 32.2."""

from __future__ import annotations

from conformance.operations.rational import Feature, Passes, Quantities, Rule, by_feature, summed


def moments(feature: Feature, rule: Rule) -> Quantities:
    """Return mean and variance as the first and second moments about the mean; none where nothing has a weight."""
    del rule
    pairs = list(zip(feature.arrays["weights"], feature.x, strict=True))
    total = summed(weight for weight, _ in pairs)
    if not total:
        return {"batch_mean": None, "batch_variance": None}
    mean = summed(weight * value for weight, value in pairs) / total
    squares = summed(weight * value * value for weight, value in pairs) / total
    return {"batch_mean": [mean], "batch_variance": [squares - mean * mean]}


PASSES = Passes(train=by_feature(moments), infer=by_feature(moments))

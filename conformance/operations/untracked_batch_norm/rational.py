"""A step that normalizes with its own batch and keeps nothing of it, by exact rational arithmetic: clause 26.7."""

from __future__ import annotations

from fractions import Fraction

from conformance.operations.batch_norm.rational import Moments, entered, train
from conformance.operations.rational import Feature, Passes, Quantities, Rule, by_feature


def performed(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a train or an inference step."""
    # Its moving values normalize nothing, and are kept by nobody.
    quantities = train(entered(feature, Moments(mean=Fraction(0), variance=Fraction(1))), rule)
    return {name: numbers for name, numbers in quantities.items() if name not in ("moving_mean", "moving_variance")}


PASSES = Passes(train=by_feature(performed), infer=by_feature(performed))

"""A step that normalizes with its own batch and keeps nothing of it, by exact rational arithmetic: clause 26.7."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from conformance.operations.rational import Feature, Moments, Quantities, Rule, train_batch_norm


def performed(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a train or an inference step."""
    beside = replace(feature, moving=Moments(mean=Fraction(0), variance=Fraction(1)))
    found = train_batch_norm(beside, rule)
    return {name: each for name, each in found.items() if name not in ("moving_mean", "moving_variance")}

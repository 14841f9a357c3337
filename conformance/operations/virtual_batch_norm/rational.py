"""A train step in virtual batches by exact rational arithmetic: clauses 25.1 to 25.4."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from conformance.operations.batch_norm import rational
from conformance.operations.batch_norm.rational import Moments
from conformance.operations.rational import Feature, Numbers, Passes, Quantities, Rule, by_feature


def train(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a train step: the parts one after another, each from the moving values left to it."""
    parts = max(1, feature.samples // int(rule.options["virtual_batch"]))
    if not feature.x:
        return rational.train(feature, rule)
    joined: dict[str, Numbers | None] = {}
    moving = rational.moving_of(feature)
    for number, part in enumerate(_parts(feature, parts)):
        quantities = rational.train(
            rational.entered(part, moving), replace(rule, trained=rule.trained * parts + number)
        )
        mean, variance = quantities["moving_mean"], quantities["moving_variance"]
        moving = Moments(mean=mean[0] if mean else None, variance=variance[0] if variance else None)
        for name in ("output", "grad_input"):
            if name in quantities:
                joined[name] = _both(joined.get(name, []), quantities[name])
        for name in ("grad_gamma", "grad_beta"):
            if name in quantities:
                joined[name] = _sum(joined.get(name, [Fraction()]), quantities[name])
    return {
        **joined,
        "moving_mean": None if moving.mean is None else [moving.mean],
        "moving_variance": None if moving.variance is None else [moving.variance],
    }


def _parts(feature: Feature, parts: int) -> list[Feature]:
    size = len(feature.x) // parts
    ends = [(start, start + size) for start in range(0, len(feature.x), size)]
    upstream = feature.upstream
    return [
        replace(
            feature,
            x=feature.x[a:b],
            upstream=None if upstream is None else upstream[a:b],
            samples=feature.samples // parts,
        )
        for a, b in ends
    ]


def _both(first: Numbers | None, second: Numbers | None) -> Numbers | None:
    return None if first is None or second is None else [*first, *second]


def _sum(first: Numbers | None, second: Numbers | None) -> Numbers | None:
    return None if first is None or second is None else [a + b for a, b in zip(first, second, strict=True)]


PASSES = Passes(train=by_feature(train), infer=rational.PASSES.infer)

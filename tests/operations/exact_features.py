"""One feature in exact numbers, and the rule of a step on it."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

from conformance.dialect import Dialect
from conformance.operations.rational import Feature, Numbers, Quantities, Rule

#: What an inverse root cut at 256 bits leaves of an identity, with room: 2^-256 is 1e-77.
NOTHING = Fraction(1, 10**50)
F = Fraction


def numbers(*values: float | Fraction) -> Numbers:
    return [Fraction(value) for value in values]


def rule(epsilon: float | Fraction = 0, decay: float | Fraction = 0.25, trained: int = 0, **fields: Any) -> Rule:
    return Rule(dialect=Dialect(**fields), decay=F(decay), epsilon=F(epsilon), trained=trained)


def feature(x: Numbers, upstream: Numbers | None = None, **fields: Any) -> Feature:
    state = {"gamma": F(3), "beta": F(-1), "moving_mean": F(2), "moving_variance": F(8), **fields}
    return Feature(x=x, upstream=upstream, state={name: value for name, value in state.items() if value is not None})


def drawn(seed: int, count: int) -> Feature:
    """A feature of random dyadic numbers, some way from zero."""
    draw = random.Random(seed)

    def number() -> Fraction:
        return F(draw.randrange(-(2**20), 2**20), 2**17)

    x, g = ([number() for _ in range(count)] for _ in range(2))
    state = {"moving_mean": number(), "moving_variance": abs(number()) + 1, "gamma": number(), "beta": number()}
    return Feature(x=[value + 40 for value in x], upstream=g, state=state)


def plain(quantities: Quantities) -> dict[str, Any]:
    """The quantities as they compare with whole numbers."""
    return dict(quantities)


def of(quantities: Quantities, name: str) -> Numbers:
    found = quantities[name]
    assert found is not None
    return found


def total(values: Any) -> Fraction:
    return sum(values, Fraction())

"""The further derivatives of batch normalization by exact rational arithmetic: clauses 26.4 to 26.6 and 26.8.

A dual number p + q·t with t² = 0 carries a value and its slope along the direction; the formulas of training, and of the
input's gradient, are evaluated on them, and nothing is differentiated by hand. A second derivative takes t³ = 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from conformance.operations.batch_norm import rational as plain
from conformance.operations.rational import Feature, Numbers, Passes, Quantities, Rule, by_feature, inverse_root, summed

#: Orders of differentiation whose results the symmetry of second derivatives makes equal.
_MIXED = ("second_grad_input", "forward_over_reverse", "reverse_over_forward")


@dataclass(frozen=True, slots=True)
class Dual:
    """A value and its slope."""

    value: Fraction
    slope: Fraction = Fraction(0)

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, self.slope + other.slope)

    def __sub__(self, other: Dual) -> Dual:
        return Dual(self.value - other.value, self.slope - other.slope)

    def __mul__(self, other: Dual) -> Dual:
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)


@dataclass(frozen=True, slots=True)
class Jet:
    """p + q·t + s·t² with t³ = 0: a value, its slope, and half of its second derivative."""

    value: Fraction
    slope: Fraction = Fraction(0)
    bend: Fraction = Fraction(0)

    def __add__(self, other: Jet) -> Jet:
        return Jet(self.value + other.value, self.slope + other.slope, self.bend + other.bend)

    def __sub__(self, other: Jet) -> Jet:
        return Jet(self.value - other.value, self.slope - other.slope, self.bend - other.bend)

    def __mul__(self, other: Jet) -> Jet:
        return Jet(
            self.value * other.value,
            self.value * other.slope + self.slope * other.value,
            self.value * other.bend + self.slope * other.slope + self.bend * other.value,
        )


def train(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a train step."""
    quantities = plain.train(feature, rule)
    tangent, upstream = feature.arrays.get("tangent"), feature.upstream
    if not feature.x or tangent is None or upstream is None:
        return quantities
    x = [Dual(value, slope) for value, slope in zip(feature.x, tangent, strict=True)]
    center = _mean(x)
    deviations = [value - center for value in x]
    spread = _mean([deviation * deviation for deviation in deviations]) + Dual(rule.epsilon)
    root = inverse_root(spread.value)
    if root is None:
        return quantities | dict.fromkeys(_names(feature))
    # d(s^(-1/2)) = -s^(-1/2)/(2s) ds.
    inverse = Dual(root, -root / (2 * spread.value) * spread.slope)
    normalized = [deviation * inverse for deviation in deviations]
    gamma = Dual(plain.gamma_of(feature))
    pulled = _pulled(upstream, normalized, inverse)
    back = [gamma * pull for pull in pulled]
    again = [gamma * pull for pull in _pulled(tangent, normalized, inverse)]
    return quantities | {
        "tangent_output": [(gamma * x_hat).slope for x_hat in normalized],
        "second_grad_upstream": [dual.value for dual in again],
        **{name: [dual.slope for dual in back] for name in _MIXED},
        "forward_over_forward": _twice(feature.x, tangent, root, rule.epsilon, gamma.value),
        **_at_gamma(feature, tangent, [pull.value for pull in pulled]),
    }


def infer(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of an inference step: y is affine in x."""
    quantities = plain.infer(feature, rule)
    tangent, upstream = feature.arrays.get("tangent"), feature.upstream
    if not feature.x or tangent is None or upstream is None:
        return quantities
    variance = plain.moving_of(feature).variance
    root = None if variance is None else inverse_root(variance + rule.epsilon)
    if root is None:
        return quantities | dict.fromkeys(_names(feature))
    scale = root * plain.gamma_of(feature)
    along = [scale * slope for slope in tangent]
    return quantities | {
        "tangent_output": along,
        "second_grad_upstream": along,
        **dict.fromkeys((*_MIXED, "forward_over_forward"), [Fraction(0)] * len(along)),
        **_at_gamma(feature, tangent, [root * gradient for gradient in upstream]),
    }


def _pulled(upstream: Numbers, normalized: list[Dual], inverse: Dual) -> list[Dual]:
    """Return dx of clause 11.3 for γ = 1."""
    g = [Dual(gradient) for gradient in upstream]
    level, along = _mean(g), _mean([pull * x_hat for pull, x_hat in zip(g, normalized, strict=True)])
    return [inverse * (pull - level - x_hat * along) for pull, x_hat in zip(g, normalized, strict=True)]


def _mean(values: Iterable[Dual]) -> Dual:
    duals = list(values)
    return Dual(
        sum(dual.value for dual in duals) / Fraction(len(duals)),
        sum(dual.slope for dual in duals) / Fraction(len(duals)),
    )


def _twice(x: Numbers, tangent: Numbers, root: Fraction, epsilon: Fraction, gamma: Fraction) -> Numbers:
    """Return the second derivative of the output along the direction."""
    count = Jet(Fraction(1, len(x)))
    jets = [Jet(value, slope) for value, slope in zip(x, tangent, strict=True)]
    mean = sum(jets, Jet(Fraction(0))) * count
    deviations = [jet - mean for jet in jets]
    spread = sum((deviation * deviation for deviation in deviations), Jet(Fraction(0))) * count + Jet(epsilon)
    # (s(1 + e))^(-1/2) = s^(-1/2)(1 - e/2 + 3e²/8), where e has no value of its own.
    slope, bend = spread.slope / spread.value, spread.bend / spread.value
    inverse = Jet(root, -root * slope / 2, root * (3 * slope * slope / 8 - bend / 2))
    return [2 * gamma * (deviation * inverse).bend for deviation in deviations]


def _at_gamma(feature: Feature, tangent: Numbers, pulled: Numbers) -> Quantities:
    """Return the derivative of ⟨v, dx⟩ by γ, of which dx is a multiple."""
    if "gamma" not in feature.state:
        return {}
    return {"second_grad_gamma": [summed(v * pull for v, pull in zip(tangent, pulled, strict=True))]}


def _names(feature: Feature) -> list[str]:
    names = ["tangent_output", "second_grad_upstream", *_MIXED, "forward_over_forward"]
    return names if "gamma" not in feature.state else [*names, "second_grad_gamma"]


PASSES = Passes(train=by_feature(train), infer=by_feature(infer))

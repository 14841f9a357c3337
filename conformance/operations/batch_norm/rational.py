"""Batch normalization of one feature by exact arithmetic: the second reference of `spec/semantics.md`, sections 3 to 17.

It shares no formula and no code with the first one beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from conformance.operations.rational import (
    Feature,
    Numbers,
    Passes,
    Quantities,
    Rule,
    by_feature,
    inverse_root,
    mean,
    moved,
    summed,
    variance,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """A mean and a variance, of a batch or moving; None where there is no such number."""

    mean: Fraction | None
    variance: Fraction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """What normalizes, y = γ(x - c)r + β with r = (v + ε)^(-1/2), and how it follows the values of the batch."""

    center: Fraction
    #: v + ε.
    total: Fraction
    root: Fraction
    #: dc/dx, the same for every value.
    pull: Fraction = Fraction(0)
    #: dv/dx = spread·(x - μ) + lean.
    spread: Fraction = Fraction(0)
    lean: Fraction = Fraction(0)


def moving_of(feature: Feature) -> Moments:
    """Return the moving mean and variance before the step."""
    return Moments(mean=feature.state.get("moving_mean"), variance=feature.state.get("moving_variance"))


def entered(feature: Feature, moving: Moments) -> Feature:
    """Return the feature with other moving values before the step; one that is None is none."""
    held = {"moving_mean": moving.mean, "moving_variance": moving.variance}
    others = {name: value for name, value in feature.state.items() if name not in held}
    return replace(feature, state=others | {name: value for name, value in held.items() if value is not None})


def gamma_of(feature: Feature) -> Fraction:
    """Return γ, which is 1 where there is none."""
    return feature.state.get("gamma", Fraction(1))


def beta_of(feature: Feature) -> Fraction:
    """Return β, which is 0 where there is none."""
    return feature.state.get("beta", Fraction())


def pooled(rule: Rule, old: Moments, batch: Moments) -> Fraction | None:
    """Return the variance of all batches together, all of one size: the mean of the squares less the square's."""
    if old.mean is None or old.variance is None or batch.mean is None or batch.variance is None:
        return None
    k = rule.trained + 1
    squares = rule.trained * (old.variance + old.mean**2) + batch.variance + batch.mean**2
    return squares / k - ((rule.trained * old.mean + batch.mean) / k) ** 2


def moved_moments(rule: Rule, old: Moments, batch: Moments) -> Moments:
    """Return the moving mean and variance after a train step."""
    assert old.mean is not None
    after = moved(rule, old.mean, batch.mean)
    if rule.dialect.update == "merge":
        return Moments(mean=after, variance=pooled(rule, old, batch))
    return Moments(mean=after, variance=None if old.variance is None else moved(rule, old.variance, batch.variance))


def output(feature: Feature, by: Transform) -> Numbers:
    """Return y = γ·(x - c)·r + β, clauses 5.1 and 6.1, as a multiple of x and what is the same everywhere."""
    factor = gamma_of(feature) * by.root
    level = beta_of(feature) - factor * by.center
    return [factor * value + level for value in feature.x]


def grad_beta(upstream: Numbers) -> Fraction:
    """Return dβ = Σg, clause 11.1."""
    return summed(upstream)


def grad_gamma(feature: Feature, upstream: Numbers, by: Transform) -> Fraction:
    """Return dγ = Σ(g·x̂), clauses 11.2 and 12.2."""
    return by.root * _moment(feature, upstream, by)


def grad_input(feature: Feature, upstream: Numbers, by: Transform) -> Numbers:
    """Return dx by the chain rule, clauses 11.3 and 12.1.

    dL/dc = -γ r Σg and dL/dv = -γ r³ Σg(x - c)/2, so that dx = γ r g + dL/dc·dc/dx + dL/dv·dv/dx.
    """
    scale = gamma_of(feature) * by.root
    if not (by.pull or by.spread or by.lean):
        return [scale * g for g in upstream]
    to_center = -scale * grad_beta(upstream)
    to_variance = -scale / by.total * _moment(feature, upstream, by) / 2
    slope = to_variance * by.spread
    level = to_center * by.pull + to_variance * by.lean - slope * mean(feature.x)
    return [scale * g + slope * x + level for g, x in zip(upstream, feature.x, strict=True)]


def train(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a train step of batch normalization."""
    x, dialect = feature.x, rule.dialect
    if not x or (len(x) == 1 and dialect.single_value == "identity"):
        return _untouched(feature)
    batch = Moments(mean=mean(x), variance=variance(x))
    entering = Moments(mean=batch.mean, variance=variance(x, dialect.moving_correction))
    after = moved_moments(rule, moving_of(feature), entering)
    return {
        "batch_mean": _one(batch.mean),
        "batch_variance": _one(batch.variance),
        "moving_mean": _one(after.mean),
        "moving_variance": _one(after.variance),
        **_normalized(feature, _training(feature, rule, after)),
    }


def infer(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of an inference step of batch normalization, clauses 10.1 and 12."""
    return _normalized(feature, _by(moving_of(feature), rule))


def _training(feature: Feature, rule: Rule, after: Moments) -> Transform | None:
    """Return what normalizes in training: the batch, clause 9.1, or what a dialect takes in its place."""
    x, dialect = feature.x, rule.dialect
    match dialect.normalizes_with:
        case "batch":
            correction = dialect.normalizing_correction
            moments = Moments(mean=mean(x), variance=variance(x, correction))
            return _by(moments, rule, **_following(x, Fraction(1), correction))
        case "moving_before":
            return _by(moving_of(feature), rule)
        case "moving_after":
            # What one unit of the batch's mean adds to the moving one: every update is affine in it.
            share = moved(rule, Fraction(0), Fraction(1)) or Fraction(0)
            following = _following(x, share, dialect.moving_correction)
            if dialect.update == "merge" and after.mean is not None:
                # The pooled variance follows the mean as well: dV/dμ = 2(μ - M)/k, M the mean of all batches.
                following["lean"] = 2 * share * (mean(x) - after.mean) / len(x)
            return _by(after, rule, **following)


def _following(x: Numbers, share: Fraction, correction: int) -> dict[str, Fraction]:
    """Return how a center and a variance follow the values, where the batch's own have that share in them."""
    spread = 2 * share / (len(x) - correction) if len(x) > correction else Fraction(0)
    return {"pull": share / len(x), "spread": spread}


def _by(moments: Moments, rule: Rule, **following: Fraction) -> Transform | None:
    if moments.mean is None or moments.variance is None:
        return None
    total = moments.variance + rule.epsilon
    root = inverse_root(total)
    return None if root is None else Transform(center=moments.mean, total=total, root=root, **following)


def _normalized(feature: Feature, by: Transform | None) -> Quantities:
    quantities: Quantities = {"output": None if by is None else output(feature, by)}
    upstream = feature.upstream
    if upstream is None:
        return quantities
    quantities["grad_input"] = None if by is None else grad_input(feature, upstream, by)
    if "gamma" in feature.state:
        quantities["grad_gamma"] = None if by is None else [grad_gamma(feature, upstream, by)]
    if "beta" in feature.state:
        quantities["grad_beta"] = [grad_beta(upstream)]
    return quantities


def _untouched(feature: Feature) -> Quantities:
    """Return what leaves every value and the state as they are: clauses 16.1 and 16.2, and a dialect of 17.1."""
    quantities: Quantities = {
        "output": feature.x,
        "moving_mean": _one(feature.state.get("moving_mean")),
        "moving_variance": _one(feature.state.get("moving_variance")),
    }
    if feature.upstream is None:
        return quantities
    quantities["grad_input"] = feature.upstream
    if not feature.x:
        quantities |= no_gradients(feature)
    return quantities


def no_gradients(feature: Feature) -> Quantities:
    """Return the gradients of γ and β, as far as there are any, over no values."""
    return {f"grad_{name}": [Fraction(0)] for name in ("gamma", "beta") if name in feature.state}


def _moment(feature: Feature, upstream: Numbers, by: Transform) -> Fraction:
    """Return Σg(x - c) = Σgx - cΣg."""
    return summed(g * x for g, x in zip(upstream, feature.x, strict=True)) - by.center * summed(upstream)


def _one(number: Fraction | None) -> Numbers | None:
    return None if number is None else [number]


PASSES = Passes(train=by_feature(train), infer=by_feature(infer))

"""The numbers of one step by exact rational arithmetic: the second reference, against which the first is checked.

Written from `spec/semantics.md` alone, on Python's fractions: it shares no formula and no code with
`conformance.operations` or `conformance.operations.moving`. Only (v + ε)^(-1/2) is irrational; it is a fraction within a
relative 2^-256 of it. Every function is of one feature; None stands where mathematics gives no number, as for
0/0. NaN and infinity are no fractions, and outside its domain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

from conformance.dialect import Dialect

Numbers: TypeAlias = list[Fraction]
#: A list of m numbers, or of one, by the name of the quantity; None where there is no number.
Quantities: TypeAlias = dict[str, Numbers | None]

#: Significant bits of an inverse root that is irrational.
BITS = 256


class NotFiniteError(ValueError):
    """A NaN or an infinity, which no fraction is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a step does with the numbers of every feature."""

    dialect: Dialect
    decay: Fraction
    epsilon: Fraction
    #: Train steps before this one that moved the state.
    trained: int = 0
    #: What the operation is told beyond these.
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """A mean and a variance, of a batch or moving; None where there is no such number."""

    mean: Fraction | None
    variance: Fraction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """The values of one feature at one step, and its state before it."""

    x: Numbers
    #: The gradient with respect to the output; None where the step asks for none.
    upstream: Numbers | None = None
    #: None without scale: then γ is 1, and has no gradient.
    gamma: Fraction | None = None
    #: None without center: then β is 0, and has no gradient.
    beta: Fraction | None = None
    moving: Moments
    #: All of the state by name, for the operations that have more of it.
    state: Mapping[str, Fraction] = field(default_factory=dict)
    #: The length of the input's first axis: as many runs of values are of one sample each.
    samples: int = 0
    #: What the step has beside its input and upstream gradient, of their shape, by name.
    arrays: Mapping[str, Numbers] = field(default_factory=dict)
    #: Which of the values count, where the step has a mask.
    mask: list[bool] | None = None


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


def rationals(values: Iterable[float]) -> Numbers:
    """Return the values as they are, as fractions. Raises `NotFiniteError`."""
    found = []
    for value in values:
        if not math.isfinite(value):
            raise NotFiniteError(f"{value} is no fraction: exact arithmetic has finite numbers only")
        found.append(Fraction(value))
    return found


def columns(array: Any, feature_axes: Sequence[int]) -> list[list[float]]:
    """Return the values of each feature of an array of up to 64-bit floats, clauses 2.1 to 2.4.

    Features are in row-major order of their axes, the values of each in that of the other axes.
    """
    shape = array.shape
    found: list[list[float]] = [[] for _ in range(math.prod(shape[axis] for axis in feature_axes))]
    values = array.astype("float64").reshape(-1).tolist()
    for index, value in zip(itertools.product(*map(range, shape)), values, strict=True):
        feature = 0
        for axis in feature_axes:
            feature = feature * shape[axis] + index[axis]
        found[feature].append(value)
    return found


def mean(x: Numbers) -> Fraction:
    """Return μ = Σx/m, clause 3.1."""
    return sum(x, Fraction()) / len(x)


def variance(x: Numbers, correction: int = 0) -> Fraction:
    """Return Σ(x - μ)²/(m - correction), clauses 4.1 and 8.2: 0 for one value."""
    center = mean(x)
    return sum(((value - center) ** 2 for value in x), Fraction()) / max(len(x) - correction, 1)


def inverse_root(total: Fraction, bits: int = BITS) -> Fraction | None:
    """Return total^(-1/2): exactly where it is rational, else from below within a relative 2^-bits."""
    if total <= 0:
        return None
    up, down = math.isqrt(total.numerator), math.isqrt(total.denominator)
    if up * up == total.numerator and down * down == total.denominator:
        return Fraction(down, up)
    # floor(√(4^s / total)) has more than `bits` bits, and is below the root by less than its last one.
    shift = bits + 1 + (total.numerator.bit_length() - total.denominator.bit_length() + 1) // 2
    numerator = total.denominator << max(0, 2 * shift)
    denominator = total.numerator << max(0, -2 * shift)
    return math.isqrt(numerator // denominator) / Fraction(2) ** shift


def moved(rule: Rule, old: Fraction, batch: Fraction | None) -> Fraction | None:
    """Return the moving value after a train step, clause 7.1 and its dialects.

    `zero_debiased` keeps a hidden average h that begins at 0 and shows h/(1 - a^k) after k steps (Kingma and
    Ba 2015, section 3); `cumulative` and `merge` show the mean of all k batches.
    """
    a, k = rule.decay, rule.trained + 1
    match rule.dialect.update:
        case "none":
            return old
        case "exponential" if a == 1:
            return old
        case "first_batch" if k > 1 and a == 1:
            return old
        case _ if batch is None:
            return None
        case "first_batch" if k == 1:
            return batch
        case "exponential" | "first_batch":
            return a * old + (1 - a) * batch
        case "zero_debiased" if a == 1:
            return None
        case "zero_debiased":
            hidden = a * (old * (1 - a**rule.trained)) + (1 - a) * batch
            return hidden / (1 - a**k)
        case "cumulative" | "merge":
            return (rule.trained * old + batch) / k


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
    """Return y = γ·(x - c)·r + β, clauses 5.1 and 6.1."""
    factor, beta = _gamma(feature) * by.root, feature.beta or Fraction()
    return [factor * (value - by.center) + beta for value in feature.x]


def grad_beta(upstream: Numbers) -> Fraction:
    """Return dβ = Σg, clause 11.1."""
    return sum(upstream, Fraction())


def grad_gamma(feature: Feature, upstream: Numbers, by: Transform) -> Fraction:
    """Return dγ = Σ(g·x̂), clauses 11.2 and 12.2."""
    return by.root * _moment(feature, upstream, by)


def grad_input(feature: Feature, upstream: Numbers, by: Transform) -> Numbers:
    """Return dx by the chain rule, clauses 11.3 and 12.1.

    dL/dc = -γ r Σg and dL/dv = -γ r³ Σg(x - c)/2, so that dx = γ r g + dL/dc·dc/dx + dL/dv·dv/dx.
    """
    scale = _gamma(feature) * by.root
    if not (by.pull or by.spread or by.lean):
        return [scale * g for g in upstream]
    to_center = -scale * grad_beta(upstream)
    to_variance = -scale / by.total * _moment(feature, upstream, by) / 2
    level = to_center * by.pull + to_variance * by.lean
    slope, center = to_variance * by.spread, mean(feature.x)
    return [scale * g + level + slope * (x - center) for g, x in zip(upstream, feature.x, strict=True)]


def descended(parameter: Fraction, rate: Fraction, gradient: Fraction) -> Fraction:
    """Return p - η·g, clause 11.5."""
    return parameter - rate * gradient


def train_batch_norm(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a train step of batch normalization."""
    x, dialect = feature.x, rule.dialect
    if not x or (len(x) == 1 and dialect.single_value == "identity"):
        return _untouched(feature)
    batch = Moments(mean=mean(x), variance=variance(x))
    entering = Moments(mean=batch.mean, variance=variance(x, dialect.moving_correction))
    after = moved_moments(rule, feature.moving, entering)
    return {
        "batch_mean": _one(batch.mean),
        "batch_variance": _one(batch.variance),
        "moving_mean": _one(after.mean),
        "moving_variance": _one(after.variance),
        **_normalized(feature, _training(feature, rule, after)),
    }


def infer_batch_norm(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of an inference step of batch normalization, clauses 10.1 and 12."""
    return _normalized(feature, _by(feature.moving, rule))


def train_centering(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a train step of centering, clauses 20.1 to 20.5 and 20.7."""
    x, old, upstream = feature.x, feature.moving.mean, feature.upstream
    assert old is not None
    if not x:
        return {"output": [], "moving_mean": [old], **({} if upstream is None else {"grad_input": []})}
    batch = mean(x)
    after = moved(rule, old, batch)
    center: Fraction | None = batch
    share: Fraction | None = Fraction(1)
    match rule.dialect.normalizes_with:
        case "batch":
            pass
        case "moving_before":
            center, share = old, Fraction(0)
        case "moving_after":
            # What one unit of the batch's mean adds to the moving one: every update is affine in it.
            center, share = after, moved(rule, Fraction(0), Fraction(1))
    found: Quantities = {"batch_mean": [batch], "moving_mean": _one(after)}
    found["output"] = None if center is None else [value - center for value in x]
    if upstream is not None:
        found["grad_input"] = None if share is None else [g - share * mean(upstream) for g in upstream]
    return found


def infer_centering(feature: Feature, rule: Rule) -> Quantities:  # noqa: ARG001 - inference follows no rule
    """Return every quantity of an inference step of centering, clauses 20.4 to 20.6."""
    center = feature.moving.mean
    assert center is not None
    found: Quantities = {"output": [value - center for value in feature.x]}
    return found if feature.upstream is None else {**found, "grad_input": feature.upstream}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """The passes of one operation, by the quantities of one feature."""

    train: Callable[[Feature, Rule], Quantities]
    infer: Callable[[Feature, Rule], Quantities]


def _training(feature: Feature, rule: Rule, after: Moments) -> Transform | None:
    """Return what normalizes in training: the batch, clause 9.1, or what a dialect takes in its place."""
    x, dialect = feature.x, rule.dialect
    match dialect.normalizes_with:
        case "batch":
            correction = dialect.normalizing_correction
            taken = Moments(mean=mean(x), variance=variance(x, correction))
            return _by(taken, rule, **_following(x, Fraction(1), correction))
        case "moving_before":
            return _by(feature.moving, rule)
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


def _by(taken: Moments, rule: Rule, **following: Fraction) -> Transform | None:
    if taken.mean is None or taken.variance is None:
        return None
    total = taken.variance + rule.epsilon
    root = inverse_root(total)
    return None if root is None else Transform(center=taken.mean, total=total, root=root, **following)


def _normalized(feature: Feature, by: Transform | None) -> Quantities:
    found: Quantities = {"output": None if by is None else output(feature, by)}
    upstream = feature.upstream
    if upstream is None:
        return found
    found["grad_input"] = None if by is None else grad_input(feature, upstream, by)
    if feature.gamma is not None:
        found["grad_gamma"] = None if by is None else [grad_gamma(feature, upstream, by)]
    if feature.beta is not None:
        found["grad_beta"] = [grad_beta(upstream)]
    return found


def _untouched(feature: Feature) -> Quantities:
    """Return what leaves every value and the state as they are: clauses 16.1 and 16.2, and a dialect of 17.1."""
    found: Quantities = {
        "output": feature.x,
        "moving_mean": _one(feature.moving.mean),
        "moving_variance": _one(feature.moving.variance),
    }
    if feature.upstream is None:
        return found
    found["grad_input"] = feature.upstream
    if not feature.x:
        has = (("grad_gamma", feature.gamma), ("grad_beta", feature.beta))
        found |= {name: [Fraction(0)] for name, parameter in has if parameter is not None}
    return found


def _moment(feature: Feature, upstream: Numbers, by: Transform) -> Fraction:
    """Return Σg(x - c)."""
    return sum((g * (x - by.center) for g, x in zip(upstream, feature.x, strict=True)), Fraction())


def _gamma(feature: Feature) -> Fraction:
    return Fraction(1) if feature.gamma is None else feature.gamma


def _one(number: Fraction | None) -> Numbers | None:
    return None if number is None else [number]

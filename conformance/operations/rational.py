"""The numbers of one step by exact rational arithmetic: the second reference, against which the first is checked.

Written from `spec/semantics.md` alone, on Python's fractions: neither this nor an operation's own `rational` module
shares a formula or code with the first reference. Only (v + ε)^(-1/2) is irrational; it is a fraction within a relative
2^-256 of it. None stands where mathematics gives no number, as for 0/0. NaN and infinity are no fractions, and outside
its domain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any, TypeAlias

from conformance.dialect import Dialect

Numbers: TypeAlias = list[Fraction]
#: A list of m numbers, or of one, by the name of the quantity; None where there is no number.
Quantities: TypeAlias = dict[str, Numbers | None]


class Beyond(Enum):
    """What exact arithmetic says where the data are not all finite: nothing."""

    FRACTIONS = "the data are not all finite"


#: One number of a quantity: None where there is no number.
Entry: TypeAlias = Fraction | Beyond | None
#: By quantity its numbers, of the input's shape in rows of one value per feature. Where none of them is a number, one
#: row stands for as many as there are.
Exact: TypeAlias = dict[str, list[Entry]]

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
class Step:
    """What a train or infer step was given, in floats: of each feature its values, in one order of the other axes."""

    x: list[list[float]]
    #: The gradient with respect to the output; None where the step asks for none.
    upstream: list[list[float]] | None = None
    #: What is kept from step to step, by name, flat.
    state: Mapping[str, list[float]] = field(default_factory=dict)
    #: The length of the input's first axis: as many runs of a feature's values are of one sample each.
    samples: int = 0
    #: What the step has beside its input and upstream gradient, of their shape, by name.
    arrays: Mapping[str, list[list[float]]] = field(default_factory=dict)
    #: Which values of every feature count, where the step has a mask.
    mask: list[bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """The values of one feature at one step, and its state before it."""

    x: Numbers
    #: The gradient with respect to the output; None where the step asks for none.
    upstream: Numbers | None = None
    #: What is kept from step to step, by name.
    state: Mapping[str, Fraction] = field(default_factory=dict)
    #: The length of the input's first axis: as many runs of values are of one sample each.
    samples: int = 0
    #: What the step has beside its input and upstream gradient, of their shape, by name.
    arrays: Mapping[str, Numbers] = field(default_factory=dict)
    #: Which of the values count, where the step has a mask.
    mask: list[bool] | None = None


def rationals(values: Iterable[float]) -> Numbers:
    """Return the values as they are, as fractions. Raises `NotFiniteError`."""
    fractions = []
    for value in values:
        if not math.isfinite(value):
            raise NotFiniteError(f"{value} is no fraction: exact arithmetic has finite numbers only")
        fractions.append(Fraction(value))
    return fractions


def columns(array: Any, feature_axes: Sequence[int]) -> list[list[float]]:
    """Return the values of each feature of an array of up to 64-bit floats, clauses 2.1 to 2.4.

    Features are in row-major order of their axes, the values of each in that of the other axes.
    """
    shape = array.shape
    by_feature: list[list[float]] = [[] for _ in range(math.prod(shape[axis] for axis in feature_axes))]
    values = array.astype("float64").reshape(-1).tolist()
    for index, value in zip(itertools.product(*map(range, shape)), values, strict=True):
        feature = 0
        for axis in feature_axes:
            feature = feature * shape[axis] + index[axis]
        by_feature[feature].append(value)
    return by_feature


def summed(numbers: Iterable[Fraction]) -> Fraction:
    """Return the sum of the numbers, over one denominator: adding them one by one reduces every sum on the way."""
    terms = list(numbers)
    denominator = math.lcm(*(term.denominator for term in terms))
    return Fraction(sum(term.numerator * (denominator // term.denominator) for term in terms), denominator)


def mean(x: Numbers) -> Fraction:
    """Return μ = Σx/m, clause 3.1."""
    return summed(x) / len(x)


def variance(x: Numbers, correction: int = 0) -> Fraction:
    """Return Σ(x - μ)²/(m - correction), clauses 4.1 and 8.2: 0 for one value. In fractions Σ(x - μ)² is Σx² - mμ²."""
    return (summed(value * value for value in x) - len(x) * mean(x) ** 2) / max(len(x) - correction, 1)


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


def descended(parameter: Fraction, rate: Fraction, gradient: Fraction) -> Fraction:
    """Return p - η·g, clause 11.5."""
    return parameter - rate * gradient


Pass: TypeAlias = Callable[[Step, Rule], Exact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """The exact passes of one operation: each gives what comes out, and the state that is left."""

    train: Pass
    infer: Pass


def by_feature(performed: Callable[[Feature, Rule], Quantities]) -> Pass:
    """Return the pass of a step each feature of which has its own values and state, and numbers of its own."""

    def performed_by_feature(step: Step, rule: Rule) -> Exact:
        features = [_feature(step, number) for number in range(len(step.x))]
        quantities = [
            None if feature is None else _with_state(performed(feature, rule), feature) for feature in features
        ]
        names = dict.fromkeys(name for by_name in quantities if by_name is not None for name in by_name)
        return {name: _rows([_column(by_name, name) for by_name in quantities]) for name in names}

    return performed_by_feature


def _with_state(quantities: Quantities, feature: Feature) -> Quantities:
    """Return the quantities, and as it was whatever of the state is not among them."""
    return {**{name: [value] for name, value in feature.state.items()}, **quantities}


def _feature(step: Step, number: int) -> Feature | None:
    """Return one feature of the step; None where its data are not all finite."""
    try:
        return Feature(
            x=rationals(step.x[number]),
            upstream=None if step.upstream is None else rationals(step.upstream[number]),
            state={name: rationals([values[number]])[0] for name, values in step.state.items()},
            samples=step.samples,
            arrays={name: rationals(columns[number]) for name, columns in step.arrays.items()},
            mask=step.mask,
        )
    except NotFiniteError:
        return None


def _column(quantities: Quantities | None, name: str) -> Numbers | Beyond | None:
    return Beyond.FRACTIONS if quantities is None or name not in quantities else quantities[name]


def _rows(of_features: Sequence[Numbers | Beyond | None]) -> list[Entry]:
    """Return the numbers of all features row by row."""
    lengths = [len(column) for column in of_features if isinstance(column, list)]
    rows: list[Entry] = []
    for row in range(max(lengths, default=1)):
        rows.extend(column[row] if isinstance(column, list) else column for column in of_features)
    return rows

"""Mean and variance of a batch each value of which has a weight of its own, and may be missing: section 32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moments import MOMENTS
from conformance.operations.situation import Situation
from conformance.operations.weighted_moments import rational
from conformance.precision import Precision, theta
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

#: Roundings that any order of the few operations on one value may take.
_FEW = 8


class Options(BaseModel):
    """What a case says beside the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    missing: bool = Field(False, description="Whether a NaN is a value that is missing, and weighs nothing.")


def infer(situation: Situation, worked: Precision) -> Results:
    """Return what the weighted moments of a batch must be.

    Sums of products of weights that are not negative err by θ(m + 2) of themselves, and so do the numerator and the
    divisor of each moment; the squares are taken about a mean that is off by its own bound b, which adds b². Of an
    algorithm that takes one value after another the mean on the way is off too: 2b times the mean deviation.
    """
    weight, x = weighed(situation)
    with np.errstate(all="ignore"):
        mean, variance = moments(weight, x)
        share = weight / weight.sum(axis=0)
        rounding = 2 * theta(len(x) + _FEW, worked.unit)
        level, spread = (share * np.abs(x)).sum(axis=0), (share * np.abs(x - mean)).sum(axis=0)
        off = rounding * level + worked.tiny
        squares = rounding * variance + off * off + 2 * off * spread
        sizes = (share * x * x).sum(axis=0)
        inside = np.asarray((np.abs(weight) * x * x).sum(axis=0) < worked.largest)
    return {
        "batch_mean": _expected(mean, off, level, inside),
        "batch_variance": _expected(variance, squares + worked.tiny, sizes, inside),
    }


def _expected(value: Array, bound: Array, magnitude: Array, inside: Array) -> Expected:
    return Expected(
        value=value,
        bound=np.asarray(bound, dtype=np.float64),
        magnitude=np.asarray(magnitude, dtype=np.float64),
        in_domain=inside | ~np.isfinite(value),
    )


def weighed(situation: Situation) -> tuple[Array, Array]:
    """Return the weights and the values; where one is missing both are 0."""
    weight, x = situation.arrays["weights"], situation.x
    if not situation.configuration.options.get("missing", False):
        return weight, x
    present = ~np.isnan(x)
    return np.where(present, weight, 0), np.where(present, x, 0)


def moments(weight: Array, x: Array) -> tuple[Array, Array]:
    """Return Σwx/Σw and Σw(x - μ)²/Σw."""
    total = weight.sum(axis=0)
    mean = (weight * x).sum(axis=0) / total
    return mean, (weight * np.square(x - mean)).sum(axis=0) / total


def _hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    base = Hypothesis(configuration=configuration, dialect=dialect)

    def other(id_: str, weights: Any, divisor: Any = None) -> Hypothesis:
        def change_results(situation: Situation, results: Results) -> Results:
            weight, x = weighed(situation)
            weight = weights(weight)
            mean, variance = moments(weight, x)
            factor = 1 if divisor is None else weight.sum(axis=0) / divisor(weight)
            values = {"batch_mean": mean, "batch_variance": variance * factor}
            return {name: changed_to(results[name], value, len(x)) for name, value in values.items() if name in results}

        return replace(base, cause=because(id_), change_results=change_results)

    yield other("weights-ignored", lambda weight: (weight != 0).astype(weight.dtype))
    yield other("weights-of-zero-counted", np.ones_like)
    yield other("weights-in-whole-numbers", np.floor)
    yield other("weighted-variance-corrected", lambda weight: weight, lambda weight: weight.sum(axis=0) - 1)


def _terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    mean, variance = moments(*weighed(situation))
    return {
        "batch_mean": {"weighted": mean},
        "batch_variance": {"weighted": variance, "weighted mean squared": mean**2},
    }


def _misfit(_configuration: Configuration, kind: str, shape: tuple[int, ...]) -> str:
    if kind == "train":
        return "moments are taken without a gradient, by `infer`"
    return "" if math.prod(shape) else "no values have no moments"


WEIGHTED_MOMENTS = replace(
    MOMENTS,
    name="weighted_moments",
    formulas={"infer": "μ = Σw·x/Σw,  σ² = Σw·(x-μ)²/Σw"},
    train=infer,
    infer=infer,
    rational=rational.PASSES,
    hypotheses=_hypotheses,
    train_terms=_terms,
    infer_terms=_terms,
    options=Options,
    whole=False,
    arrays={"weights": "weights"},
    needs=frozenset({"weights"}),
    misfit=_misfit,
)

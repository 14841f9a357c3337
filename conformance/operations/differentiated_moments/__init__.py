"""A loss of the mean and the variance that a batch is found to have, differentiated: clause 26.9.

With G = Σg of each feature the loss is G·(μ + σ²), so that dx = G/m + 2·G·(x - μ)/m.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.batch_norm.reference import batch_mean
from conformance.operations.differentiated_moments import rational
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moments import MOMENTS, STATISTICS
from conformance.operations.situation import Situation
from conformance.precision import Precision, theta
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

#: Roundings that any order of the few operations on one value may take.
_FEW = 8


def train(situation: Situation, worked: Precision) -> Results:
    """Return what the moments and the gradient of their loss must be."""
    results = MOMENTS.infer(situation, worked)
    if situation.upstream is None or not situation.x.size:
        return results
    with np.errstate(all="ignore"):
        return results | {"grad_input": _gradient(situation, results, worked)}


def _gradient(situation: Situation, results: Results, worked: Precision) -> Expected:
    """Return dx, and its bound for sums in any order and for every way of differentiating the variance.

    Ĝ is within θ(m)·A of G, A = Σ|g|, and x - μ̂ within b + u|x - μ| of d = x - μ, b the bound of the mean. Through
    the mean within the variance goes 2G·Σ(x - μ̂)/m², which is 0 for the exact mean. Of E[x²] - E[x]² the derivative is
    2G·x/m - 2G·μ/m, some roundings of |x| + |μ|.
    """
    assert situation.upstream is not None
    x, upstream = situation.x, situation.upstream
    count, unit = x.shape[0], worked.unit
    deviation = x - batch_mean(x)
    pull = np.abs(upstream).sum(axis=0)
    off = results["batch_mean"].bound
    size = np.abs(deviation)
    through = theta(count, unit) * size + 2 * off + theta(count + 2, unit) * size.mean(axis=0)
    through = through + _FEW * unit * (np.abs(x) + np.abs(batch_mean(x)))
    bound = pull * (theta(count, unit) + _FEW * unit + 2 * through) / count * (1 + _FEW * unit) + _FEW * worked.tiny
    value = _weighted(situation, 1, 1)
    return Expected(
        value=value,
        bound=np.asarray(bound, dtype=np.float64),
        magnitude=np.asarray(pull * (1 + 2 * size.max(axis=0)) / count, dtype=np.float64),
        in_domain=results["batch_variance"].in_domain,
    )


def _weighted(situation: Situation, of_mean: float, of_variance: float) -> Array:
    """Return dx of a loss G·(a·μ + b·σ²)."""
    x, count = situation.x, situation.x.dtype.type(situation.x.shape[0])
    pull = np.asarray(situation.upstream).sum(axis=0)
    deviation = x - batch_mean(x)
    return np.asarray((of_mean * pull + of_variance * 2 * pull * deviation) / count)


def _hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    base = Hypothesis(configuration=configuration, dialect=dialect, only=frozenset({"grad_input"}))

    def weighted(id_: str, weights: tuple[float, float] | None) -> Hypothesis:
        def change_results(situation: Situation, results: Results) -> Results:
            if "grad_input" not in results:
                return {}
            count = situation.x.shape[0]
            of_mean, of_variance = weights or (1, count / max(1, count - 1))
            value = _weighted(situation, of_mean, of_variance)
            return {"grad_input": changed_to(results["grad_input"], value, count)}

        return replace(base, cause=because(id_), change_results=change_results)

    yield weighted("returned-statistics-constant", (0, 0))
    yield weighted("returned-mean-constant", (0, 1))
    yield weighted("returned-variance-constant", (1, 0))
    yield weighted("returned-variance-gradient-corrected", None)
    corrected = because("returned-variance-corrected")
    yield replace(base, cause=corrected, change_results=_corrected, only=frozenset({"batch_variance"}))


def _corrected(situation: Situation, results: Results) -> Results:
    count = situation.x.shape[0]
    if "batch_variance" not in results or count < 2:
        return {}
    variance = results["batch_variance"]
    return {"batch_variance": changed_to(variance, variance.value * (count / (count - 1)))}


def _terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    terms = dict(MOMENTS.infer_terms(situation))
    if situation.upstream is not None and situation.x.size:
        mean, variance = _weighted(situation, 1, 0), _weighted(situation, 0, 1)
        terms["grad_input"] = {"Σg/m": mean, "2·Σg·(x-μ)/m": variance}
    return terms


def _misfit(configuration: Configuration, kind: str, shape: tuple[int, ...]) -> str:
    """Return why there is no loss of moments to differentiate."""
    return (
        "a loss of the batch's statistics is differentiated in a `train` step"
        if kind != "train"
        else MOMENTS.misfit(configuration, "infer", shape)
    )


DIFFERENTIATED_MOMENTS = replace(
    MOMENTS,
    name="differentiated_moments",
    quantities={name: BATCH_NORM.quantities[name] for name in (*STATISTICS, "grad_input")},
    formulas={"train": "μ = Σx/m,  σ² = Σ(x-μ)²/m,  L = Σg·(μ + σ²),  dx = Σg/m + 2·Σg·(x-μ)/m"},
    train=train,
    infer=train,
    rational=rational.PASSES,
    hypotheses=_hypotheses,
    train_terms=_terms,
    infer_terms=_terms,
    options=None,
    whole=False,
    needs=frozenset({"upstream"}),
    misfit=_misfit,
)

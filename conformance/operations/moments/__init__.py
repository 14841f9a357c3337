"""Mean and variance of a batch alone, whose values may be integers or truth values: clauses 27.1 to 27.3.

The dtype of a case is that of the results. Its values are whole numbers, and are handed over as its `input_dtype`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations import batch_norm
from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.batch_norm.terms import train_terms
from conformance.operations.batch_norm.whole_numbers import dtypes, squares
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moments import rational
from conformance.operations.situation import Situation
from conformance.precision import Precision
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]

STATISTICS = ("batch_mean", "batch_variance")


def infer(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what the moments of a batch must be."""
    quantities = batch_norm.train(_beside_some(situation), worked)
    return {name: quantity for name, quantity in quantities.items() if name in STATISTICS}


def _beside_some(situation: Situation) -> Situation:
    """Return the situation with moving values, which the moments do not depend on."""
    zero = np.zeros(situation.x.shape[1], dtype=situation.x.dtype)
    return replace(situation, state={"moving_mean": zero, "moving_variance": zero + 1})


def _terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    terms = train_terms(_beside_some(situation))
    return {name: terms[name] for name in STATISTICS if name in terms}


def _hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    base = Hypothesis(configuration=configuration, dialect=dialect)
    yield replace(base, cause=because("moments-in-integers"), change_results=_in_integers)
    for dtype in dtypes(base):
        if dtype != "bool":
            yield replace(
                base,
                cause=because("squares-wrap-around", dtype=dtype),
                change_results=functools.partial(_wrapped, dtype),
                only=frozenset({"batch_variance"}),
            )


def _in_integers(situation: Situation, results: dict[str, Expected]) -> dict[str, Expected]:
    """Return mean and variance of which every division is one of integers, rounded down."""
    if not results:
        return {}
    mean = np.floor(situation.x.mean(axis=0))
    variance = np.floor(np.square(situation.x - mean).mean(axis=0))
    return {
        "batch_mean": changed_to(results["batch_mean"], mean),
        "batch_variance": changed_to(results["batch_variance"], variance),
    }


def _wrapped(dtype: str, situation: Situation, results: dict[str, Expected]) -> dict[str, Expected]:
    """Return E[x²] - E[x]² of squares of that dtype, which lose what is above its range."""
    if not results:
        return {}
    variance = squares(situation.x, dtype).mean(axis=0) - np.square(situation.x.mean(axis=0))
    return results | {"batch_variance": changed_to(results["batch_variance"], variance)}


def _misfit(configuration: Configuration, kind: str, shape: tuple[int, ...]) -> str:
    """Return why there are no moments: the operation is asked for once, and keeps nothing."""
    if kind == "train":
        return "moments are taken without a gradient, by `infer`"
    count = math.prod(size for axis, size in enumerate(shape) if axis not in configuration.feature_axes)
    return "" if count else "no values have no moments"


MOMENTS = replace(
    BATCH_NORM,
    name="moments",
    ladder="",
    quantities={name: BATCH_NORM.quantities[name] for name in STATISTICS},
    initial={},
    formulas={"infer": "μ = Σx/m,  σ² = Σ(x-μ)²/m,  in floating-point numbers"},
    train=infer,
    infer=infer,
    rational=rational.PASSES,
    observers={},
    hypotheses=_hypotheses,
    train_terms=_terms,
    infer_terms=_terms,
    whole=True,
    equations=None,
    implied=None,
    misfit=_misfit,
    traffic={},
)

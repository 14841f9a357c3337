"""Mean and variance cut off at the range of float16 before they normalize, as Keras' `moments` cuts them off.

Where a statistic is cut off, its derivative with respect to the input is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.expectations import MOVING, changed_to
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moving import moved, weights
from conformance.operations.situation import Situation
from conformance.precision import HALF, in_dtype, precision

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

_DTYPE = "float16"


def clipped_statistics(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield the hypothesis that mean and variance of a half-precision batch were cut off at the range of float16."""
    if base.configuration.dtype in HALF:
        yield replace(base, cause=because("statistics-cut-off", dtype=_DTYPE), change_results=_cut_off)


def _cut_off(situation: Situation, results: Results) -> Results:
    """Return what μ' = clip(μ) and v' = clip(σ²) give, with the gradients of that; nothing where both are in range."""
    if not results.keys() >= MOVING or not situation.x.size:
        return {}
    # In bfloat16 the limit itself is rounded, to 65536.
    largest = float(in_dtype(precision(_DTYPE).largest, situation.configuration.dtype))
    with np.errstate(all="ignore"):
        mean, variance = situation.x.mean(axis=0), reference.batch_statistics(situation.x).variance
        if not ((np.abs(mean) > largest) | (variance > largest)).any():
            return {}
        values = _values(situation, mean, variance, largest)
    return {
        name: changed_to(results[name], value, len(situation.x)) for name, value in values.items() if name in results
    }


def _values(situation: Situation, mean: Array, variance: Array, largest: float) -> dict[str, Array]:
    """Return every quantity: dx = γr(g - [|μ| ≤ L] Σg/m - [σ² ≤ L] (x - μ) r² Σg(x - μ')/m), L the largest number."""
    center, spread = np.clip(mean, -largest, largest), np.minimum(variance, largest)
    n = reference.normalize(situation, center, spread, 1.0)
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    values = {
        "batch_mean": center,
        "batch_variance": spread,
        "moving_mean": moved(situation.state["moving_mean"], center, weight),
        "moving_variance": moved(situation.state["moving_variance"], spread, weight),
        "output": n.output,
    }
    if situation.upstream is None:
        return values
    count = situation.x.dtype.type(len(situation.x))
    level, slope = situation.upstream.sum(axis=0), (situation.upstream * n.normalized).sum(axis=0)
    through_mean = np.where(np.abs(mean) <= largest, level / count, 0)
    through_variance = np.where(variance <= largest, (situation.x - mean) * n.inverse_root * slope / count, 0)
    return values | {
        "grad_input": n.gamma * n.inverse_root * (situation.upstream - through_mean - through_variance),
        "grad_gamma": slope,
        "grad_beta": level,
    }

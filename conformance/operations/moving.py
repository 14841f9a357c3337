"""Moving statistics: how one training step changes them, and how far rounding may take the result.

Every update but `merge` is a weighted sum, M' = w·M + v·s, of the old value M and the batch's s.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.precision import Precision, rounded

Array = np.ndarray[Any, np.dtype[Any]]
#: Of one number each, or of one for each feature.
Weights = tuple[np.floating[Any] | Array, np.floating[Any] | Array]


def weights(
    dialect: Dialect, decay: float | Array, trained: int, wide: type[np.floating[Any]] = np.longdouble
) -> Weights:
    """Return the weights (w, v) of the old value and of the batch's, after `trained` earlier train steps.

    exponential      a, 1 - a
    zero_debiased    a(1 - a^(k-1))/(1 - a^k), (1 - a)/(1 - a^k): Kingma and Ba 2015, section 3
    first_batch      0, 1 for k = 1, then exponential
    cumulative       (k - 1)/k, 1/k

    with a the decay and k = trained + 1, computed in the float type `wide`. Several decays, one for each feature, are for
    the exponential update alone.
    """
    a: Any = wide(decay)  # an array of as many where there are several decays
    k = trained + 1
    match dialect.update:
        case "exponential":
            return a, 1 - a
        case "zero_debiased":
            remaining = 1 - a**k
            return a * (1 - a ** (k - 1)) / remaining, (1 - a) / remaining
        case "first_batch":
            return (wide(0), wide(1)) if k == 1 else (a, 1 - a)
        case "cumulative" | "merge":
            return wide(k - 1) / k, wide(1) / k
        case "none":
            return wide(1), wide(0)


def moved(old: Array, batch: Array, weight: Weights) -> Array:
    """Return M' = w·M + v·s; where the one weight of all features is 0 its term is left out, non-finite or not."""
    if isinstance(weight[0], np.ndarray) or (weight[0] and weight[1]):
        return np.asarray(weight[0] * old + weight[1] * batch)
    kept = weight[0] * old if weight[0] else 0
    added = weight[1] * batch if weight[1] else 0
    return np.asarray(kept + added) + np.zeros_like(old)


def debiasing(dialect: Dialect, decay: float | Array, trained: int) -> float:
    """Return how many u the division by 1 - a^k costs relative to M, s and M': (2k + 2)/(1 - a^k), or none.

    The power is k multiplications of a rounded a; the subtraction from 1 keeps their absolute error while
    the difference tends to 0 with 1 - a. The M before the step was divided likewise.
    """
    k = trained + 1
    if dialect.update != "zero_debiased" or isinstance(decay, np.ndarray):
        return 0.0
    return (2 * k + 2) / (1 - decay**k) if decay < 1 else 0.0


def moved_bound(
    old: Array,
    batch: Array,
    batch_bound: Array,
    weight: Weights,
    worked: Precision,
    debiased: float = 0.0,
) -> Array:
    """Return the bound on M' computed in `worked` from an exact M and an s known within `batch_bound`.

    v·E_s + 4u(w|M| + v(|M| + |s| + E_s)) + u·w(|M| + |s|) + u|M'| + 2 tiny. The v|M| of the second term is
    the form M - v(M - s)'s, which rounds M even where w is 0. The third term is the rounding of the decay,
    or of one minus it, to the working precision, whose relative size is unbounded as the decay tends to 1
    while its absolute size is u. The last covers underflow of the two products. `debiased` adds its number
    of u(|M| + |s| + |M'|).
    """
    u = worked.unit
    several = isinstance(weight[0], np.ndarray)
    w, v = (np.asarray(number, dtype=np.float64) if several else float(number) for number in weight)
    kept, added = (np.abs(value).astype(np.float64, copy=False) for value in (old, batch))
    result = np.abs(moved(old, batch, weight)).astype(np.float64, copy=False)
    if not several and not v:  # M stays, or what the precision holds of it
        return np.asarray(np.abs(rounded(old, worked.name).astype(old.dtype) - old), dtype=np.float64)
    # Gathered by what is multiplied.
    of_bound, of_added, of_kept = v + (4 * v + debiased) * u, (4 * v + w + debiased) * u, (5 * w + 4 * v + debiased) * u
    bound = of_bound * batch_bound + of_kept * kept + of_added * added + (1 + debiased) * u * result
    return np.asarray(bound + 2 * worked.tiny)

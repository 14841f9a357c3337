"""Faults that act on non-finite values, on empty batches and on single values."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.faults.planting.layer import Layer, decay, empty, mean, planted, rows, update, variance


def spreading(l: Layer, x: Any) -> Any:
    found = mean(l, x)
    return found if np.isfinite(found).all() else np.full_like(found, np.nan)


def skipping_non_finite(l: Layer, center: Any, spread: Any, x: Any) -> None:
    if np.isfinite(spread).all():
        update(l, center, spread, x)


def empty_with_nan(l: Layer) -> Any:
    for name in ("moving_mean", "moving_variance"):
        l.keep(name, l.value(name) * l.t(np.nan))
    return empty(l)


def empty_decaying(l: Layer) -> Any:
    for name in ("moving_mean", "moving_variance"):
        l.keep(name, l.value(name) * decay(l, name))
    return empty(l)


def infinity_replaced(x: Any) -> Any:
    """The values with a large number, whose square float32 holds, in place of an infinity, and no other changed."""
    return np.where(np.isinf(x), np.copysign(x.dtype.type(2.0**47), x), x)


# fmt: off
FAULTS = (
    planted("nan_swallowed", "NaN are left out of the mean and the variance.", "non-finite values left out of the statistics", cases=("edges.non-finite-rank-4/features-first", "edges.non-finite-rank-4/features-last", "edges.non-finite/nan", "edges.non-finite/infinity", "edges.non-finite-half"), mean=lambda l, x: np.nanmean(x, 0), variance=lambda l, x, c: np.nanmean(np.square(x - c), 0)),
    planted("nan_spreads", "A NaN in one feature makes all means NaN.", "that must be finite", cases=("edges.non-finite-rank-4/features-first", "edges.non-finite-rank-4/features-last", "edges.non-finite/nan", "edges.infinity-rank-4/features-last", "edges.minus-infinity"), mean=spreading),
    planted("infinity_clipped", "Infinities count as a large number.", "finite that must be NaN or infinite", cases=("edges.non-finite-inference/infinity", "standardizing.units/variance/float32", "scales.float64/huge", "edges.infinity-rank-4/features-last", "edges.minus-infinity"), rows=lambda l, a: infinity_replaced(rows(l, a))),
    planted("non_finite_batch_skipped", "A batch with a non-finite value leaves the moving values.", "moving values not updated", cases=("edges.non-finite-rank-4/features-first", "edges.non-finite-rank-4/features-last", "edges.non-finite/nan", "edges.infinity-rank-4/features-last", "edges.minus-infinity"), update=skipping_non_finite),
    planted("empty_makes_nan", "An empty batch makes the moving values NaN.", "that must be finite", cases=("edges.empty-batch-rank-4/features-first", "edges.empty-batch-rank-4/features-last", "edges.empty-batch", "edges.empty-twice/features-last", "edges.empty-twice/features-first"), empty=empty_with_nan),
    planted("empty_decays", "An empty batch moves the moving values towards zero.", "an empty batch moves the moving values towards 0", cases=("edges.empty-batch-rank-4/features-first", "edges.empty-batch-rank-4/features-last", "edges.empty-batch", "edges.empty-twice/features-last", "edges.empty-twice/features-first"), empty=empty_decaying),
    planted("single_value_divides_by_zero", "One value per feature is divided by m - 1 = 0.", "that must be finite", cases=("edges.one-value-rank-4/features-first", "edges.one-value-rank-4/features-last", "edges.one-value"), when=lambda l: l.x.size == l.configuration.feature_count, variance=lambda l, x, c: variance(l, x, c) / l.t(0)),
    planted("single_sample_not_moved", "A batch of one sample leaves the moving values.", "moving values not updated", cases=("published.training-mode-2017/features-last", "axes.of-size-one/one-sample-features-first", "edges.one-sample-of-many-values/features-last", "published.training-mode-2017/features-first", "axes.of-size-one/one-sample-features-last"), when=lambda l: l.x.shape[0] == 1, moved=lambda l, n, old, batch: old),
)
# fmt: on

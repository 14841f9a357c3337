"""Faults in the statistics of a batch: epsilon, the count that divides, the arithmetic, values left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.faults.planting.layer import BFLOAT16, HALF, Layer, beta, gamma, inverse, mean, planted, rows, variance
from tests.faults.planting.parts import (
    bessel,
    corrected,
    corrected_gradient,
    halves,
    inference,
    positions,
    rounded,
    times,
    training,
    whole,
)


def running(x: Any, dtype: Any) -> Any:
    """The sum of each column, kept in a narrow dtype."""
    total = np.zeros(x.shape[1:], dtype)
    for value in x.astype(dtype):
        total = (total + value).astype(dtype)
    return total


def without_last_sample(l: Layer, x: Any) -> Any:
    left = x[: -positions(l, x)]
    return left if len(left) else x


def merged_without_shift(l: Layer, x: Any, center: Any) -> Any:
    return sum(len(part) * np.square(part - part.mean(0)).mean(0) for part in halves(x)) / l.t(len(x))


def one_pass(l: Layer, x: Any, center: Any) -> Any:
    return np.maximum(np.square(x).mean(0) - np.square(center), 0)


def output_in_half(l: Layer, n: Any) -> Any:
    dtype = l.x.dtype
    return (gamma(l).astype(dtype) * n.astype(dtype) + beta(l).astype(dtype)).astype(l.t)


def corrected_root(l: Layer, root: Any, spread: Any) -> Any:
    return inverse(l, spread * l.t(bessel(len(rows(l, l.x)))))


def bits(value: Any, count: int) -> Any:
    """The value with `count` bits of its significand."""
    significand, exponent = np.frexp(value)
    return np.ldexp(np.round(significand * 2.0**count) / 2.0**count, exponent).astype(value.dtype)


# fmt: off
FAULTS = (
    # Epsilon.
    planted("epsilon_outside_root", "Epsilon is added to the standard deviation.", "epsilon outside the root", inverse=lambda l, v: 1 / (np.sqrt(v) + l.epsilon())),
    planted("epsilon_floor", "The variance is raised to epsilon where it is less, and nothing is added.", "variance clamped to epsilon", inverse=lambda l, v: 1 / np.sqrt(np.maximum(v, l.epsilon()))),
    planted("epsilon_raised", "An epsilon below 1.001e-5 is raised to it.", "epsilon clamped to 1.001e-5", cases=("published.precomputed-2017", "peers.migraphx-rank-2", "epsilon.zero-in-inference", "standardizing.powers/variance/float32", "adapting.data/rank-3-features-first"), epsilon=lambda l: l.t(max(l.native.epsilon, 1.001e-5))),
    planted("epsilon_twice", "Epsilon is added twice.", "epsilon twice", epsilon=lambda l: l.t(2 * l.native.epsilon)),
    planted("epsilon_dropped", "Epsilon is not added.", "epsilon dropped", epsilon=lambda l: l.t(0)),
    planted("epsilon_squared", "The square of epsilon is added.", "epsilon squared", epsilon=lambda l: l.t(l.native.epsilon**2)),
    planted("epsilon_default", "Epsilon is always 1e-5.", "epsilon 1e-5", epsilon=lambda l: l.t(1e-5)),
    planted("epsilon_in_half", "Epsilon is rounded to bfloat16.", "epsilon rounded to bfloat16", epsilon=lambda l: l.t(BFLOAT16(l.native.epsilon))),
    planted("epsilon_dropped_in_inference", "Epsilon is not added in inference.", "epsilon dropped", when=inference, epsilon=lambda l: l.t(0)),
    planted("epsilon_dropped_in_gradients", "The backward pass leaves epsilon out of the root.", "epsilon dropped", gradient_root=lambda l, r, v: 1 / np.sqrt(v)),
    # Correction.
    planted("normalizing_correction", "The variance over m - 1 normalizes.", "normalizing correction 1", normalizing=corrected, grad_input=corrected_gradient),
    planted("moving_correction", "The variance over m - 1 enters the moving variance.", "moving correction 1", entering=times(lambda l, x: bessel(len(x)))),
    planted("moving_correction_by_samples", "Bessel's factor of the moving variance counts samples, not samples times positions.", "wrong count", when=lambda l: l.configuration.rank > 2, entering=times(lambda l, x: bessel(l.x.shape[0]))),
    planted("moving_correction_by_features", "Bessel's factor of the moving variance counts the features.", "wrong count", entering=times(lambda l, x: bessel(x.shape[1]))),
    planted("variance_over_m_plus_1", "The sum of squares is divided by m + 1.", "wrong count", variance=lambda l, x, c: np.square(x - c).sum(0) / l.t(len(x) + 1)),
    planted("gradient_correction", "The backward pass alone takes the variance over m - 1.", "gradients with the root of the variance with correction 1", when=training, gradient_root=corrected_root),
    # Arithmetic.
    planted("one_pass_variance", "The variance is the mean of squares minus the square of the mean.", "one-pass variance", cases=("stability.ratio-2-12", "statistics.thousand", "precision.large-mean-float16", "stability.ratio-2-8", "stability.ratio-2-12-rank-4/features-last"), variance=one_pass),
    planted("negative_variance", "The variance of values far from zero comes out a little too small.", cases=("published.columns-2017", "standardizing.powers/variance/float32", "channels.rank-4/1-last", "peers.keras-adapt-columns", "stability.ratio-2-4"), variance=lambda l, x, c: variance(l, x, c) - l.t(2.0**-20) * np.square(c)),
    planted("statistics_in_float16", "Batch statistics are rounded to float16.", "statistics in float16", mean=lambda l, x: rounded(mean(l, x), np.float16), variance=lambda l, x, c: rounded(variance(l, x, c), np.float16)),
    planted("statistics_in_bfloat16", "Batch statistics are rounded to bfloat16.", "statistics in bfloat16", mean=lambda l, x: rounded(mean(l, x), BFLOAT16), variance=lambda l, x, c: rounded(variance(l, x, c), BFLOAT16)),
    planted("accumulators_in_half", "Statistics of half-precision input are summed in its dtype.", "computed in", cases=("precision.large-mean", "stability.half-top/bfloat16-2-4", "epsilon.half/float16", "adapting.dtypes/float16", "memory.strided-half/rank-2/bfloat16"), when=lambda l: l.configuration.dtype in HALF, mean=lambda l, x: running(x, l.x.dtype).astype(l.t) / l.t(len(x)), variance=lambda l, x, c: running(np.square(x - c), l.x.dtype).astype(l.t) / l.t(len(x))),
    planted("output_in_half", "Half-precision input is scaled and shifted in its dtype.", "computed in", cases=("inference.half/rank-2/bfloat16", "precision.large-mean", "stability.half-top/bfloat16-2-4", "epsilon.half/float16", "memory.strided-half/rank-2/bfloat16"), when=lambda l: l.configuration.dtype in HALF, output=output_in_half),
    planted("float64_in_float32", "Statistics of float64 input are computed in float32.", "computed in float32", cases=("epsilon.least/float64", "axes.rank-2/float64", "scales.float64/tiny", "standardizing.steps/variance/float64", "adapting.dtypes/float64"), when=lambda l: l.configuration.dtype == "float64", mean=lambda l, x: mean(l, x.astype(np.float32)).astype(l.t), variance=lambda l, x, c: variance(l, x.astype(np.float32), c.astype(np.float32)).astype(l.t)),
    planted("root_of_12_bits", "The inverse root is the hardware's first guess, of 12 bits.", inverse=lambda l, v: bits(inverse(l, v), 12)),
    planted("count_in_half", "The reciprocal of the count is rounded to float16.", "reciprocal of the count rounded to float16", mean=lambda l, x: x.sum(0) * l.t(np.float16(1 / len(x)))),
    planted("merge_without_shift", "The variances of two halves are merged without the difference of their means.", "merged without the difference of their means", variance=merged_without_shift),
    # Values left out.
    planted("last_row_dropped", "The last row is left out of the statistics.", "tail dropped", mean=lambda l, x: mean(l, x[:-1] if len(x) > 1 else x), variance=lambda l, x, c: variance(l, x[:-1] if len(x) > 1 else x, c)),
    planted("first_row_dropped", "The first row is left out of the mean.", "head dropped from the mean", mean=lambda l, x: mean(l, x[1:] if len(x) > 1 else x)),
    planted("last_sample_dropped", "The last sample is left out of the statistics.", "tail dropped", when=lambda l: positions(l, rows(l, l.x)) > 1, mean=lambda l, x: mean(l, without_last_sample(l, x)), variance=lambda l, x, c: variance(l, without_last_sample(l, x), c)),
    planted("rows_after_eights_dropped", "Rows behind the last whole eight are left out of the mean.", "tail dropped", mean=whole(8)),
    planted("rows_after_1024s_dropped", "Of more than 1024 values, those behind the last whole 1024 are left out of the mean.", "tail dropped", cases=("statistics.many-values", "precision.count-3000/bfloat16", "precision.count-3000/float16", "precision.count-rank-4/features-last", "precision.count-rank-4/features-first"), mean=whole(1024)),
    planted("count_of_16_bits", "The count of more than 65535 values is taken modulo 65536.", "wrong count", cases=("precision.count-66000/rows", "precision.count-66000/positions"), when=lambda l: l.x.size // l.configuration.feature_count > 65536, mean=lambda l, x: x.sum(0) / l.t(len(x) % 65536), variance=lambda l, x, c: np.square(x - c).sum(0) / l.t(len(x) % 65536)),
    planted("gradient_tail_dropped", "The last row is left out of the gradient of gamma.", "tail dropped", grad_gamma=lambda l, g, n, x, r: (g[:-1] * n[:-1]).sum(0) if len(g) > 1 else (g * n).sum(0)),
)
# fmt: on

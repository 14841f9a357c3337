"""Faults that act at some step, in some dtype or in some layout alone."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.planting.layer import Layer, planted
from tests.faults.planting.parts import bessel, corrected, corrected_gradient, features_first, times


def after(step: int) -> Callable[[Layer], bool]:
    return lambda l: l.trained >= step


# fmt: off
FAULTS = (
    planted("second_step", "The second train step alone leaves epsilon out.", "epsilon dropped", when=lambda l: l.kind == "train" and l.trained == 1, epsilon=lambda l: l.t(0)),
    planted("third_step_on", "From the third train step the decay is inverted.", "decay inverted", when=after(2), decay=lambda l, n: l.t(1 - l.native.decay)),
    planted("bfloat16_alone", "In bfloat16 alone the variance over m - 1 normalizes.", "normalizing correction 1", cases=("precision.large-mean", "stability.half-top/bfloat16-2-4", "dyadic.half/bfloat16", "epsilon.half/bfloat16", "memory.strided-half/rank-2/bfloat16"), when=lambda l: l.configuration.dtype == "bfloat16", normalizing=corrected, grad_input=corrected_gradient),
    planted("float16_alone", "In float16 alone the variance over m - 1 enters the moving variance.", "moving correction 1", cases=("epsilon.half/float16", "dyadic.half/float16", "stability.half-low/float16", "adapting.dtypes/float16", "precision.large-mean-float16"), when=lambda l: l.configuration.dtype == "float16", entering=times(lambda l, x: bessel(len(x)))),
    planted("float64_alone", "In float64 alone epsilon is added twice.", "epsilon twice", cases=("inference.served-extremes/far-mean/float64", "published.formula-2017/features-first", "epsilon.least/float64", "axes.rank-2/float64", "scales.float64/tiny"), when=lambda l: l.configuration.dtype == "float64", epsilon=lambda l: l.t(2 * l.native.epsilon)),
    planted("rank_5_alone", "Of five axes alone, the moving variance takes the variance over m - 1.", "moving correction 1", cases=("axes.rank-5/features-first", "affine.both-switched-off-every-rank/rank-5", "statistics.ramp-every-rank/rank-5", "adapting.data/rank-5", "epsilon.every-rank/rank-5"), when=lambda l: l.configuration.rank == 5, entering=times(lambda l, x: bessel(len(x)))),
    planted("features_first_alone", "Features first alone, the moving variance takes the variance over m - 1.", "moving correction 1", when=features_first, entering=times(lambda l, x: bessel(len(x)))),
    planted("several_feature_axes_alone", "With several feature axes alone the decay is inverted.", "decay inverted", cases=("adapting.data/two-axes", "axes.several-kept/rank-3-all-but-the-batch", "axes.several-kept/rank-4-first-and-last", "axes.all-but-the-batch/features-last", "axes.all-but-the-batch/features-first"), when=lambda l: len(l.configuration.feature_axes) > 1, decay=lambda l, n: l.t(1 - l.native.decay)),
)
# fmt: on

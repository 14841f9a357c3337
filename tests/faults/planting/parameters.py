"""Faults in gamma and beta, and in features that are no whole group of eight."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.faults.planting.layer import BFLOAT16, Layer, beta, gamma, grad_beta, grad_gamma, moved, normalized, planted
from tests.faults.planting.parts import corrected, corrected_gradient, rounded, whole


def neighbour(value: Any) -> Any:
    return np.roll(value, 1)


def tail_of_features(value: Any, replaced: Any) -> Any:
    """The features behind the last whole group of eight, replaced."""
    found = value.copy()
    whole = len(found) // 8 * 8
    found[whole:] = np.broadcast_to(replaced, found.shape)[whole:]
    return found


def folding(l: Layer, x: Any, center: Any, root: Any) -> Any:
    l.kept["folding"] = x, center, root
    return normalized(l, x, center, root)


def folded(l: Layer, _: Any) -> Any:
    x, center, root = l.kept["folding"]
    slope = gamma(l) * root
    offset = rounded(beta(l) - slope * center, BFLOAT16)
    return rounded(rounded(x, BFLOAT16) * rounded(slope, BFLOAT16) + offset, BFLOAT16)


# fmt: off
FAULTS = (
    # Gamma and beta.
    planted("gamma_ignored", "Gamma counts as one.", "gamma ignored", gamma=lambda l: np.ones_like(gamma(l))),
    planted("beta_ignored", "Beta counts as zero.", "beta ignored", beta=lambda l: np.zeros_like(beta(l))),
    planted("gamma_and_beta_swapped", "Gamma is added and beta multiplies.", "gamma and beta swapped", gamma=beta, beta=gamma),
    planted("beta_before_gamma", "Beta is added before gamma multiplies.", "beta added before gamma", beta=lambda l: gamma(l) * beta(l)),
    planted("gamma_of_neighbour", "Each feature has its neighbour's gamma.", "gamma of the neighbour", gamma=lambda l: neighbour(gamma(l))),
    planted("beta_of_neighbour", "Each feature has its neighbour's beta.", "beta of the neighbour", beta=lambda l: neighbour(beta(l))),
    planted("gamma_without_sign", "Gamma loses its sign.", "gamma without its sign", cases=("inference.served-extremes/one-sample/float32", "peers.webnn-scale", "dyadic.rank-4/features-last", "affine.zero-and-negative-gamma-rank-4/features-first", "freezing.from-the-start/rank-5"), gamma=lambda l: np.abs(gamma(l))),
    planted("gamma_in_bfloat16", "Gamma and beta are rounded to bfloat16.", "gamma and beta rounded to bfloat16", cases=("published.layer-without-beta-2017/features-first", "peers.webnn-bias", "reloading.batch-norm/features-last", "scales.float64/tiny", "freezing.from-the-start/rank-2"), gamma=lambda l: rounded(gamma(l), BFLOAT16), beta=lambda l: rounded(beta(l), BFLOAT16)),
    planted("folded_in_bfloat16", "In inference of float32 a scale and a shift of bfloat16 make an output of bfloat16.", "folded shift and output rounded to bfloat16", when=lambda l: l.kind == "infer" and l.configuration.dtype == "float32", normalized=folding, output=folded),
    planted("uncentred_without_beta", "Without beta the mean is not subtracted either.", "mean not subtracted", cases=("published.layer-without-beta-2017/features-last", "peers.keras-ops", "standardizing.powers/variance/float32", "adapting.data/rank-3-features-first", "centering.same-data/batch-norm-without-scale-and-center"), when=lambda l: "beta" not in l.state, normalized=lambda l, x, c, r: x * r),
    # Features.
    planted("odd_features_gamma", "The last feature has the gamma of the one before it, unless they are whole eights.", when=lambda l: l.configuration.feature_count % 8 != 0, gamma=lambda l: np.append(gamma(l)[:-1], gamma(l)[-2:][0])),
    planted("odd_features_gradient", "Features behind the last whole eight have half their gamma gradient.", when=lambda l: l.configuration.feature_count % 8 != 0, grad_gamma=lambda l, *a: tail_of_features(grad_gamma(l, *a), grad_gamma(l, *a) / 2)),
    planted("whole_eights_corrected", "In whole eights of features the variance over m - 1 normalizes.", "normalizing correction 1", cases=("axes.equal-sizes/rank-2", "memory.channels-last", "moving.impulses", "probe.impulses/rank-5-features-first/mixed-bfloat16", "probe.impulses/rank-5-features-first/float32"), when=lambda l: l.configuration.feature_count % 8 == 0, normalizing=corrected, grad_input=corrected_gradient),
    planted("thirteenth_feature", "Features behind the twelfth have the beta of the first.", cases=("channels.rank-2/33", "axes.several-kept/rank-3-all-but-the-batch", "memory.channels-last-every-rank/rank-4-thirteen-features", "channels.rank-2/17", "channels.rank-4/13-last"), when=lambda l: l.configuration.feature_count > 12, beta=lambda l: np.where(np.arange(len(beta(l))) < 12, beta(l), beta(l)[0])),
    planted("odd_features_not_moved", "Features behind the last whole eight keep their moving values.", "tail of the features dropped", cases=("adapting.data/two-axes", "channels.rank-2/33", "axes.several-kept/rank-3-all-but-the-batch", "memory.channels-last-every-rank/rank-4-thirteen-features", "channels.rank-2/17"), when=lambda l: l.configuration.feature_count > 8 and l.configuration.feature_count % 8 != 0, moved=lambda l, n, old, batch: tail_of_features(moved(l, n, old, batch), old)),
    planted("odd_features_without_gradient", "Features behind the last whole eight have no gradient of gamma and beta.", "tail of the features dropped", cases=("channels.rank-2/33", "axes.several-kept/rank-3-all-but-the-batch", "memory.channels-last-every-rank/rank-4-thirteen-features", "channels.rank-2/17", "channels.rank-4/13-last"), when=lambda l: l.configuration.feature_count > 8 and l.configuration.feature_count % 8 != 0, grad_gamma=lambda l, *a: tail_of_features(grad_gamma(l, *a), 0), grad_beta=lambda l, g: tail_of_features(grad_beta(l, g), 0)),
)
# fmt: on

"""Faults in which statistics normalize: of another moment, over other axes, of a part of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.faults.planting.layer import Layer, grad_input, inferring, mean, planted, rows, unrows, variance
from tests.faults.planting.parts import features_first, halves, positions


def samples(l: Layer, x: Any) -> Any:
    """Rows by sample: (N, positions, C)."""
    return x.reshape(l.x.shape[0] if 0 not in l.configuration.feature_axes else 1, -1, x.shape[1])


def repeated(parts: Any, x: Any) -> Any:
    """Statistics of groups of rows, (groups, C), put beside the rows they are of."""
    return np.repeat(parts, len(x) // len(parts), axis=0)


def of_each(l: Layer, x: Any, center: Any, spread: Any) -> Any:
    """What enters the moving values where statistics are per group."""
    return center.mean(0), spread.mean(0)


def gradient_per_sample(l: Layer, g: Any, n: Any, root: Any) -> Any:
    if l.kind == "infer":
        return grad_input(l, g, n, root)
    through = repeated(samples(l, g).mean(1), g) + n * repeated(samples(l, g * n).mean(1), g)
    return l.gamma() * root * (g - through)


def lagging_inference(l: Layer, x: Any) -> Any:
    return l.kept.get("before") or inferring(l, x)


def normalizing_after(l: Layer, center: Any, spread: Any, before: Any) -> Any:
    return l.value("moving_mean"), l.value("moving_variance")


def gradient_after(l: Layer, g: Any, n: Any, root: Any) -> Any:
    """The derivative through the batch's share, 1 - decay, of the moving values."""
    if l.kind == "infer":
        return grad_input(l, g, n, root)
    x, share = rows(l, l.x), 1 - l.decay("moving_mean")
    own = (x - x.mean(0)) * root
    return l.gamma() * root * (g - share * (g.mean(0) + own * (g * n).mean(0)))


def batch_in_inference(l: Layer, x: Any) -> Any:
    return (mean(l, x), variance(l, x, mean(l, x))) if len(x) else inferring(l, x)


def square_axes(l: Layer) -> bool:
    shape, axes = l.configuration.shape, l.configuration.feature_axes
    return len(axes) == 1 and any(shape[axis] == shape[axes[0]] for axis in range(len(shape)) if axis != axes[0])


def rows_of_equal_axis(l: Layer, array: Any) -> Any:
    """The features taken from the other axis of the same size."""
    (axis,) = l.configuration.feature_axes
    other = next(
        each
        for each in range(array.ndim)
        if each != axis and l.configuration.shape[each] == l.configuration.shape[axis]
    )
    return rows(l, np.swapaxes(array, axis, other)) if array.shape[axis] == array.shape[other] else rows(l, array)


def unrows_of_equal_axis(l: Layer, array: Any, like: Any) -> Any:
    (axis,) = l.configuration.feature_axes
    other = next(
        each for each in range(like.ndim) if each != axis and l.configuration.shape[each] == l.configuration.shape[axis]
    )
    found = unrows(l, array, like)
    return np.swapaxes(found, axis, other) if like.shape[axis] == like.shape[other] else found


def descending(l: Layer, name: str, value: Any) -> Any:
    """Statistics of several feature axes laid down in descending order of the axes."""
    features = l.configuration.features
    return value.reshape(features).transpose().reshape(-1) if len(features) > 1 else value


# fmt: off
FAULTS = (
    planted("inference_with_batch", "The batch normalizes in inference.", "batch statistics in inference", inferring=batch_in_inference),
    planted("inference_a_step_late", "Inference takes the moving values from before the last update.", "stale", inferring=lagging_inference),
    planted("training_with_moving_before", "The moving values before the step normalize in training.", "moving values before the step", normalizing=lambda l, c, v, before: before, grad_input=lambda l, g, n, r: l.gamma() * r * g),
    planted("training_with_moving_after", "The moving values after the step normalize in training.", "moving values after the step", normalizing=normalizing_after, grad_input=gradient_after),
    planted("statistics_per_sample", "Each sample is normalized with statistics of its own.", "statistics per sample", mean=lambda l, x: repeated(samples(l, x).mean(1), x), variance=lambda l, x, c: repeated(np.square(samples(l, x - c)).mean(1), x), entering=lambda l, c, v, x: of_each(l, x, c, v)),
    planted("instance_norm", "Each sample is normalized with statistics of its own, and differentiated so.", "statistics per sample", when=lambda l: positions(l, rows(l, l.x)) > 1, mean=lambda l, x: repeated(samples(l, x).mean(1), x), variance=lambda l, x, c: repeated(np.square(samples(l, x - c)).mean(1), x), entering=lambda l, c, v, x: of_each(l, x, c, v), grad_input=gradient_per_sample),
    planted("layer_norm", "Each sample is normalized over its features as well.", "statistics over the wrong axes", mean=lambda l, x: repeated(samples(l, x).mean((1, 2), keepdims=True)[:, 0] + np.zeros_like(x[:1]), x), variance=lambda l, x, c: repeated(np.square(samples(l, x - c)).mean((1, 2), keepdims=True)[:, 0] + np.zeros_like(x[:1]), x), entering=lambda l, c, v, x: of_each(l, x, c, v)),
    planted("statistics_per_position", "Each position is normalized over the samples alone.", "statistics over the wrong axes", when=lambda l: l.configuration.rank > 2, mean=lambda l, x: np.tile(samples(l, x).mean(0), (len(samples(l, x)), 1)), variance=lambda l, x, c: np.tile(np.square(samples(l, x - c)).mean(0), (len(samples(l, x)), 1)), entering=lambda l, c, v, x: of_each(l, x, c, v)),
    planted("statistics_over_features", "Of two axes, training reduces the features instead of the samples.", "statistics over the wrong axes", when=lambda l: l.configuration.rank == 2, mean=lambda l, x: x.mean(1, keepdims=True) + 0 * x, variance=lambda l, x, c: np.square(x - c).mean(1, keepdims=True) + 0 * x, entering=lambda l, c, v, x: of_each(l, x, c, v)),
    planted("statistics_per_half", "Each half of the batch is normalized with statistics of its own.", "statistics of each half of the batch", mean=lambda l, x: np.concatenate([part.mean(0) + 0 * part for part in halves(x)]), variance=lambda l, x, c: np.concatenate([np.square(part).mean(0) + 0 * part for part in halves(x - c)]), entering=lambda l, c, v, x: of_each(l, x, c, v)),
    planted("features_taken_for_last", "Features-first values are read as if the features were last.", "statistics over the wrong axes", when=features_first, rows=lambda l, a: a.reshape(-1, l.configuration.feature_count).astype(l.t), unrows=lambda l, a, like: a.reshape(like.shape)),
    planted("features_of_equal_axis", "Where another axis is as long, its indices are taken for the features.", "statistics over the wrong axes", cases=("peers.keras-ops", "axes.equal-sizes/features-last", "adapting.data/rank-5", "axes.equal-sizes/rank-2", "axes.equal-sizes/features-first"), when=square_axes, rows=rows_of_equal_axis, unrows=unrows_of_equal_axis),
    planted("feature_axes_descending", "Statistics of several feature axes are kept in descending order.", "feature axes in descending order", cases=("adapting.data/two-axes", "axes.several-kept/rank-3-all-but-the-batch", "axes.several-kept/rank-4-first-and-last", "axes.all-but-the-batch/features-last", "axes.all-but-the-batch/features-first"), stored=descending),
)
# fmt: on

"""Faults in what is taken for an input: sizes that do not fit, and whole numbers computed in their own dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.protocol import Quantities
from tests.faults.planting.layer import Layer, beta, gamma, handed, mean, planted, unrows, variance


def stretched(l: Layer, x: Any) -> Any:
    """The input broadcast where it has one feature, as an operator on arrays does it."""
    sizes = dict(zip(l.configuration.feature_axes, l.configuration.features, strict=True))
    return np.broadcast_to(x, tuple(sizes.get(axis, size) for axis, size in enumerate(x.shape))).copy()


def first_features(l: Layer, x: Any) -> Any:
    """The features that the layer has values for, the first where there are more."""
    for axis, size in zip(l.configuration.feature_axes, l.configuration.features, strict=True):
        x = np.take(x, np.arange(size), axis)
    return x


def first_values(l: Layer) -> None:
    """Of what is handed over, as many values as there are features, where there are enough."""
    count = l.configuration.feature_count
    for name, value in l.state.items():
        l.state[name] = value[:count] if len(value) > count else value
    handed(l)


def of_whole(l: Layer) -> bool:
    return l.configuration.input_dtype is not None


def of_wrapped_squares(l: Layer, x: Any, center: Any) -> Any:
    """The mean of squares, which wrap around, less the square of the mean."""
    squares = np.square(x.astype(l.configuration.input_dtype))
    return squares.astype(x.dtype).mean(0) - np.square(center)


def as_whole(l: Layer, array: Any) -> Any:
    """The numbers in the dtype of the input and back, as a cast to it and one from it make them."""
    dtype = l.configuration.input_dtype
    whole = array if dtype == "bool" else array.astype(np.int64)
    return whole.astype(dtype).astype(array.dtype)


def kept_whole(l: Layer, quantities: Quantities) -> Quantities:
    return {**quantities, "output": quantities["output"].astype(l.configuration.input_dtype)}


# fmt: off
FAULTS = (
    planted("one_feature_broadcast", "An input of one feature is broadcast to those of the layer.", "takes an input of shape", cases=("misfit.batch-norm/one-for-three/both", "misfit.batch-norm/one-for-three/none", "misfit.images/features-first", "misfit.images/features-last"), fitting=stretched),
    planted("further_features_left_out", "Features beyond those of the layer are left out.", "takes an input of shape", cases=("misfit.batch-norm/four-for-three/both", "misfit.batch-norm/four-for-three/none"), fitting=first_features),
    planted("one_parameter_broadcast", "A gamma, beta or moving value of one feature is broadcast to all.", "of shape (1,) where (3,) fits", cases=("misfit.handed/served-learned", "misfit.handed/served-moving", "misfit.handed-images/features-last"), handed=lambda l: None),
    planted("further_parameters_cut", "Values of gamma, beta and the moving values beyond the features are left out.", "of shape (4,) where (3,) fits", cases=("misfit.handed/served-learned", "misfit.handed/trained-moving"), handed=first_values),
    planted("whole_statistics", "Of whole numbers, mean and variance are rounded down.", "mean and variance are computed in the integers' own type", cases=("whole.batch-norm/uint8", "whole.batch-norm/bool"), when=of_whole, mean=lambda l, x: np.floor(mean(l, x)), variance=lambda l, x, c: np.floor(variance(l, x, c))),
    planted("whole_squares", "Of whole numbers, the variance is of squares in their own dtype.", "which wrap around", cases=("whole.batch-norm/uint8", "whole.images/features-last"), when=lambda l: l.configuration.input_dtype == "uint8", variance=of_wrapped_squares),
    planted("whole_output", "Of whole numbers, the output is cut off to whole numbers.", "the output is computed in the integers' own type", cases=("whole.batch-norm/int32", "whole.batch-norm/bool"), when=of_whole, unrows=lambda l, a, like: as_whole(l, unrows(l, a, like))),
    planted("whole_parameters", "With whole numbers, gamma is cut off to one.", "gamma and beta are computed in the integers' own type", cases=("whole.batch-norm/uint8",), when=of_whole, gamma=lambda l: np.trunc(gamma(l)), beta=lambda l: np.trunc(beta(l))),
    planted("whole_kept", "Of whole numbers, the output has their dtype.", "has dtype", cases=("whole.batch-norm/uint8", "whole.images/features-first"), when=of_whole, given=kept_whole),
)
# fmt: on

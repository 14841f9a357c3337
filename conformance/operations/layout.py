"""How the values of a quantity are laid out: in the shape that a step gives them, and flat, as references have them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
#: How many values a quantity has: one for each value of the input, for each feature, or for each index of its first axis.
Shape = Literal["input", "features", "samples"]


def shape_of(shape: Shape, configuration: Configuration, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes of a quantity of that shape, at a step whose input has the shape `input_shape`."""
    match shape:
        case "input":
            return input_shape
        case "features":
            return configuration.features
        case "samples":
            return input_shape[:1]


def flattened(array: Array, shape: Shape, configuration: Configuration) -> Array:
    """Return a quantity as references have it: (m, C) of the input's shape, else one axis."""
    return flatten(array, configuration) if shape == "input" else array.reshape(-1)


def flatten(array: Array, configuration: Configuration) -> Array:
    """Return the array of the input's layout as (m, C): features last, everything else collapsed."""
    return features_last(array, configuration.feature_axes, configuration.feature_count)


def features_last(array: Array, axes: tuple[int, ...], count: int) -> Array:
    """Return the array as (m, C), with the feature axes and the number of features given."""
    rank = array.ndim
    if axes != tuple(range(rank - len(axes), rank)):
        array = np.moveaxis(array, axes, range(-len(axes), 0))
    # Of no features, the number of rows follows from no size.
    return array.reshape(math.prod(array.shape[: rank - len(axes)]), count)


def unflatten(array: Array, configuration: Configuration, shape: tuple[int, ...]) -> Array:
    """Return the inverse of `flatten`, for an input of `shape`."""
    last = tuple(range(-len(configuration.feature_axes), 0))
    kept = [size for axis, size in enumerate(shape) if axis not in configuration.feature_axes]
    return np.moveaxis(array.reshape(*kept, *configuration.features), last, configuration.feature_axes)


def index_of(
    position: int, shape: Shape, configuration: Configuration, input_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the index, in the quantity's own layout, of a position in its flattened form."""
    match shape:
        case "samples":
            return (position,)
        case "features":
            return _unravelled(position, configuration.features)
        case "input":
            row, feature = divmod(position, configuration.feature_count)
            kept = [axis for axis in range(len(input_shape)) if axis not in configuration.feature_axes]
            of_row = _unravelled(row, [input_shape[axis] for axis in kept])
            of_feature = _unravelled(feature, configuration.features)
            axes = zip((*configuration.feature_axes, *kept), (*of_feature, *of_row), strict=True)
            index: Mapping[int, int] = dict(axes)
            return tuple(index[axis] for axis in range(len(input_shape)))


def _unravelled(position: int, sizes: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(position, tuple(sizes)))

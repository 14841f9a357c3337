"""Which values share a mean and a mean square in layer, RMS, group and instance normalization."""

from __future__ import annotations

from collections.abc import Callable

from conformance.search.properties.identity import Array, Ground

#: Returns the values of an (m, C) array by group: (k, groups).
Groups = Callable[[Ground, Array], Array]


def rows(_ground: Ground, array: Array) -> Array:
    """Return a group for each position: all its features."""
    return array.T


def channels(ground: Ground, array: Array) -> Array:
    """Return a group for each feature of each sample: its positions."""
    by_sample = ground.by_sample(array)
    return by_sample.transpose(1, 0, 2).reshape(by_sample.shape[1], -1)


def halves(ground: Ground, array: Array) -> Array:
    """Return a group for each half of the features of each sample, over all its positions."""
    samples, positions, features = ground.by_sample(array).shape
    divided = array.reshape(samples, positions, 2, features // 2)
    return divided.transpose(1, 3, 0, 2).reshape(positions * features // 2, -1)

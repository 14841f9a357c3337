"""Which values of a step share a mean and a variance: the groups that each sample falls into.

`Members` gives the flat positions, in the (m, C) of a situation, of every group's values: an array (R, k), R groups of k
values each. Every group of a step has the same number of values, and every value is in one group.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]
Members = Callable[[Situation], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What an operation of this kind takes of each group."""

    members: Members
    #: Whether the group's mean is subtracted, so that its variance is divided by; else its mean square is.
    centred: bool = True
    #: Whether several values of one feature are in one group, so that the sums of a gradient may be folded.
    folds: bool = False


def gathered(array: Array, members: Array) -> Array:
    """Return the values of shape (m, C) by group: (k, R)."""
    return np.asarray(array.reshape(-1)[members].T)


def scattered(by_group: Array, members: Array, shape: tuple[int, ...]) -> Array:
    """Return the inverse of `gathered`, of shape (m, C); what has one value per group is that of each of its values."""
    result = np.empty(math.prod(shape), dtype=by_group.dtype)
    result[members] = np.broadcast_to(by_group, members.shape[::-1]).T
    return result.reshape(shape)


def rows(situation: Situation) -> Array:
    """Return one group for each row: all features at one index of the other axes."""
    return _positions(situation)


def columns(situation: Situation) -> Array:
    """Return one group for each feature over the whole batch, as batch normalization has them."""
    return _positions(situation).T


def samples(situation: Situation) -> Array:
    """Return one group for each sample: all its features at all its positions."""
    count = _samples(situation)
    return _in_samples(situation).reshape(count, situation.x.size // max(1, count))


def everything(situation: Situation) -> Array:
    """Return one group: the whole batch."""
    return _positions(situation).reshape(1, -1)


def last_axis(situation: Situation) -> Array:
    """Return one group for each index of every axis but the last feature axis."""
    length = situation.configuration.features[-1]
    return _positions(situation).reshape(situation.x.size // max(1, length), length)


def trailing(situation: Situation) -> Array:
    """Return one group for each index of every axis but the input's last, which is none of the features'."""
    positions, length = _positions(situation), situation.shape[-1]
    return positions.T.reshape(positions.size // max(1, length), length)


def channel_groups(situation: Situation) -> Array:
    """Return one group for each sample and each run of features that follow one another, as many as `groups` says."""
    return _in_channels(situation, int(situation.configuration.options["groups"]))


def channels(situation: Situation) -> Array:
    """Return one group for each sample and feature."""
    return _in_channels(situation, situation.x.shape[1])


def swapped_groups(situation: Situation) -> Array:
    """Return groups of as many features as there should be groups."""
    count = situation.x.shape[1]
    return _in_channels(situation, count // int(situation.configuration.options["groups"]))


def interleaved_groups(situation: Situation) -> Array:
    """Return groups of every n-th feature, n the number of groups."""
    groups = int(situation.configuration.options["groups"])
    by_sample = _in_samples(situation)
    samples_, length, count = by_sample.shape
    split = by_sample.reshape(samples_, length, count // groups, groups)
    return np.asarray(split.transpose(0, 3, 1, 2).reshape(samples_ * groups, -1))


def _in_channels(situation: Situation, groups: int) -> Array:
    by_sample = _in_samples(situation)
    samples_, length, count = by_sample.shape
    size = count // max(1, groups)
    split = by_sample.reshape(samples_, length, groups, size).transpose(0, 2, 1, 3)
    return np.asarray(split.reshape(samples_ * groups, length * size))


def _samples(situation: Situation) -> int:
    """Return how many samples the rows are of; where the first axis is a feature axis, each row is one."""
    along_rows = bool(situation.shape) and 0 not in situation.configuration.feature_axes
    return situation.shape[0] if along_rows else len(situation.x)


def _in_samples(situation: Situation) -> Array:
    """Return the positions as (sample, place in it, feature)."""
    count, (length, features) = _samples(situation), situation.x.shape
    return _positions(situation).reshape(count, length // max(1, count), features)


def _positions(situation: Situation) -> Array:
    return np.arange(situation.x.size).reshape(situation.x.shape)

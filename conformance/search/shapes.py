"""The shapes that are drawn from: few, so that what a framework compiles for one serves many examples."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """A shape and the axes that are kept."""

    shape: tuple[int, ...]
    feature_axes: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the feature axes."""
        return tuple(self.shape[axis] for axis in self.feature_axes)

    @property
    def features(self) -> int:
        """How many features there are."""
        return math.prod(self.sizes)

    @property
    def rows(self) -> int:
        """The size of all other axes together."""
        return math.prod(size for axis, size in enumerate(self.shape) if axis not in self.feature_axes)

    @property
    def divisible(self) -> bool:
        """Whether the samples lie along the first axis, so that they can be split among replicas or parts."""
        return 0 not in self.feature_axes


#: The simplest first: a find shrinks towards it.
SMALL = (
    Layout((2, 1), (1,)),
    Layout((3, 1), (1,)),
    Layout((2, 2), (1,)),
    Layout((4, 2), (1,)),
    Layout((1, 2), (1,)),
    Layout((5, 3), (1,)),
    Layout((8, 2), (1,)),
    Layout((16, 1), (1,)),
    Layout((2, 8), (1,)),
    Layout((2, 9), (1,)),
    Layout((3, 13), (1,)),
    Layout((2, 2, 2), (1,)),
    Layout((2, 3, 2), (2,)),
    Layout((1, 2, 3), (1,)),
    Layout((2, 2, 2, 2), (1,)),
    Layout((2, 2, 3, 2), (3,)),
    Layout((1, 2, 2, 2), (1,)),
    Layout((1, 2, 2, 2), (3,)),
    Layout((3, 3, 1, 1), (1,)),
    Layout((2, 2, 2, 1, 2), (1,)),
    Layout((2, 1, 2, 2, 2), (4,)),
    Layout((3, 2, 2), (1, 2)),
    Layout((2, 3, 2, 2), (1, 3)),
    Layout((2, 4), (0,)),
    Layout((4,), (0,)),
    Layout((6, 0), (1,)),
)
#: Of these the values are a recipe's: sums long enough for blocks, lanes and counters to matter.
LARGE = (
    Layout((33, 4), (1,)),
    Layout((260, 3), (1,)),
    Layout((4, 5, 7, 3), (3,)),
    Layout((2, 5, 16, 16), (1,)),
    Layout((1100, 2), (1,)),
    Layout((4099, 1), (1,)),
    Layout((66_000, 1), (1,)),
)
#: Other numbers of samples that a step may have.
BATCHES = (0, 1, 3)

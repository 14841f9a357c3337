"""Choices from drawn bytes: one draw of Hypothesis serves a whole step, since a draw costs more than the choice itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Draw = Callable[[st.SearchStrategy[bytes]], bytes]
T = TypeVar("T")

#: Choices that one draw serves; where more are made, there is another draw.
_AT_ONCE = 16


@functools.cache
def _bytes(count: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=count, max_size=count)


class Picks:
    """Makes choices, each by the next of some drawn bytes; byte 0 is the first and simplest alternative.

    Hypothesis shrinks every byte towards 0, so that the alternatives of a choice are in the order of their simplicity.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._left: list[int] = []

    def begin(self) -> None:
        """Leave the bytes that are left: what follows does not move where the choices before it become fewer."""
        self._left = []

    def one(self, alternatives: Sequence[T]) -> T:
        """Return one of the alternatives."""
        if not self._left:
            self._left = list(reversed(self._draw(_bytes(_AT_ONCE))))
        return alternatives[self._left.pop() * len(alternatives) >> 8]

    def rarely(self, one_in: int) -> bool:
        """Return true once in so many times; the simplest is false."""
        return self.one(range(one_in)) == one_in - 1

    def bytes(self, count: int) -> Bytes:
        """Return so many bytes of a draw of their own."""
        return np.frombuffer(self._draw(_bytes(count)) if count else b"", np.uint8)

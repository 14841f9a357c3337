"""What is computed of an array once, although many hypotheses ask for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
_Result = TypeVar("_Result")


class _ByIdentity:
    """An array as the key of a cache, compared by identity."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.array is self.array


def kept(function: Callable[[Array], _Result]) -> Callable[[Array], _Result]:
    """Return the function with its results of the last few arrays kept, of such as are read-only."""

    @functools.lru_cache(maxsize=4)
    def remembered(key: _ByIdentity) -> _Result:
        return function(key.array)

    @functools.wraps(function)
    def of(array: Array) -> _Result:
        return function(array) if array.flags.writeable else remembered(_ByIdentity(array))

    return of

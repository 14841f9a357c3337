"""What is computed once of an array, or of a situation, although many hypotheses ask for it.

Only of arrays that nobody can write to, which whoever makes a situation sees to: of large ones nothing should be kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from conformance.operations.situation import Situation

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

    @functools.lru_cache(maxsize=16)
    def remembered(key: _ByIdentity) -> _Result:
        return function(key.array)

    @functools.wraps(function)
    def of(array: Array) -> _Result:
        return function(array) if array.flags.writeable else remembered(_ByIdentity(array))

    return of


def kept_by_situation(function: Callable[[Situation], _Result]) -> Callable[[Situation], _Result]:
    """Return the function with its results of the last few situations kept, of such whose x is read-only."""
    remembered = functools.lru_cache(maxsize=2)(function)

    @functools.wraps(function)
    def of(situation: Situation) -> _Result:
        return function(situation) if situation.x.flags.writeable else remembered(situation)

    return of

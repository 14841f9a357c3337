"""The first of a row of versions in which something changed: a pure function of what a probe answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

V = TypeVar("V")


class Answer(StrEnum):
    """What a version shows."""

    SAME = "same"
    CHANGED = "changed"
    #: It does not install, does not import, or ran nothing: it tells nothing.
    UNTESTABLE = "untestable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[V]):
    """Two versions between which something changed."""

    #: The last that was as the base.
    last: V
    #: The first that was not.
    first: V
    #: Those between them, which tell nothing: the change may be in one of them.
    untestable: tuple[V, ...]


def bisect(versions: Sequence[V], probe: Callable[[V], Answer]) -> Found[V]:
    """Return where the change is, between the first of `versions`, which is as the base, and the last, which is not.

    Neither end is probed. Versions between two that show the same are not tested: a change that was made and taken
    back among them is not seen.
    """
    low, high = 0, len(versions) - 1
    untestable: set[int] = set()
    while middle := _middle(low, high, untestable):
        match probe(versions[middle]):
            case Answer.SAME:
                low = middle
            case Answer.CHANGED:
                high = middle
            case Answer.UNTESTABLE:
                untestable.add(middle)
    return Found(
        last=versions[low],
        first=versions[high],
        untestable=tuple(versions[position] for position in range(low + 1, high)),
    )


def _middle(low: int, high: int, untestable: set[int]) -> int:
    """Return the testable position nearest to the middle, strictly between the two; 0 where there is none."""
    inside = [position for position in range(low + 1, high) if position not in untestable]
    return min(inside, key=lambda position: (abs(2 * position - low - high), position), default=0)

"""Where in a row of versions something changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from conformance.regression.bisection import Answer, bisect
from tests.drawing import drawn


def probing(first: int, untestable: Collection[int] = ()) -> tuple[Callable[[int], Answer], list[int]]:
    """Return a probe by which everything from `first` on has changed, and the list of what it was asked."""
    asked: list[int] = []

    def probe(version: int) -> Answer:
        asked.append(version)
        if version in untestable:
            return Answer.UNTESTABLE
        return Answer.CHANGED if version >= first else Answer.SAME

    return probe, asked


@st.composite
def rows(draw: Any) -> tuple[int, int, set[int]]:
    """Draw the last version of a row, the first that has changed, and those between the ends that tell nothing."""
    last = draw(st.integers(1, 40))
    within = st.integers(1, last - 1) if last > 1 else st.nothing()
    return last, draw(st.integers(1, last)), draw(st.sets(within))


@drawn(4)
@given(rows())
def test_the_change_is_between_two_versions_that_tell_or_hidden_by_those_that_do_not(row: Any) -> None:
    last, first, untestable = row
    probe, asked = probing(first, untestable)
    found = bisect(range(last + 1), probe)
    assert found.last < first <= found.first
    assert {*found.untestable} == {*range(found.last + 1, found.first)} <= untestable
    assert not {found.last, found.first} & untestable
    assert len(asked) == len(set(asked))
    assert not {0, last} & {*asked}
    assert untestable or len(asked) <= math.ceil(math.log2(last))


def test_as_many_versions_are_asked_as_halving_needs_and_the_ends_are_not() -> None:
    probe, asked = probing(3)
    bisect(range(65), probe)
    assert len(asked) == 6
    assert not {0, 64} & {*asked}

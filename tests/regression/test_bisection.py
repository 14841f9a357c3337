"""Where in a row of versions something changed."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from conformance.regression.bisection import Answer, Found, bisect


def probing(first: int, untestable: Collection[int] = ()) -> tuple[Callable[[int], Answer], list[int]]:
    """Return a probe by which everything from `first` on has changed, and the list of what it was asked."""
    asked: list[int] = []

    def probe(version: int) -> Answer:
        asked.append(version)
        if version in untestable:
            return Answer.UNTESTABLE
        return Answer.CHANGED if version >= first else Answer.SAME

    return probe, asked


@pytest.mark.parametrize("last", range(1, 20))
def test_the_first_version_that_changed_is_found_wherever_it_is(last: int) -> None:
    for first in range(1, last + 1):
        probe, _ = probing(first)
        assert bisect(range(last + 1), probe) == Found(last=first - 1, first=first, untestable=())


def test_as_many_versions_are_asked_as_halving_needs_and_the_ends_are_not() -> None:
    probe, asked = probing(3)
    bisect(range(65), probe)
    assert len(asked) == 6
    assert not {0, 64} & {*asked}


@pytest.mark.parametrize("first", range(1, 10))
@pytest.mark.parametrize("untestable", [{4}, {3, 4, 5}, {1, 2}, {7, 8}, {1, 3, 5, 7}, {*range(1, 9)}])
def test_versions_that_tell_nothing_are_passed_over_and_named_where_they_hide_the_change(
    first: int, untestable: set[int]
) -> None:
    probe, asked = probing(first, untestable)
    found = bisect(range(10), probe)
    assert found.last < first <= found.first
    assert {*found.untestable} == {*range(found.last + 1, found.first)} <= untestable
    assert len(asked) == len(set(asked))

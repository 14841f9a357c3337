"""How a search is shared out: every case once, seeds that never meet, and workers that stay where they are warm."""

from __future__ import annotations

from conformance.search.shares import Share, Shares


def taken(shares: Shares, able: set[int], warm: set[int]) -> Share:
    share = shares.take(able, warm)
    assert share is not None
    return share


def test_the_shares_of_a_process_are_its_examples_from_other_seeds() -> None:
    shares = Shares(1, 1_200, 7)
    given = [taken(shares, {0}, set()) for _ in range(3)]
    assert [share.examples for share in given] == [500, 500, 200]
    assert [share.seed for share in given] == [7, 1_007, 2_007]
    assert [share.first for share in given] == [True, False, False]
    assert shares.take({0}, set()) is None
    assert shares.open() == []


def test_without_a_number_of_examples_there_is_always_another() -> None:
    shares = Shares(2, None, 0)
    assert [taken(shares, {0, 1}, set()).ground for _ in range(4)] == [0, 1, 0, 1]
    assert shares.open() == [0, 1]


def test_a_worker_stays_with_what_it_has_started_and_not_for_ever() -> None:
    shares = Shares(2, None, 0)
    assert [taken(shares, {0, 1}, {0}).ground for _ in range(7)] == [0, 0, 0, 0, 0, 1, 0]


def test_a_worker_gets_nothing_that_it_cannot_search() -> None:
    shares = Shares(2, 10, 0)
    assert taken(shares, {1}, set()).ground == 1
    assert shares.take({1}, set()) is None
    assert shares.open() == [0]


def test_where_little_could_be_drawn_there_is_nothing_more() -> None:
    shares = Shares(1, None, 0)
    share = taken(shares, {0}, set())
    shares.ended(share, 250)
    assert shares.open() == [0]
    shares.ended(share, 249)
    assert shares.open() == []

"""Batches hold every cell once, of one worker and device each, and cut no signature."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.planning.batches import batches, within
from conformance.planning.costs import Costs
from conformance.planning.order import by_signature
from conformance.planning.plan import Cell
from tests.fake_cells import case, cell, key

WORKERS = [key("a"), key("b"), replace(key("c"), shared="b")]


def cells(picks: list[tuple[int, int, int]]) -> list[Cell]:
    """Return a cell for each worker, row and shape."""
    return [
        replace(
            cell(("nothing", "abort")[row % 2], "x", worker=WORKERS[worker]),
            case=case(f"{number}", shape=(shape + 2, 3)),
        )
        for number, (worker, row, shape) in enumerate(picks)
    ]


picked = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 3)), max_size=40)


@settings(deadline=None, max_examples=40)
@given(picked, st.integers(1, 64))
def test_every_cell_is_in_one_batch_with_the_others_of_its_signature(
    picks: list[tuple[int, int, int]], slots: int
) -> None:
    planned = cells(picks)
    cut = batches(planned, Costs(), slots)
    assert sorted(one.id for batch in cut for one in batch.cells) == sorted(one.id for one in planned)
    for batch in cut:
        assert {(one.key, one.device) for one in batch.cells} == {(batch.key, batch.device)}
    where = {one.id: number for number, batch in enumerate(cut) for one in batch.cells}
    assert all(len({where[one.id] for one in group}) == 1 for group in by_signature(planned))


def test_batches_cost_about_the_same() -> None:
    cut = batches(cells([(0, 0, shape % 40) for shape in range(400)]), Costs(usual=2.0), 2)
    costs = [batch.cost for batch in cut]
    assert len(cut) > 4
    assert max(costs[:-1]) < 2 * min(costs[:-1])


def test_a_batch_holds_no_more_bytes_than_it_may_but_for_a_case_that_has_more_alone() -> None:
    """All of one signature, which would otherwise be one batch."""
    planned = cells([(0, 0, 1)] * 40)
    most = 3 * bytes_of(planned[0])
    cut = batches(planned, Costs(), 1, most)
    assert [one.id for batch in cut for one in batch.cells] == [one.id for one in planned]
    assert max(sum(map(bytes_of, batch.cells)) for batch in cut) <= most
    assert len(cut) < len(planned)
    assert [len(batch.cells) for batch in batches(planned[:2], Costs(), 1, 1)] == [1, 1]


def test_what_is_tried_again_is_cut_in_the_same_way() -> None:
    planned = cells([(0, 0, 1)] * 5)
    assert [len(part) for part in within(planned, 2 * bytes_of(planned[4]))] == [2, 2, 1]
    assert within([]) == []


def bytes_of(one: Cell) -> int:
    return len(one.case.model_dump_json(exclude_defaults=True))

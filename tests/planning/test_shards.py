"""Shares of a run: every cell in one of them, what is compiled together together, about the same cost in each."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.errors import UsageError
from conformance.planning.costs import Costs
from conformance.planning.plan import Cell, Selection, plan
from conformance.planning.shards import Shard, shard_of, share
from tests.cells import case, key, located, offer, offered

SHAPES = ([8, 3], [4, 2], [16, 5])
CASES = [located(case(id=f"a.{number}", shape=SHAPES[number % len(SHAPES)])) for number in range(12)]
OFFERS = [
    offer(
        offered(name=f"{library}.Layer", modes=("eager", "compiled")),
        cases=len(CASES),
        key=key(name=library, interpreter=f"/{library}/python"),
    )
    for library in ("one", "two", "three")
]
CELLS = list(plan(CASES, OFFERS, Selection()))
COSTS = Costs(seconds={"one.Layer-eager": 0.1, "one.Layer-compiled": 4.0, "two.Layer-eager": 0.5}, usual=1.0)


def shards(count: int, cells: list[Cell] = CELLS, costs: Costs = COSTS) -> list[list[Cell]]:
    return [share(cells, Shard(number=number + 1, count=count), costs) for number in range(count)]


@given(count=st.integers(1, 200))
@settings(deadline=None, max_examples=40)
def test_every_cell_is_in_one_shard(count: int) -> None:
    ids = [cell.id for cells in shards(count) for cell in cells]
    assert sorted(ids) == sorted(cell.id for cell in CELLS)


@given(count=st.integers(2, 30), order=st.permutations(range(len(CELLS))))
@settings(deadline=None, max_examples=40)
def test_which_shard_has_a_cell_does_not_depend_on_the_order_of_the_plan(count: int, order: list[int]) -> None:
    one, other = shards(count), shards(count, [CELLS[place] for place in order])
    assert [{cell.id for cell in cells} for cells in one] == [{cell.id for cell in cells} for cells in other]


def test_nor_on_where_an_interpreter_is() -> None:
    moved = [
        offer(*made.implementations, cases=len(CASES), key=key(name=made.key.name, interpreter="/elsewhere/python"))
        for made in OFFERS
    ]
    cells = list(plan(CASES, moved, Selection()))
    assert [[cell.id for cell in part] for part in shards(5, cells)] == [
        [cell.id for cell in part] for part in shards(5)
    ]


def test_a_shard_keeps_the_order_of_the_plan() -> None:
    for cells in shards(3):
        assert cells == [cell for cell in CELLS if cell in cells]


@pytest.mark.parametrize("count", [2, 3, 7, 100])
def test_what_is_compiled_once_is_in_one_shard(count: int) -> None:
    place = {cell.id: number for number, cells in enumerate(shards(count)) for cell in cells}
    homes: dict[tuple[object, ...], set[int]] = {}
    for cell in CELLS:
        homes.setdefault((cell.column, cell.case.configuration.shape), set()).add(place[cell.id])
    assert all(len(numbers) == 1 for numbers in homes.values())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_shards_cost_about_the_same(count: int) -> None:
    """No shard is farther from its part of the whole than the costliest signature, which cannot be cut."""
    costs = [sum(map(COSTS.cost, cells)) for cells in shards(count)]
    signature = 4 * 4.0
    assert max(abs(cost - sum(costs) / count) for cost in costs) <= signature


def test_where_nothing_is_performed_the_first_shard_has_it_all() -> None:
    assert [len(cells) for cells in shards(3, costs=Costs(usual=0.0, seconds={}))] == [len(CELLS), 0, 0]


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "a/b", "-1/4", "1/4/2", "1 / 4", "٣/8", "1/99999999"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected K/N"):
        shard_of(text)


def test_a_shard_is_counted_from_one() -> None:
    assert shard_of("3/8") == Shard(number=3, count=8)

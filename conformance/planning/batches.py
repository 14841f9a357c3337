"""Batches of cells that are sent somewhere together: each of one worker and device, and of about the same cost.

They are cut from the row of `conformance.planning.shards`, where cells that compile the same stand together: a signature is
never cut in two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.planning.costs import Costs
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell
from conformance.planning.shards import by_signature

#: Batches to a slot: so many that none is alone at the end for long, and so few that sending them costs little.
_TO_A_SLOT = 12
#: The seconds that a batch should take at least and at most: sending one takes milliseconds, and losing one its whole time.
_SHORTEST, _LONGEST = 1.0, 60.0
#: What a cell costs at least: it is sent, judged and told of, however fast the library is.
_SUITE_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Cells of one worker and device, that are performed one after the other."""

    cells: tuple[Cell, ...]
    cost: float

    @property
    def key(self) -> WorkerKey:
        """The worker that performs them."""
        return self.cells[0].key

    @property
    def device(self) -> str:
        """The device that they are performed on."""
        return self.cells[0].device


def batches(cells: Sequence[Cell], costs: Costs, slots: int) -> list[Batch]:
    """Return the cells in batches for so many slots that work at once."""
    row = [(group, sum(_cost(cell, costs) for cell in group)) for group in by_signature(cells)]
    whole = sum(cost for _, cost in row)
    target = min(max(whole / (max(slots, 1) * _TO_A_SLOT), _SHORTEST), _LONGEST)
    return list(_cut(row, target))


def _cut(row: Sequence[tuple[list[Cell], float]], target: float) -> Iterator[Batch]:
    """Yield batches, each as soon as it costs as much as the target or its worker or device ends."""
    cells: list[Cell] = []
    cost = 0.0
    for group, more in row:
        if cells and (_lane(cells[0]) != _lane(group[0]) or cost + more / 2 > target):
            yield Batch(cells=tuple(cells), cost=cost)
            cells, cost = [], 0.0
        cells += group
        cost += more
    if cells:
        yield Batch(cells=tuple(cells), cost=cost)


def _lane(cell: Cell) -> tuple[WorkerKey, str]:
    return cell.key, cell.device


def _cost(cell: Cell, costs: Costs) -> float:
    return costs.cost(cell) + _SUITE_SECONDS

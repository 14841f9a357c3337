"""Batches of cells that are sent somewhere together: each of one worker and device, and of about the same cost.

They are cut from the row of `conformance.planning.order`, where cells that compile the same stand together: a signature is
cut in two only where its cases are more than a batch may hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.planning.costs import Costs
from conformance.planning.discovery import WorkerKey
from conformance.planning.order import by_signature
from conformance.planning.plan import Cell
from conformance.spec.case import Case

#: Batches to a slot: so many that none is alone at the end for long, and so few that sending them costs little.
_TO_A_SLOT = 12
#: The seconds that a batch should take at least and at most: sending one takes milliseconds, and losing one its whole time.
_SHORTEST, _LONGEST = 1.0, 60.0
#: What a cell costs at least: it is sent, judged and told of, however fast the library is.
_SUITE_SECONDS = 0.005
#: The bytes that the cases of a batch may have together, as text: a scheduler holds every batch that it has not handed on. One
#: case may have more; most have some hundred.
BYTES = 4 * 2**20


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


def batches(cells: Sequence[Cell], costs: Costs, slots: int, most: int = BYTES) -> list[Batch]:
    """Return the cells in batches for so many slots that work at once, of at most so many bytes."""
    size = _Sizes()
    row = [
        _Part(
            cells=part,
            cost=sum(_cost(cell, costs) for cell in part),
            bytes=sum(size(cell.case) for cell in part),
        )
        for group in by_signature(cells)
        for part in _within(group, size, most)
    ]
    whole = sum(part.cost for part in row)
    target = min(max(whole / (max(slots, 1) * _TO_A_SLOT), _SHORTEST), _LONGEST)
    return list(_cut(row, target, most))


def within(cells: Sequence[Cell], most: int = BYTES) -> list[list[Cell]]:
    """Return the cells in parts, in their order, whose cases have at most so many bytes; one alone may have more."""
    return list(_within(cells, _Sizes(), most))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Cells that stay together."""

    cells: Sequence[Cell]
    cost: float
    bytes: int


def _cut(row: Sequence[_Part], target: float, most: int) -> Iterator[Batch]:
    """Yield batches, each as soon as it costs as much as the target, is full, or its worker or device ends."""
    cells: list[Cell] = []
    cost, held = 0.0, 0
    for part in row:
        other = bool(cells) and _lane(cells[0]) != _lane(part.cells[0])
        if cells and (other or cost + part.cost / 2 > target or held + part.bytes > most):
            yield Batch(cells=tuple(cells), cost=cost)
            cells, cost, held = [], 0.0, 0
        cells += part.cells
        cost, held = cost + part.cost, held + part.bytes
    if cells:
        yield Batch(cells=tuple(cells), cost=cost)


def _within(cells: Sequence[Cell], size: _Sizes, most: int) -> Iterator[list[Cell]]:
    part: list[Cell] = []
    held = 0
    for cell in cells:
        more = size(cell.case)
        if part and held + more > most:
            yield part
            part, held = [], 0
        part.append(cell)
        held += more
    if part:
        yield part


class _Sizes:
    """The bytes of each case as text, counted once."""

    def __init__(self) -> None:
        self._by_id: dict[str, int] = {}

    def __call__(self, case: Case) -> int:
        if case.id not in self._by_id:
            self._by_id[case.id] = len(case.model_dump_json(exclude_defaults=True))
        return self._by_id[case.id]


def _lane(cell: Cell) -> tuple[WorkerKey, str]:
    return cell.key, cell.device


def _cost(cell: Cell, costs: Costs) -> float:
    return costs.cost(cell) + _SUITE_SECONDS

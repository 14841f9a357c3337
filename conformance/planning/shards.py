"""A share of a run: the same cells wherever it is worked out, so that shards need nothing from one another.

The cells stand in a row, those of one process together, in it those of one implementation and mode, in them those of one
signature, since they share what is imported and what is compiled. The row is cut where its cost is 1/N, 2/N, … of the whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.errors import UsageError
from conformance.planning.costs import Costs
from conformance.planning.order import by_signature
from conformance.planning.plan import Cell

_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of `count` shares, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def shard_of(text: str) -> Shard:
    """Return the shard that a person wrote as `3/8`. Raises `UsageError`."""
    match = _SHARD.fullmatch(text)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(f"--shard {text[:40]}: expected K/N with K from 1 to N, as in 3/8")
    return Shard(number=number, count=count)


def share(cells: Sequence[Cell], shard: Shard, costs: Costs) -> list[Cell]:
    """Return the cells of that shard, in the order of the plan.

    A signature is never cut in two. What is not performed goes with what it stands beside.
    """
    row = by_signature(cells)
    weights = [sum(map(costs.cost, group)) for group in row]
    whole = sum(weights)
    taken: set[str] = set()
    before = 0.0
    for group, weight in zip(row, weights, strict=True):
        middle = (before + weight / 2) / whole if whole else 0.0
        if min(int(middle * shard.count), shard.count - 1) == shard.number - 1:
            taken |= {cell.id for cell in group}
        before += weight
    return [cell for cell in cells if cell.id in taken]

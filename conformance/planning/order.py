"""The order of cells: those that compile the same stand together, and the process that has most to do comes first.

A library keeps what it compiled for some last configurations alone, so that cells of one that stand far apart compile it
again: in the order of the spec, JAX compiles a ninth more programs.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

from conformance.planning.costs import Costs
from conformance.planning.plan import Cell


def in_order(cells: Sequence[Cell], costs: Costs) -> list[Cell]:
    """Return the cells as a run performs them: the longest process first, so that none is left alone at the end."""
    seconds: defaultdict[tuple[object, ...], float] = defaultdict(float)
    for cell in cells:
        seconds[cell.key.process] += costs.cost(cell)
    row = itertools.chain.from_iterable(by_signature(cells))
    return sorted(row, key=lambda cell: -seconds[cell.key.process])


def by_signature(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells in one row, those of one process together, and cut between signatures."""
    return [list(group) for _, group in itertools.groupby(sorted(cells, key=_place), key=_place)]


def _place(cell: Cell) -> tuple[str, ...]:
    """Return where the cell stands in the row, by names alone: no interpreter's place, which differs between machines."""
    configuration = cell.case.configuration
    signature = (
        configuration.op,
        configuration.shape,
        configuration.dtype,
        configuration.feature_axes,
        configuration.memory,
    )
    process = cell.key.shared or cell.key.name
    return (
        cell.key.group or "",
        process,
        cell.key.name,
        cell.implementation.name,
        cell.mode,
        cell.device,
        repr(signature),
    )

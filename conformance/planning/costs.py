"""What cells cost, from `spec/costs.json`: the mean seconds of each implementation and mode in runs that were recorded.

They order and divide work. No verdict depends on them, and what is not in the file costs as much as the usual cell.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from conformance.errors import SuiteError
from conformance.planning.plan import Cell

FILE = "costs.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Mean seconds of a cell that is performed, by implementation and mode: `torch.nn.BatchNorm-eager`."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    usual: float = 1.0

    def cost(self, cell: Cell) -> float:
        """Return the seconds that the cell is expected to take; 0 where it is not performed."""
        if cell.unsupported is not None:
            return 0.0
        return self.seconds.get(f"{cell.implementation.name}-{cell.mode}", self.usual)


def load_costs(path: Path) -> Costs:
    """Return the costs in the file at `path`. Raises `SuiteError` where it is not as `check --write-costs` writes it."""
    try:
        seconds = msgspec.json.decode(path.read_bytes(), type=dict[str, float])
    except (OSError, msgspec.MsgspecError) as error:
        raise SuiteError(f"{path}: {error}; `conformance check --write-costs RUN` writes it anew") from error
    return Costs(seconds=seconds, usual=statistics.median(seconds.values()) if seconds else 1.0)

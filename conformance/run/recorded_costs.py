"""What cells cost, from runs that were recorded into `spec/costs.json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from conformance.planning.costs import FILE
from conformance.runfile.run import Run
from conformance.verdict import Verdict


def write_costs(folder: Path, runs: Sequence[Run]) -> Path:
    """Write the mean seconds of each implementation and mode into the folder, and return the path of the file."""
    costs = msgspec.json.encode(mean_seconds(runs), order="sorted")
    (folder / FILE).write_bytes(msgspec.json.format(costs, indent=1) + b"\n")
    return folder / FILE


def mean_seconds(runs: Iterable[Run]) -> dict[str, float]:
    """Return by implementation and mode the mean seconds of the cells that were performed, to three digits."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for record in run.records:
            if record.verdict is not Verdict.UNSUPPORTED:
                spent = sum(step.seconds or 0.0 for step in record.steps)
                seconds[f"{record.implementation}-{record.mode}"].append(spent)
    return {column: float(f"{sum(spent) / len(spent):.3g}") for column, spent in seconds.items()}

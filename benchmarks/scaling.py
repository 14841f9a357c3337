"""How what a report and a comparison cost grows with the cells: `python benchmarks/scaling.py [CELLS]...`.

For each number of cells, made up, and for `conformance report` and `conformance compare` in a process each: the seconds of
processor time and the most memory it held, by the cell, and both as ratios to those of the first number. A ratio that stays
near 1 grows as the cells do. Beside it stands how often Python's own `json` would have read the file in that time, which is
told of another machine, or of a busy one, too. By default 15000 and 60000; 240000 takes some minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.many_cells import write_many

ROOT = Path(__file__).parents[1]
#: The yardstick.
_READING = "import json, sys; [json.loads(line) and None for line in open(sys.argv[1], 'rb')]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one command took."""

    cells: int
    seconds: float
    megabytes: float

    def told(self, first: Cost, reading: Cost) -> str:
        """Return it on one line, beside what the first number of cells took and what reading the file takes."""
        seconds, memory = (
            (value / self.cells) / (value_first / first.cells)
            for value, value_first in ((self.seconds, first.seconds), (self.megabytes, first.megabytes))
        )
        return (
            f"{self.cells:>9,} cells: {self.seconds:7.1f} s, {1000 * self.seconds / self.cells:.3f} ms a cell"
            f" ({seconds:.2f} of the first), {self.seconds / reading.seconds:.1f} readings; {self.megabytes:7.0f} MB, {1000 * self.megabytes / self.cells:.1f} kB a cell"
            f" ({memory:.2f} of the first)"
        )


def cost(cells: int, command: Sequence[str]) -> Cost:
    """Return what Python takes in a process of its own, with those words."""
    process = subprocess.Popen(
        [sys.executable, "-P", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return Cost(cells=cells, seconds=usage.ru_utime + usage.ru_stime, megabytes=usage.ru_maxrss / 1024)


def main(sizes: Sequence[int]) -> None:
    """Measure each number of cells and print what it takes."""
    first: dict[str, Cost] = {}
    for cells in sizes:
        with tempfile.TemporaryDirectory() as name:
            run_file = str(write_many(Path(name) / "run.jsonl", cells))
            commands = {
                "report": ["report", run_file, "--out", f"{name}/report"],
                "compare": ["compare", "--base", run_file, "--new", run_file],
            }
            reading = cost(cells, ["-c", _READING, run_file])
            for label, command in commands.items():
                measured = cost(cells, ["-m", "conformance", *command])
                print(f"{label:8} {measured.told(first.setdefault(label, measured), reading)}", flush=True)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [15_000, 60_000])

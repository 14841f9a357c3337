"""What a cell costs beside the framework's own time: `python benchmarks/harness.py [CELLS]`.

Performs that many cells of one cheap step in one worker and prints milliseconds a cell: of the whole, of the
step itself as the worker timed it, and of what is left, which is the harness.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.execution.execute import execute
from conformance.execution.pool import Workers
from conformance.outcome import Produced
from tests.fake_cells import row


def main(count: int) -> None:
    """Print the cost of `count` cells."""
    cells = row("nothing", count, fatal=-1)
    with tempfile.TemporaryDirectory() as folder, Workers(1, Path(folder)) as workers:
        stream = execute(cells, workers)
        next(stream)  # the worker's start is not a cell's
        started = time.perf_counter()
        inside = sum(each.seconds for _, found in stream for each in found if isinstance(each, Produced))
        whole = time.perf_counter() - started
    milliseconds = 1000 / (count - 1)
    print(f"cells {count - 1}")
    print(f"whole     {whole * milliseconds:.3f} ms a cell")
    print(f"framework {inside * milliseconds:.3f} ms a cell")
    print(f"harness   {(whole - inside) * milliseconds:.3f} ms a cell")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)

"""The memory of a run of many cells: `python benchmarks/sweep.py 100000`.

Writes a sweep of so many cases, runs them by the row `sweep.some`, which performs one case in fifty and supports no other, and
prints how many bytes of memory the run held at most and what a cell added. What is not performed is planned,
queued, judged, recorded and told to pytest like any other.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[1]
#: Cases of a file, of which none may have more.
_TO_A_FILE = 2_000
_ADAPTER = """
from dataclasses import replace
from pathlib import Path
from conformance.protocol import Adapter
from conformance.worker.adapter_file import load_adapter

PROCESSES = [{{"name": "sweep", "group": None, "environment": {{}}}}]
_MODULE = load_adapter({numpy!r})
_NUMPY = _MODULE.ADAPTER
BatchNorm = _MODULE.BatchNorm
_BASE = _NUMPY.implementations[0]

def _supports(configuration):
    return None if configuration.shape[0] % 50 == 4 else "is no fiftieth case"

ADAPTER = Adapter(
    library=_NUMPY.library, versions=_NUMPY.versions, settings=_NUMPY.settings,
    implementations=(replace(_BASE, name="sweep.some", supports=_supports),),
)
"""
_FILE = """
- id: sweep{number}.row
  title: One train step of a layer of many sizes
  source: none, it measures the runner
  clauses: ["1.1"]
  op: batch_norm
  feature_axes: [-1]
  matrix:
    rows: {{{rows}}}
  steps:
  - {{step: train, input: {{kind: normal, seed: 1}}, upstream: {{kind: normal, seed: 2}}}}
"""


def main(cells: int) -> None:
    """Run a sweep of so many cells, and print what memory it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.py").write_text(_ADAPTER.format(numpy=str(_ROOT / "adapters" / "numpy" / "batch_norm.py")))
        for number, first in enumerate(range(0, cells, _TO_A_FILE)):
            sizes = range(4, 4 + min(_TO_A_FILE, cells - first))
            rows = ", ".join(f"r{size}: {{shape: [{size}, 3]}}" for size in sizes)
            (folder / f"sweep{number}.yaml").write_text(_FILE.format(number=number, rows=rows))
        words = [
            "run",
            str(folder),
            "--adapter",
            "sweep.py:ADAPTER",
            "--out",
            "run.jsonl",
            *sys.argv[2:],
            "--",
            "-q",
            "-q",
        ]
        ended = subprocess.run([sys.executable, "-P", "-m", "conformance", *words], cwd=folder, check=False)
        lines = sum(b'"kind":"record"' in line for line in (folder / "run.jsonl").open("rb"))
        size = (folder / "run.jsonl").stat().st_size
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"exit code {ended.returncode}; {lines:,} records in {size / 2**20:,.1f} MiB")
    print(
        f"processor time {used.ru_utime + used.ru_stime:,.1f} s; at most {used.ru_maxrss / 2**10:,.0f} MiB in a process"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

"""What a run of many cells and its report take: `python benchmarks/sweep.py 100000`, on Linux.

Writes a sweep of so many cases, runs them by the row `sweep.some`, which performs one case in fifty and supports no other, makes
the report, and prints the seconds a cell and the most memory that each process held. What is not performed is planned, queued,
judged, recorded and told to pytest like any other. `--every` performs every case; further words go to `conformance run`.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import tempfile
import time
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
    return None if configuration.shape[0] % {one_in} == 4 % {one_in} else "is no such case"

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


def _measured(words: list[str], folder: Path) -> int:
    """Run a command of ours, print what it and its processes took, and return its exit code."""
    began = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([sys.executable, "-P", "-m", "conformance", *words], cwd=folder)
    peaks: dict[int, tuple[str, int]] = {}
    while process.poll() is None:
        for pid in (process.pid, *_children(process.pid)):
            with contextlib.suppress(OSError):  # it has ended
                peaks[pid] = _peak(pid) or peaks.get(pid, ("", 0))
        time.sleep(0.5)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(f"{words[0]}: {time.perf_counter() - began:,.1f} s, {processor:,.1f} s of processor time")
    for name, kilobytes in sorted(peaks.values(), key=lambda peak: -peak[1]):
        print(f"    {kilobytes / 2**10:>8,.0f} MiB  {name}")
    return process.returncode


def _children(pid: int) -> list[int]:
    """Return every process that one started, and those that these did."""
    started: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            started += [int(word) for word in thread.read_text().split()]
    return [*started, *(child for one in started for child in _children(one))]


def _peak(pid: int) -> tuple[str, int] | None:
    """Return what a process runs, and the most kilobytes that it held; None where it has ended and waits to be told."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    held = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return (" ".join(words[1:])[:70], held[0]) if held else None


def main(cells: int, further: list[str]) -> None:
    """Run a sweep of so many cells, make its report, and print what both took."""
    every = "--every" in further
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numpy = str(_ROOT / "adapters" / "numpy" / "batch_norm.py")
        (folder / "sweep.py").write_text(_ADAPTER.format(numpy=numpy, one_in=1 if every else 50))
        for number, first in enumerate(range(0, cells, _TO_A_FILE)):
            sizes = range(4, 4 + min(_TO_A_FILE, cells - first))
            rows = ", ".join(f"r{size}: {{shape: [{size}, 3]}}" for size in sizes)
            (folder / f"sweep{number}.yaml").write_text(_FILE.format(number=number, rows=rows))
        words = ["run", str(folder), "--adapter", "sweep.py:ADAPTER", "--out", "run.jsonl"]
        code = _measured([*words, *(word for word in further if word != "--every"), "--", "-q", "-q"], folder)
        lines = sum(b'"kind":"record"' in line for line in (folder / "run.jsonl").open("rb"))
        size = (folder / "run.jsonl").stat().st_size
        print(f"exit code {code}; {lines:,} records in {size / 2**20:,.1f} MiB", flush=True)
        _measured(["report", "run.jsonl", "--out", "report"], folder)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2:])

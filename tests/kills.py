"""Runs that are killed at random moments, and what `--resume` makes of what they left.

    python -m tests.kills COUNT [SEED]

kills so many runs, from the first moment on, its head included, and compares what is resumed with a run that nobody disturbed:
every cell once, with the verdict and score it has there, the exit code it has there, and no process left.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from conformance.runfile.reading import read
from tests.execution.test_strays import ends

RUN = ["run", "--implementation", "numpy.*", "--case", "edges.*", "--workers", "2", "--out", "run.jsonl"]


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the run in a folder."""
    command = [sys.executable, "-P", "-m", "conformance", *RUN, *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=nowhere, stderr=nowhere)


def results(folder: Path) -> dict[str, tuple[str, str, object]]:
    """Return verdict, standing and score of every cell; fails where one is there twice."""
    records = read(folder / "run.jsonl").records
    found: dict[str, tuple[str, str, object]] = {
        record.cell: (record.verdict.value, record.standing.value, record.score) for record in records
    }
    assert len(found) == len(records), "a cell is there twice"
    return found


def difference(folder: Path, seconds: float, wanted: dict[str, tuple[str, str, object]], code: int) -> tuple[str, str]:
    """Kill a run after so many seconds and resume it; return what was there then, and what differs in the end."""
    run = started(folder)
    time.sleep(seconds)
    children = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
    run.kill()
    run.wait()
    file = folder / "run.jsonl"
    lines = len(file.read_bytes().splitlines()) if file.exists() else 0
    left = f"{lines} lines" if file.exists() else "no file"
    orphans = [child.pid for child in children if not ends(child)]
    resumed = started(folder, "--resume") if file.exists() else started(folder)
    resumed_code = resumed.wait()
    if orphans:
        return left, f"left processes {orphans}"
    if resumed_code != code:
        return left, f"exit code {resumed_code}, expected {code}"
    return left, "" if results(folder) == wanted else "other results"


def main(count: int, seed: int = 1) -> None:
    """Kill and resume so many runs, and tell of each."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        code = started(Path(folder)).wait()
        whole = time.monotonic() - began
        wanted = results(Path(folder))
    print(f"undisturbed: {len(wanted)} cells in {whole:.1f} s, exit code {code}", flush=True)
    failed = 0
    for number in range(1, count + 1):
        seconds = draw.uniform(0, whole)
        with tempfile.TemporaryDirectory() as folder:
            left, differs = difference(Path(folder), seconds, wanted, code)
        failed += bool(differs)
        print(f"{number}: killed after {seconds:.2f} s, {left}: {differs or 'as undisturbed'}", flush=True)
    print(f"{count} killed, {failed} differ", flush=True)


if __name__ == "__main__":
    os.nice(19)
    main(*map(int, sys.argv[1:]))

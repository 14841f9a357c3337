"""Runs that are killed at random moments, and what `--resume` makes of what they left.

    python -m tests.kills COUNT [SEED]

kills so many runs, and compares what is resumed with a run that nobody disturbed: every cell once, with the verdict and score it
has there, the exit code it has there, and no process left. A moment is a number of lines that the run file has by then: none
for one in six, before there is a file; else any, its head included; and up to a twentieth of a second more.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from conformance.runfile.reading import read
from tests.execution.test_strays import ends

RUN = ["run", "--implementation", "numpy.*", "--case", "edges.*", "--workers", "2", "--out", "run.jsonl"]
#: Seconds between two looks at the file.
_LOOK = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a run is killed: so many seconds after its file has so many lines; of none, after its start."""

    lines: int
    seconds: float


def drawn(draw: random.Random, lines: int, start: float) -> Moment:
    """Draw a moment of a run whose file has that many lines in the end, the first after `start` seconds."""
    if draw.random() < 1 / 6:
        return Moment(lines=0, seconds=draw.uniform(0, start))
    return Moment(lines=draw.randint(1, lines), seconds=draw.uniform(0, 0.05))


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the run in a folder."""
    command = [sys.executable, "-P", "-m", "conformance", *RUN, *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=nowhere, stderr=nowhere)


def lines_of(file: Path) -> int:
    """Return how many whole lines a file has; none where it is not there."""
    try:
        return file.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def results(folder: Path) -> dict[str, tuple[str, str, object]]:
    """Return verdict, standing and score of every cell; fails where one is there twice."""
    records = read(folder / "run.jsonl").records
    found: dict[str, tuple[str, str, object]] = {
        record.cell: (record.verdict.value, record.standing.value, record.score) for record in records
    }
    assert len(found) == len(records), "a cell is there twice"
    return found


def await_moment(run: subprocess.Popen[bytes], file: Path, moment: Moment) -> None:
    """Wait until the moment, or until the run ends."""
    while run.poll() is None and lines_of(file) < moment.lines:
        time.sleep(_LOOK)
    time.sleep(moment.seconds)


def difference(
    folder: Path, moment: Moment, wanted: dict[str, tuple[str, str, object]], code: int
) -> tuple[int | None, str]:
    """Kill a run at that moment and resume it; return how many lines it left, and what differs in the end.

    None lines where there was no file, or the run had ended before.
    """
    run, file = started(folder), folder / "run.jsonl"
    await_moment(run, file, moment)
    children = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
    ended = run.poll() is not None
    run.kill()
    run.wait()
    left = lines_of(file) if file.exists() and not ended else None
    orphans = [child.pid for child in children if not ends(child)]
    resumed = started(folder, "--resume") if file.exists() else started(folder)
    resumed_code = resumed.wait()
    if orphans:
        return left, f"left processes {orphans}"
    if resumed_code != code:
        return left, f"exit code {resumed_code}, expected {code}"
    return left, "" if results(folder) == wanted else "other results"


def undisturbed(folder: Path) -> tuple[dict[str, tuple[str, str, object]], int, int, float]:
    """Run; return the results, the exit code, how many lines the file has, and after how many seconds it had one."""
    began, run, file = time.monotonic(), started(folder), folder / "run.jsonl"
    await_moment(run, file, Moment(lines=1, seconds=0))
    start = time.monotonic() - began
    return results(folder) if (code := run.wait()) in (0, 1) else {}, code, lines_of(file), start


def main(count: int, seed: int = 1) -> None:
    """Kill and resume so many runs, and tell of each."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        wanted, code, lines, start = undisturbed(Path(folder))
    print(f"undisturbed: {len(wanted)} cells, {lines} lines, exit code {code}", flush=True)
    failed, places = 0, Counter[str]()
    for number in range(1, count + 1):
        moment = drawn(draw, lines, start)
        with tempfile.TemporaryDirectory() as folder:
            left, differs = difference(Path(folder), moment, wanted, code)
        failed += bool(differs)
        places["without a file, or at its end" if left is None else "with some of its lines"] += 1
        told = "no file, or ended" if left is None else f"{left} lines"
        print(f"{number}: killed with {told}: {differs or 'as undisturbed'}", flush=True)
    print(
        f"{count} killed ({', '.join(f'{number} {place}' for place, number in places.items())}), {failed} differ",
        flush=True,
    )


if __name__ == "__main__":
    os.nice(19)
    main(*map(int, sys.argv[1:]))

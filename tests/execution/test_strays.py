"""What a worker started ends with it, wherever it went; what cannot be ended is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conformance.execution import strays
from conformance.execution.execute import execute
from conformance.execution.pool import Limits, Workers
from tests.fake_cells import key, row

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what descends from a worker is asked of Linux")

WAYS = ["in_a_session_of_its_own", "forked_twice", "without_its_environment"]
#: A program that starts a worker that leaves something behind, then is killed before it ends either.
RUN = """
import os, signal
from pathlib import Path
from conformance.execution.execute import execute
from conformance.execution.pool import Workers
from tests.fake_cells import key, row
with Workers(1, Path.cwd()) as workers:
    for _ in execute(row("{way}", 2, fatal=0, worker=key(DYING_PIDS="{pids}")), workers):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def left_by(pids: Path) -> psutil.Process:
    return psutil.Process(int(pids.read_text()))


def ends(process: psutil.Process) -> bool:
    """Return whether the process ends within ten seconds."""
    deadline = time.monotonic() + 10
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            process.kill()
            return False
        time.sleep(0.02)
    return True


def gone(folder: Path) -> bool:
    """Return whether what is in a folder is removed within ten seconds."""
    deadline = time.monotonic() + 10
    while list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not list(folder.iterdir())


@pytest.mark.parametrize("way", WAYS)
def test_what_a_cell_left_running_ends_with_its_worker(way: str, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with Workers(1, tmp_path, Limits(start=120.0, cell=60.0)) as workers:
        cells = row(way, 2, fatal=0, worker=key(DYING_PIDS=str(pids)))
        left = [left_by(pids) for _ in execute(cells, workers)]
    assert [ends(process) for process in left] == [True, True]
    assert workers.left == []


def test_what_a_cell_left_behind_ends_even_where_the_run_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    program = RUN.format(way="forked_twice", pids=pids)
    here = {**_here(), "TMPDIR": str(temporary)}
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=here, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert ends(left_by(pids))
    assert gone(temporary)


@pytest.fixture(name="sleeping")
def _sleeping() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, strays.VARIABLE: "this.1."})
    yield process
    process.kill()
    process.wait()


def test_what_cannot_be_ended_is_named(sleeping: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int, number: int) -> None:
        raise PermissionError(pid, number)

    monkeypatch.setattr(os, "kill", refused)
    assert strays.end("this.1.") == [f"process {sleeping.pid} (sleep 60)"]


def test_a_mark_is_that_of_one_worker_or_of_a_whole_run(sleeping: subprocess.Popen[bytes]) -> None:
    assert strays.strays("this.1.") == strays.strays("this.") == [sleeping.pid]
    assert strays.strays("this.11.") == strays.strays("other.") == []


def _here() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

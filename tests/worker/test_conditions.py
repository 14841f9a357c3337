"""What the kernel counts of everything else, seen from a process that is disturbed on purpose."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.worker import conditions
from conformance.worker.conditions import Watch, between, cores, others_ready

SPIN = "import time\nprint(flush=True)\nwhile True: pass"
linux = pytest.mark.skipif(not Path("/proc/pressure/cpu").is_file(), reason="its kernel tells no pressure")


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Let so many processes spin on this process's cores."""
    children = [subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        yield
    finally:
        for child in children:
            child.kill()
            child.communicate()


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@linux
def test_a_process_that_shares_every_core_sees_it() -> None:
    with busy(2 * cores()), Watch() as watch:
        spin(0.5)
    noted = watch.noted
    assert noted["seconds"] >= 0.5
    assert noted["others"] >= cores()
    assert noted["switches"] > 0
    assert noted["waited"] > 0.05
    assert noted["stalled"] > 0.05
    assert noted["elsewhere"] > 0.5
    assert noted["busy"] < 0.95
    assert others_ready() is not None


def test_the_counts_are_differences_and_the_queue_is_the_quieter_end() -> None:
    before = {"clock": 1.0, "own": 2.0, "machine": 10.0, "others": 3, "switches": 5, "delays": {"1": 0.5},
              "stalled": 7.0, "stolen": 0.0}  # fmt: skip
    after = {"clock": 3.0, "own": 5.0, "machine": 14.0, "others": 1, "switches": 9, "delays": {"1": 0.75, "2": 0.25},
             "stalled": 7.5, "stolen": 0.25}  # fmt: skip
    assert between(before, after) == {
        "seconds": 2.0, "cores": cores(), "busy": 1.5, "elsewhere": 0.5, "others": 1, "switches": 4, "waited": 0.5,
        "stalled": 0.5, "stolen": 0.25,
    }  # fmt: skip


def test_a_system_that_tells_nothing_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(conditions, "_PROC", tmp_path)
    monkeypatch.setitem(sys.modules, "resource", None)
    with Watch() as watch:
        spin(0.01)
    told = {name for name, value in watch.noted.items() if value is not None}
    assert told == {"seconds", "cores", "busy"}
    assert others_ready() is None


@linux
def test_its_own_threads_are_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were every other thread at work one of its own, nothing else would be."""
    running = conditions._running()
    assert running is not None
    monkeypatch.setattr(conditions, "_states", lambda: iter("R" * (running + 1000)))
    assert others_ready() == 0

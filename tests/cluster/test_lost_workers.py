"""Runs that lose a Dask worker at a moment drawn from a seed, each held against one that nobody disturbed.

The one that is killed is drawn too, and the moment is anywhere between the start of the run and its end: while the workers are
asked what they offer, while batches are at work, and while the last of them are awaited.
"""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.loopback import SLOW, ran, started, told, write_cases

pytest.importorskip("distributed")
local = pytest.importorskip("conformance.cluster.local")

WORDS = ("own.yaml", "--adapter", SLOW, "--out", "run.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """A run on this machine alone, and the seconds of one on a cluster that loses nobody."""

    file: Path
    seconds: float


@pytest.fixture(name="undisturbed", scope="module")
def _undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_cases(folder, rows=8)
    code, output = ran(folder, *WORDS)
    assert code == 0, output
    with pytest.MonkeyPatch.context() as here:
        here.chdir(tmp_path_factory.mktemp("there"))
        write_cases(Path(), rows=8)
        with local.LocalCluster(2, {}, [SLOW]) as cluster:
            began = time.monotonic()
            code, output = ran(Path(), *WORDS, "--scheduler", cluster.address)
            seconds = time.monotonic() - began
    assert code == 0, output
    return Undisturbed(file=folder / "run.jsonl", seconds=seconds)


@pytest.mark.search
@pytest.mark.parametrize("seed", range(10))
def test_a_run_that_loses_a_worker_equals_one_that_nobody_disturbed(
    seed: int, undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    draw = random.Random(seed)
    victim, moment = draw.randrange(2), draw.uniform(0.0, undisturbed.seconds)
    monkeypatch.chdir(tmp_path)
    write_cases(tmp_path, rows=8)
    with local.LocalCluster(2, {}, [SLOW]) as cluster:
        process = started(tmp_path, *WORDS, "--scheduler", cluster.address)
        time.sleep(moment)
        record_property("still running", process.poll() is None)
        cluster.workers[victim].send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=120)
    print(f"worker {victim} killed after {moment:.2f} of {undisturbed.seconds:.2f} s, exit code {process.returncode}")
    assert process.returncode == 0, output
    assert told(tmp_path / "run.jsonl") == told(undisturbed.file)

"""A run on a cluster is a run: the same records, whatever happens to the workers meanwhile."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from conformance.cluster.local import LocalCluster
from conformance.runfile.reading import read
from conformance.verdict import Standing, Verdict
from tests.cluster.loopback import DYING, LEAKING, NUMPY, SLOW, ran, records, started, told, write_cases

pytest.importorskip("distributed")


@pytest.fixture(name="undisturbed", scope="module")
def _undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the slow adapter on this machine alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_cases(folder)
    code, output = ran(folder, "own.yaml", "--adapter", SLOW, "--out", "run.jsonl")
    assert code == 0, output
    return folder / "run.jsonl"


def test_a_run_on_a_cluster_equals_one_on_this_machine(tmp_path: Path, cluster: LocalCluster) -> None:
    words = ("--adapter", NUMPY, "--case", "edges.*")
    here = ran(tmp_path, *words, "--out", "here.jsonl")
    there = ran(tmp_path, *words, "--out", "there.jsonl", "--scheduler", cluster.address)
    assert there[0] == here[0], there[1]
    assert told(tmp_path / "there.jsonl") == told(tmp_path / "here.jsonl")
    performed = [record for record in read(tmp_path / "there.jsonl").records if record.steps and record.machine]
    assert len(performed) > 10


def test_a_crash_is_blamed_on_its_cell_and_costs_no_dask_worker(tmp_path: Path, cluster: LocalCluster) -> None:
    write_cases(tmp_path, "0.5, 0.125, 0.9", rows=1)
    words = ("own.yaml", "--adapter", DYING, "--implementation", "dying.segfault", "--implementation", "dying.nothing")
    code, output = ran(tmp_path, *words, "--out", "run.jsonl", "--scheduler", cluster.address)
    crashed = {record.cell for record in read(tmp_path / "run.jsonl").records if record.verdict is Verdict.CRASHED}
    assert (code, len(crashed)) == (1, 1), output
    assert "dying.segfault" in crashed.pop()
    assert all(worker.poll() is None for worker in cluster.workers)


def test_what_a_neighbour_left_behind_decides_no_verdict_there_either(tmp_path: Path, cluster: LocalCluster) -> None:
    write_cases(tmp_path, "0.125, 0.5", rows=2)
    words = ("own.yaml", "--adapter", LEAKING, "--out", "run.jsonl", "--scheduler", cluster.address)
    code, output = ran(tmp_path, *words)
    failed = {
        record.implementation
        for record in read(tmp_path / "run.jsonl").records
        if record.standing is Standing.UNEXPECTED
    }
    assert (code, failed) == (1, {"leaking.wrong"}), output
    disturbed = [record for record in read(tmp_path / "run.jsonl").records if record.first is not None]
    assert disturbed
    assert all(record.first is not None and record.first.before for record in disturbed)


def test_a_run_that_was_cut_short_is_completed_there(tmp_path: Path, cluster: LocalCluster, undisturbed: Path) -> None:
    write_cases(tmp_path)
    lines = undisturbed.read_bytes().splitlines(keepends=True)
    (tmp_path / "run.jsonl").write_bytes(b"".join(lines[:-5]))
    words = ("own.yaml", "--adapter", SLOW, "--out", "run.jsonl", "--resume", "--scheduler", cluster.address)
    code, output = ran(tmp_path, *words)
    assert code == 0, output
    assert told(tmp_path / "run.jsonl") == told(undisturbed)
    assert sum(bool(record.machine) for record in read(tmp_path / "run.jsonl").records) == 4


def test_a_group_that_no_worker_has_a_resource_for_is_told_at_once(tmp_path: Path, cluster: LocalCluster) -> None:
    adapter = tmp_path / "elsewhere.py"
    text = Path(SLOW.removesuffix(":ADAPTER")).read_text(encoding="utf-8")
    adapter.write_text(text.replace('"group": None', '"group": "elsewhere"'), encoding="utf-8")
    write_cases(tmp_path)
    words = ("own.yaml", "--adapter", "elsewhere.py:ADAPTER", "--out", "run.jsonl", "--scheduler", cluster.address)
    code, output = ran(tmp_path, *words)
    assert code == 1
    assert "no worker of the cluster has the resource ELSEWHERE" in output
    failed = {environment.id: environment.failed for environment in read(tmp_path / "run.jsonl").environments}
    assert failed == {"elsewhere": "no worker of the cluster has the resource ELSEWHERE"}


def test_an_adapter_that_no_worker_has_is_told_in_one_line(tmp_path: Path, cluster: LocalCluster) -> None:
    (tmp_path / "other.py").write_text(Path(SLOW.removesuffix(":ADAPTER")).read_text(encoding="utf-8"))
    write_cases(tmp_path)
    words = ("own.yaml", "--adapter", "other.py:ADAPTER", "--out", "run.jsonl", "--scheduler", cluster.address)
    code, output = ran(tmp_path, *words)
    assert code == 2
    assert output.strip().splitlines()[-1].endswith("has no worker 'slow' of other.py:ADAPTER")


def test_a_killed_dask_worker_changes_nothing(tmp_path: Path, undisturbed: Path) -> None:
    """Last: it has a cluster of its own, of which one worker is left."""
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        write_cases(tmp_path)
        with LocalCluster(2, {}, [SLOW]) as cluster:
            words = ("own.yaml", "--adapter", SLOW, "--out", "run.jsonl", "--scheduler", cluster.address)
            process = started(tmp_path, *words)
            deadline = time.monotonic() + 60
            while records(tmp_path / "run.jsonl") < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            cluster.workers[0].send_signal(signal.SIGKILL)
            output, _ = process.communicate(timeout=120)
    finally:
        os.chdir(before)
    assert process.returncode == 0, output
    assert told(tmp_path / "run.jsonl") == told(undisturbed)

"""A run that was stopped, killed or out of disk leaves nothing false, and `--resume` completes it."""

from __future__ import annotations

import functools
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.cli.own_cases import NUMPY, conformance, lines_of, records_of
from tests.command_line import inside
from tests.fake_cells import DYING

HANGING = ["own.yaml", "--implementation", "dying.hang_in_python", "--out", "run.jsonl"]


def hanging(folder: Path) -> subprocess.Popen[str]:
    """Start a run whose second implementation hangs, and wait until it has records."""
    adapter = folder / "hanging.py"
    text = DYING.read_text().replace("FATAL_DECAY = 0.125", "FATAL_DECAY = 0.75")
    adapter.write_text(text.replace("Path(__file__).parents[2]", f"Path({str(DYING.parents[2])!r})"))
    command = [sys.executable, "-P", "-m", "conformance", "run", "--adapter", str(adapter), *HANGING]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A background job of a shell is started with interrupts ignored, and would hand that on.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    deadline = time.monotonic() + 240
    while not _has_worker_in_cell(process.pid, folder):
        assert time.monotonic() < deadline, "no cell hangs"
        time.sleep(0.1)
    return process


def _has_worker_in_cell(pid: int, folder: Path) -> bool:
    logs = list((folder / ".conformance" / "logs").glob("*.log"))
    return bool(psutil.Process(pid).children()) and any("about to die" in log.read_text() for log in logs)


def test_ctrl_c_leaves_no_orphan_and_no_false_record(folder: Path) -> None:
    """Exit code 130; the cell in flight is not a result; the worker is gone."""
    process = hanging(folder)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert children
    assert not [child for child in children if child.is_running()]
    lines = lines_of(folder / "run.jsonl")
    assert lines[-1]["kind"] == "footer"
    assert lines[-1]["ended"] is False
    assert not [record for record in records_of(folder / "run.jsonl") if record["verdict"] == "timed_out"]


def test_a_killed_run_leaves_no_orphan_and_is_completed_by_resume(folder: Path) -> None:
    """SIGKILL loses at most the cells in flight; --resume records the rest, each cell once."""
    process = hanging(folder)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    psutil.wait_procs(children, timeout=10)
    assert children
    assert not [child for child in children if child.is_running()]
    text = (folder / "hanging.py").read_text().replace("FATAL_DECAY = 0.75", "FATAL_DECAY = 0.125")
    (folder / "hanging.py").write_text(text)
    found = conformance("run", "--adapter", str(folder / "hanging.py"), *HANGING, "--resume", folder=folder)
    lines = lines_of(folder / "run.jsonl")
    cells = [record["cell"] for record in records_of(folder / "run.jsonl")]
    assert found.returncode in (0, 1), found.stderr
    assert len(set(cells)) == len(cells) == lines[0]["planned"] == lines[-1]["recorded"]


def test_a_run_killed_while_it_wrote_its_head_is_completed_by_resume(folder: Path) -> None:
    """Of the head there may be a part of the first line, or any number of whole lines."""
    words = ["run", "own.yaml", *NUMPY, "--out", "run.jsonl"]
    conformance(*words, folder=folder)
    whole = (folder / "run.jsonl").read_bytes()
    for kept in (40, whole.index(b"\n") + 1, whole.index(b'{"kind":"record"') - 20):
        (folder / "run.jsonl").write_bytes(whole[:kept])
        assert conformance(*words, "--resume", folder=folder).returncode == 0
        lines = lines_of(folder / "run.jsonl")
        assert sorted(str(line["kind"]) for line in lines) == sorted(
            json.loads(line)["kind"] for line in whole.splitlines()
        )


def test_a_resumed_run_exits_as_an_undisturbed_one(folder: Path) -> None:
    """What failed before the interruption is a failure still, also where nothing is left to do."""
    words = ["run", "own.yaml", "--adapter", f"{DYING}:ADAPTER", "--implementation", "dying.drifting"]
    words += ["--out", "run.jsonl"]
    assert conformance(*words, folder=folder).returncode == 1
    assert conformance(*words, "--resume", folder=folder).returncode == 1
    assert conformance("run", "own.yaml", *NUMPY, "--out", "fine.jsonl", folder=folder).returncode == 0
    words = ["run", "own.yaml", *NUMPY, "--out", "fine.jsonl", "--resume"]
    assert conformance(*words, folder=folder).returncode == 0


def test_a_full_disk_is_one_line_and_exit_code_3_and_resume_mends_it(folder: Path) -> None:
    words = ["run", "own.yaml", *NUMPY, "--out", "run.jsonl"]
    full = subprocess.run(
        [sys.executable, "-P", "-m", "conformance", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert full.returncode == 3
    assert full.stderr == "error: run.jsonl: cannot be written: File too large; --resume goes on from what is there\n"
    assert "Traceback" not in full.stdout
    assert conformance(*words, "--resume", folder=folder).returncode == 0
    assert lines_of(folder / "run.jsonl")[-1]["kind"] == "footer"


def test_resume_refuses_another_selection(folder: Path) -> None:
    """A run is completed as it was begun or not at all."""
    conformance("run", "own.yaml", *NUMPY, "--out", "run.jsonl", folder=folder)
    words = ["run", "own.yaml", *NUMPY, "--case", "own.second", "--out", "run.jsonl", "--resume"]
    found = inside(*words, folder=folder)
    assert found.returncode == 2
    assert "another selection" in found.stderr

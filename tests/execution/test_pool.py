"""Worker processes: one that ends at a bad moment costs neither time nor descriptors, and none leaves files behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from conformance.execution.conversation import converse
from conformance.execution.pool import Limits, Workers
from conformance.execution.process import Process
from conformance.execution.survey import survey
from conformance.execution.timeline import Lane
from conformance.outcome import TimedOut
from conformance.planning.discovery import WorkerKey
from tests.fake_cells import key


def test_a_worker_killed_while_idle_is_ended_once_while_another_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workers(2, tmp_path, Limits(start=20.0)) as workers:
        idle = workers.start(key("idle"))
        assert "offer" in converse(idle, None, workers, 20.0)
        asked = workers.start(key("asked"))
        assert "offer" in converse(asked, None, workers, 20.0)
        wait = Mock(wraps=workers.wait)
        monkeypatch.setattr(workers, "wait", wait)
        idle.popen.kill()
        os.kill(asked.popen.pid, signal.SIGSTOP)
        answer = converse(asked, {"do": "support", "configurations": []}, workers, 1.0)
        assert isinstance(answer, TimedOut)
        assert idle.key not in workers.live
        assert wait.call_count < 20


def started(key: WorkerKey, log: Path) -> Process:
    folder = log.parent
    return Process(key, log, folder, "mark", Lane(name="x", began=0.0), temporary=str(folder))


def test_a_process_that_cannot_be_started_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    with pytest.raises(FileNotFoundError):
        started(key(interpreter=str(tmp_path / "no-python")), tmp_path / "log")
    assert psutil.Process().num_fds() == before


def test_a_process_whose_output_has_no_place_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    with pytest.raises(IsADirectoryError):
        started(key(), tmp_path)
    assert psutil.Process().num_fds() == before


def test_what_a_library_forgets_among_the_temporary_files_goes_with_the_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    adapter = tmp_path / "forgetting.py"
    adapter.write_text("import tempfile\nraise RuntimeError(tempfile.mkstemp(suffix='-forgotten')[1])\n")
    with Workers(1, tmp_path, Limits(start=20.0)) as workers:
        (error,) = survey([replace(key("forgetting"), adapter=str(adapter))], [], workers)
        (forgotten,) = tmp_path.rglob("*-forgotten")
        assert str(forgotten) in str(error)
    assert not forgotten.parent.exists()


def test_bytecode_of_a_library_is_kept_for_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installer may have compiled nothing, and a large library takes longer to compile than to run."""
    for variable in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        monkeypatch.delenv(variable, raising=False)
    library = tmp_path / "packages" / "library.py"
    library.parent.mkdir()
    library.write_text("VALUE = 1\n")
    adapter = tmp_path / "importing.py"
    adapter.write_text(f"import sys\nsys.path.append({str(library.parent)!r})\nimport library\n")
    with Workers(1, tmp_path, Limits(start=20.0)) as workers:
        assert len(list(survey([replace(key("importing"), adapter=str(adapter))], [], workers))) == 1
    assert [file.name.split(".")[0] for file in library.parent.rglob("*.pyc")] == ["library"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_run_has_a_process_more_than_the_cores_that_it_may_use() -> None:
    """Those that it is bound to, however many the machine has."""
    bound = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    asked = "from conformance.execution.pool import usual_count; print(usual_count())"
    done = subprocess.run([sys.executable, "-P", "-c", f"{bound}; {asked}"], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"

"""A worker process that ends at a bad moment costs neither time nor descriptors."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from conformance.execution.pool import Limits, Workers, converse
from conformance.execution.process import Process
from conformance.execution.timeline import Lane
from conformance.outcome import TimedOut
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


def test_a_process_that_cannot_be_started_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    with pytest.raises(FileNotFoundError):
        Process(
            key(interpreter=str(tmp_path / "no-python")), tmp_path / "log", tmp_path, "mark", Lane(name="x", began=0.0)
        )
    assert psutil.Process().num_fds() == before


def test_a_process_whose_output_has_no_place_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    with pytest.raises(IsADirectoryError):
        Process(key(), tmp_path, tmp_path, "mark", Lane(name="x", began=0.0))
    assert psutil.Process().num_fds() == before

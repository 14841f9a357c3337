"""`conformance cluster --local` and `run --scheduler` on the command line: one line for a mistake, and nothing left behind."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest

from tests.cluster.loopback import SLOW
from tests.command_line import inside

pytest.importorskip("distributed")


def test_a_cluster_ends_with_ctrl_c_and_leaves_no_process(tmp_path: Path) -> None:
    words = ["cluster", "--local", "1", "--adapter", SLOW]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "conformance", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        # A background job of a shell is started with interrupts ignored, and would hand that on.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(4)]
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    address = told[0].removeprefix("scheduler: ").strip()
    assert address.startswith("tcp://127.0.0.1:")
    assert told[2].strip() == f"to run there: conformance run --scheduler {address} --out run.jsonl"
    assert len(children) >= 2
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_without_dask_one_line_says_what_to_install(tmp_path: Path) -> None:
    find = importlib.util.find_spec

    def without(name: str, *rest: Any) -> Any:
        return None if name == "distributed" else find(name, *rest)

    with mock.patch("conformance.cluster.asking.find_spec", without):
        for words in (("run", "--scheduler", "tcp://127.0.0.1:1"), ("cluster", "--local", "1")):
            ended = inside(*words, folder=tmp_path)
            assert ended.returncode == 2
            assert "Dask is not installed here: pip install 'batchnorm-conformance[cluster]'" in ended.stderr
            assert ended.stderr.count("\n") == 1


def test_an_address_without_a_scheduler_is_one_line(tmp_path: Path) -> None:
    with mock.patch("conformance.cluster.connection._CONNECTING", 0.5):
        for address in ("tcp://127.0.0.1:1", "127.0.0.1:x", "carrier-pigeon://x"):
            ended = inside("run", "--scheduler", address, "--case", "edges.one-value", folder=tmp_path)
            assert ended.returncode == 2, ended.stderr
            assert ended.stderr.startswith(f"error: --scheduler {address}: no scheduler answers"), ended.stderr
            assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("--python", "torch=x"), ("--workers", "2"), ("--profile",)])
def test_what_is_of_this_machine_is_refused_beside_a_scheduler(words: tuple[str, ...], tmp_path: Path) -> None:
    ended = inside("run", "--scheduler", "tcp://127.0.0.1:1", *words, folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {words[0]}: is of a run on this machine")


@pytest.mark.parametrize(("name", "text"), [("thesis.txt", "a text"), ("list.json", "[1]"), ("other.json", "{}")])
def test_a_file_that_is_no_scheduler_s_is_not_overwritten(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    ended = inside("cluster", "--local", "1", "--scheduler-file", name, folder=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "is no scheduler's file" in ended.stderr
    assert (tmp_path / name).read_text() == text

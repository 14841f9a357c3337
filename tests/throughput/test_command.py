"""The command line of throughput, from the spec's own cases to a report."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("pytest_benchmark")
pytest.importorskip("scipy")

from conformance.protocol import Adapter
from conformance.runfile.reading import read
from conformance.throughput.running import check_timed, load_timed
from conformance.throughput.subject import PASSES
from conformance.worker import timing

ADAPTER = f"{Path(__file__).parents[1] / 'faults' / 'timed.py'}:ADAPTER"


def conformance(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "conformance", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_the_cases_of_the_spec_are_in_order() -> None:
    """Each has one step, one feature axis, and constants as its state, so that a few features can be judged alone."""
    check_timed()
    for located in load_timed().cases:
        case = located.case
        assert len(case.performed) == 1
        assert len(case.configuration.feature_axes) == 1
        initial = list(case.initial.values())
        assert initial
        assert all(value.kind == "constant" for value in initial)


def test_a_run_records_every_planned_pass_and_makes_a_report(tmp_path: Path) -> None:
    narrow = ("--adapter", ADAPTER, "--implementation", "timed.healthy", "--case", "throughput.*/128x64/float32")
    quickly = ("--seconds", "0.01", "--batches", "1", "--within", "6")
    done = conformance("throughput", *narrow, *quickly, "--out", "timed.jsonl", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    run = read(tmp_path / "timed.jsonl")
    assert run.complete
    assert {line.pass_ for line in run.throughput} == {"infer", "train_forward", "train"} <= set(PASSES)
    assert {line.standing for line in run.throughput} <= {"launch_bound", "voided"}
    for line in run.throughput:
        assert line.voided if line.measurement is None else line.measurement.verdict in ("conforms", "exact")
    assert {each.name for each in tmp_path.iterdir()} == {".conformance", "timed.jsonl"}
    done = conformance("report", "timed.jsonl", "--out", "pages", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "pages" / "throughput.html").read_text()
    assert all(line.case in text for line in run.throughput)


def test_an_interpreter_that_cannot_time_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the exit code of a session that could not begin."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ModuleNotFoundError, match="needs pytest-benchmark beside the library"):
        timing.Bench(Adapter(library="x", versions={}, implementations=()), ModuleType("x"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("throughput", "--python", "torch=/no/such/python"), "no interpreter there"),
        (("throughput", "--case", "nothing.*", "--adapter", ADAPTER), "no such case"),
        (("throughput", "--python", "torch"), "expected GROUP=PATH"),
        (
            ("throughput", "--device", "gpu", "--implementation", "timed.healthy", "--adapter", ADAPTER),
            "--device gpu: nothing here computes on it, only on cpu",
        ),
        (("compare", "--base-python", f"torch={sys.executable}", "--base", "run.jsonl"), "expected runs"),
        (("compare", "--base-python", f"torch={sys.executable}"), "expected --base-python and --new-python"),
        (("compare", "--base", "run.jsonl"), "expected --base RUN and --new RUN"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = conformance(*words, folder=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr

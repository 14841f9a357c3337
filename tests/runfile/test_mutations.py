"""A run file that was spoiled is read, or refused in one line; no command ends in a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import shipped
from tests.cells import offer
from tests.mutated_runs import Consumers, mutants

ADAPTER = Path(__file__).parents[1] / "faults" / "reproducible.py"
#: Seed and number: a quarter of such files once ended in one; of so many, some would.
SOME = pytest.param(20, 150, id="some")
#: Enough to show what one in a thousand does.
MANY = pytest.param(21, 10_000, id="many", marks=pytest.mark.search)


@pytest.fixture(name="raw", scope="module")
def _raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small run that holds what agrees, deviates, refuses, and gives other bits than before."""
    out = tmp_path_factory.mktemp("run") / "run.jsonl"
    names = ("Right", "Shifted", "Wide", "Refusing", "Drifting")
    words = ["run", "--adapter", f"{ADAPTER}:ADAPTER", "--case", "axes.rank-2/float32", "--out", str(out)]
    words += [word for name in names for word in ("--implementation", f"layer.{name}")]
    command = [sys.executable, "-P", "-m", "conformance", *words]
    done = subprocess.run(command, cwd=out.parent, check=False, capture_output=True, timeout=120)
    assert done.returncode == 1
    return out.read_bytes()


@pytest.fixture(name="consumers", scope="module")
def _consumers(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> Consumers:
    return Consumers(raw, shipped.spec(), [offer()], tmp_path_factory.mktemp("spoiled") / "run.jsonl")


@pytest.mark.parametrize(("seed", "count"), [SOME, MANY])
def test_a_spoiled_run_file_ends_no_command_in_a_traceback(
    seed: int, count: int, raw: bytes, consumers: Consumers
) -> None:
    found = [
        (number, command, repr(error))
        for number, mutant in enumerate(mutants(raw, seed, count))
        for command, error in consumers.tracebacks(mutant)
    ]
    assert found == []


def test_a_traceback_of_a_script_would_be_seen(
    raw: bytes, consumers: Consumers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file that says something else of a cell; of the same it would be the same script."""

    def failing(_evidence: object) -> None:
        raise KeyError("absent")

    monkeypatch.setattr("tests.mutated_runs.script", failing)
    assert list(consumers.tracebacks(raw)) == []
    other = raw.replace(b'"library":"layer"', b'"library":"other"')
    assert [command for command, _ in consumers.tracebacks(other)] == ["_reproduce"]


def test_a_traceback_would_be_seen(raw: bytes, consumers: Consumers, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_base: object, _new: object) -> None:
        raise KeyError("absent")

    monkeypatch.setattr("tests.mutated_runs.compare", failing)
    assert [command for command, _ in consumers.tracebacks(raw)] == ["_compare"]

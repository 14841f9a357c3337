"""`conformance check --adapter` on adapters that keep the contract, and on adapters that break one part of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conformance.contract import complaints
from conformance.contract.checking import check
from conformance.execution.pool import Limits
from conformance.outcome import Crashed, Outcome, Produced, TimedOut
from tests.fake_cells import DYING, cell

ROOT = Path(__file__).parents[2]
LIMITS = Limits(start=30.0, cell=10.0)


def test_the_documented_example_keeps_the_contract(tmp_path: Path) -> None:
    words = ["check", "--adapter", f"{ROOT / 'docs' / 'examples' / 'plain_python.py'}:ADAPTER"]
    command = [sys.executable, "-P", "-m", "conformance", *words]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert ended.stdout.strip().endswith("of implementations: 1; in order")


def test_what_an_adapter_breaks_is_told_of_the_implementation_that_does(tmp_path: Path) -> None:
    told = "\n".join(check([f"{DYING}:ADAPTER"], {}, tmp_path, LIMITS).complaints)
    assert "dying.py: `versions` does not have that of 'dying'" in told
    assert "dying.writing-eager-cpu: steps: wrote to the caller's " in told
    assert "dying.misspelling-eager-cpu: steps: not unsupported, and raised " in told
    sound = [line.partition(": ")[2] for line in told.splitlines() if line.startswith("dying.nothing-eager-cpu")]
    assert [line.partition(": infer")[0] for line in sound] == ["steps: no function of the file's top level"]


def test_an_adapter_that_cannot_be_asked_is_one_line(tmp_path: Path) -> None:
    adapter = tmp_path / "broken.py"
    adapter.write_text(
        'PROCESSES = [{"name": "broken", "group": None, "environment": {}}]\nraise RuntimeError("no such library")\n'
    )
    words = ["check", "--adapter", f"{adapter}:ADAPTER"]
    command = [sys.executable, "-P", "-m", "conformance", *words]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: broken: RuntimeError: no such library\n"


def produced(**quantities: object) -> Produced:
    arrays = {name: np.asarray(value, np.float32) for name, value in quantities.items()}
    return Produced(quantities=arrays, state={"moving_mean": np.zeros(3, np.float32)}, seconds=0.0)


RIGHT = produced(output=np.zeros((4, 3)))
MOVED = replace(RIGHT, state={"moving_mean": np.ones(3, np.float32)})
OTHER = produced(output=np.ones((4, 3)))


@pytest.mark.parametrize(
    ("complaint", "steps", "said"),
    [
        (complaints.names_and_shapes, (RIGHT, produced(output=np.zeros(3))), "output has shape (3,)"),
        (complaints.names_and_shapes, (RIGHT, produced(grad_gamma=np.zeros(4))), "grad_gamma has 4 values"),
        (complaints.dtype_kept, (RIGHT, replace(RIGHT, quantities={"output": np.zeros(3)})), "float64 for an input of"),
        (complaints.caller_s_own, (replace(RIGHT, overwritten=("input",)),), "the caller's input"),
        (complaints.inference_repeats, (RIGHT, RIGHT, MOVED, MOVED), "inference changed the state"),
        (complaints.inference_repeats, (RIGHT, RIGHT, RIGHT, MOVED), "a second inference changed the state"),
        (complaints.inference_repeats, (RIGHT, RIGHT, RIGHT, OTHER), "gave other bits"),
        (complaints.reload_keeps, (RIGHT, RIGHT, RIGHT, MOVED, RIGHT), "the state after `reload`"),
        (complaints.reload_keeps, (RIGHT, RIGHT, RIGHT, RIGHT, OTHER), "the output after `reload`"),
        (complaints.call_is_data, (RIGHT,), "how a user writes it"),
        (complaints.state_read_back, (MOVED,), "put in by `start` is not what"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_complained_of(complaint: object, steps: object, said: str) -> None:
    assert callable(complaint)
    assert said in complaint(cell("nothing", "one"), steps)


def test_a_compiled_mode_that_proves_nothing_is_complained_of() -> None:
    compiled = replace(cell("nothing", "one"), mode="compiled")
    assert "mode compiled" in complaints.compiled(compiled, (RIGHT, RIGHT))
    assert complaints.compiled(compiled, (RIGHT, replace(RIGHT, compilations=1))) == ""


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (Crashed(how="killed by SIGSEGV", recurs=True, before=(), output=""), "crashed: killed by SIGSEGV"),
        (TimedOut(limit=2.0, output=""), "no answer within 2 s"),
        (RIGHT, ""),
    ],
)
def test_a_question_that_ends_a_process_is_complained_of(last: Outcome, said: str) -> None:
    assert said in complaints.said_and_survived(cell("nothing", "one"), last)


def test_a_reason_of_a_few_letters_is_none() -> None:
    assert "say more" in complaints.said_and_survived(replace(cell("nothing", "one"), unsupported="no"), RIGHT)

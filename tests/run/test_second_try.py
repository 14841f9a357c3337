"""What one implementation leaves behind in its process decides no verdict of another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

from conformance.runfile.reading import read
from conformance.runfile.structs import Record
from conformance.verdict import Standing, Verdict

LEAKING = Path(__file__).parents[1] / "faults" / "leaking.py"
CASE = """
- id: {id}
  title: One train step of a layer
  source: none, it tests the runner
  clauses: ["1.1"]
  op: batch_norm
  shape: [8, 3]
  feature_axes: [-1]
  decay: {decay}
  steps:
  - {{step: train, input: {{kind: normal, seed: 1}}, upstream: {{kind: normal, seed: 2}}}}
"""


Ran: TypeAlias = tuple[int, str, dict[str, Record]]


def ran(folder: Path, *rows: str, extra: tuple[str, ...] = ()) -> Ran:
    """Return exit code, output and records, by row, of a run in which `own.first` leaks and `own.second` does not.

    Rows run in the order of their names, each with both cases: one that is disturbed comes after the one that leaks.
    """
    cases = CASE.format(id="own.first", decay=0.125) + CASE.format(id="own.second", decay=0.5)
    (folder / "own.yaml").write_text(cases)
    chosen = [word for row in rows for word in ("--implementation", f"leaking.{row}")]
    words = ["run", "own.yaml", "--adapter", f"{LEAKING}:ADAPTER", *chosen, "--out", "run.jsonl"]
    command = [sys.executable, "-P", "-m", "conformance", *words, "--", *extra]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    records = read(folder / "run.jsonl").records
    assert len({record.cell for record in records}) == len(records)
    return ended.returncode, ended.stdout, {f"{record.case}::{record.implementation}": record for record in records}


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("leak", "victim", "verdict"),
    [
        ("raising", "underflows", Verdict.REFUSED),
        ("halving", "takes_the_default", Verdict.DEVIATES),
        ("naming", "reads_the_environment", Verdict.DEVIATES),
    ],
)
def test_what_a_neighbour_left_behind_decides_no_verdict_and_is_recorded(
    leak: str, victim: str, verdict: Verdict, whole: Ran
) -> None:
    _, output, records = whole
    disturbed = records[f"own.second::leaking.{victim}"]
    assert disturbed.standing is Standing.AGREES
    assert disturbed.first is not None
    assert disturbed.first.verdict is verdict
    assert f"own.first::leaking.{leak}-eager-cpu" in disturbed.first.before
    told = output.partition("disturbed by what ran before in the same process")[2]
    assert disturbed.cell in told
    assert records[f"own.second::leaking.{leak}"].first is None


def test_the_cells_of_a_row_that_compile_the_same_follow_one_another_in_a_run(whole: Ran) -> None:
    """The other rows of the process come before and after, though the spec has its cases one after the other."""
    disturbed = whole[2]["own.second::leaking.takes_the_default"]
    assert disturbed.first is not None
    assert disturbed.first.before[-1] == "own.first::leaking.takes_the_default-eager-cpu"


def test_a_row_that_leaks_and_fails_itself_reaches_no_neighbour_in_its_second_try_either(whole: Ran) -> None:
    code, output, records = whole
    failed = {name for name, record in records.items() if record.standing is Standing.UNEXPECTED}
    assert code == 1, output
    assert failed == {"own.first::leaking.wrong", "own.second::leaking.wrong"}


def test_a_failure_that_repeats_is_recorded_as_no_disturbance(whole: Ran) -> None:
    _, _, records = whole
    assert records["own.first::leaking.wrong"].first is None


def test_with_x_a_disturbance_stops_nothing(tmp_path: Path) -> None:
    code, output, records = ran(tmp_path, "raising", "underflows", extra=("-x",))
    assert (code, len(records)) == (0, 4), output
    assert any(record.first is not None for record in records.values())

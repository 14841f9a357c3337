"""Results of another language: what is wrong with a file of them is one line with its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.answers.results import judge_results
from conformance.answers.vector_files import write
from conformance.errors import UsageError
from conformance.reference.inputs import inputs_of
from conformance.runfile.reading import read
from conformance.verdict import Verdict
from tests import shipped

CASE = "moving.correction"
HEADER = {"implementation": "mylib.norm", "library": "mylib", "version": "1", "state": "vectors"}


@pytest.fixture(name="vectors", scope="module")
def _vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    spec = shipped.spec()
    write(spec, [located for located in spec.cases if located.case.id == CASE], folder, onnx=False)
    return folder


def right(vectors: Path, **replaced: Any) -> list[dict[str, Any]]:
    """Return the steps' results as the vectors expect them, rounded to float32, but for the quantities `replaced`."""
    vector = json.loads((vectors / "cases" / "moving" / "correction.json").read_text())
    return [
        {
            "quantities": {
                name: {
                    **entry["value"],
                    "dtype": "float32",
                    "values": replaced.get(name, entry["value"]["values"]),
                }
                for name, entry in step["expected"].items()
            }
        }
        for step in vector["steps"]
    ]


def judged(vectors: Path, folder: Path, *lines: object) -> Path:
    """Write the lines as results and judge them; return the run file."""
    path = folder / "results.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    judge_results(vectors, path, folder / "run.jsonl")
    return folder / "run.jsonl"


def test_right_numbers_conform(vectors: Path, tmp_path: Path) -> None:
    """Those that the vectors expect."""
    (record,) = read(judged(vectors, tmp_path, HEADER, {"case": CASE, "steps": right(vectors)})).records
    assert record.verdict is Verdict.CONFORMS


def test_a_chain_of_ones_own_is_judged_from_the_state_that_it_reports(vectors: Path, tmp_path: Path) -> None:
    """A step that went on from what the step before it left, which was wrong, is right by that."""
    (located,) = [entry for entry in shipped.spec().cases if entry.case.id == CASE]
    mean, steps = np.array([7.0, 8.0, 9.0], np.float32), []
    for number, step in enumerate(inputs_of(located.case).steps):
        assert step.input is not None
        if step.step.step == "train" and number:
            mean = np.float32(0.9) * mean + np.float32(0.1) * step.input.mean(0)
        steps.append({"quantities": {"moving_mean": {"dtype": "float32", "shape": [3], "values": mean.tolist()}}})
    (record,) = read(judged(vectors, tmp_path, {**HEADER, "state": "own"}, {"case": CASE, "steps": steps})).records
    assert [step.number for step in record.steps if not step.verdict.agrees] == [1]


def test_wrong_numbers_deviate(vectors: Path, tmp_path: Path) -> None:
    """A moving mean that never moved."""
    steps = right(vectors, moving_mean=["0x0p+0"] * 3)
    (record,) = read(judged(vectors, tmp_path, HEADER, {"case": CASE, "steps": steps})).records
    assert record.verdict is Verdict.DEVIATES


def test_a_case_without_results_or_that_cannot_be_expressed_is_unsupported(vectors: Path, tmp_path: Path) -> None:
    """It says why, and is no silence."""
    (record,) = read(judged(vectors, tmp_path, HEADER)).records
    assert (record.verdict, record.steps[0].message) == (Verdict.UNSUPPORTED, "has no results of this case")
    (record,) = read(judged(vectors, tmp_path, HEADER, {"case": CASE, "unsupported": "no gradients"})).records
    assert record.steps[0].message == "no gradients"


def test_a_refused_step_is_refused(vectors: Path, tmp_path: Path) -> None:
    """With its message."""
    steps = [*right(vectors)[:4], {"refused": "no inference today"}]
    (record,) = read(judged(vectors, tmp_path, HEADER, {"case": CASE, "steps": steps})).records
    assert record.verdict is Verdict.REFUSED
    assert "no inference today" in record.steps[5].message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "results.jsonl:1: "),
        ([{"implementation": "x"}], "results.jsonl:1: .*library"),
        ([{**HEADER, "op": "batch_nrom"}], "results.jsonl:1: op: expected one of"),
        ([{**HEADER, "dialect": {"moving_correction": 7}}], "results.jsonl:1: dialect: moving_correction = 7"),
        ([HEADER, {"case": "moving.corection"}], "results.jsonl:2: case: 'moving.corection' is none"),
        ([HEADER, {"case": CASE, "steps": []}], "results.jsonl:2: steps: moving.correction has 5, got 0"),
        ([HEADER, {"case": CASE, "setps": []}], "results.jsonl:2: .*setps"),
        ([HEADER, {"case": CASE, "unsupported": "a"}, {"case": CASE}], "results.jsonl:3: case: .* stands in line 2"),
    ],
)
def test_a_wrong_line_is_told_with_its_place(vectors: Path, tmp_path: Path, lines: list[Any], message: str) -> None:
    """File, line, key and what was expected; no run file is left."""
    with pytest.raises(UsageError, match=message) as failure:
        judged(vectors, tmp_path, *lines)
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "run.jsonl").exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ({"dtype": "float32", "shape": [3], "values": [1, 2]}, "2 values do not make the shape"),
        ({"dtype": "float32", "shape": [1], "values": ["one"]}, "got 'one'"),
        ({"dtype": "float32", "shape": [1], "tensor": "x"}, "no 'x'"),
        ({"dtype": "int16", "shape": [1], "values": [1]}, "dtype"),
    ],
)
def test_a_wrong_array_is_told_with_its_place(
    vectors: Path, tmp_path: Path, array: dict[str, Any], message: str
) -> None:
    """Case, step and quantity."""
    steps = [{"quantities": {"output": array}}, *right(vectors)[1:]]
    with pytest.raises(UsageError, match=message):
        judged(vectors, tmp_path, HEADER, {"case": CASE, "steps": steps})


def test_an_unknown_quantity_is_told(vectors: Path, tmp_path: Path) -> None:
    """With the known ones."""
    steps = [{"quantities": {"outptu": {"dtype": "float32", "shape": [0]}}}, *right(vectors)[1:]]
    with pytest.raises(UsageError, match=r"expected quantities among .*, output"):
        judged(vectors, tmp_path, HEADER, {"case": CASE, "steps": steps})


def test_the_commands_export_and_judge(tmp_path: Path) -> None:
    """Exit code 0, 1 where something deviates, 2 where there are no vectors."""

    def conformance(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "conformance", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)

    assert conformance("export", "--case", CASE, "--out", "v").stdout == "v: 1 cases, 0 ONNX models\n"
    wrong = {"case": CASE, "steps": right(tmp_path / "v", output=["0x1p+0"] * 6)}
    (tmp_path / "r.jsonl").write_text(json.dumps(HEADER) + "\n" + json.dumps(wrong) + "\n")
    ran = conformance("judge", "v", "r.jsonl", "--out", "run.jsonl")
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (1, "1 deviates")
    ran = conformance("judge", "nowhere", "r.jsonl", "--out", "run.jsonl")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)

"""Moments of whole numbers: the reference's numbers, and through the command line what goes wrong with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.operations.moments import MOMENTS
from conformance.precision import working
from tests.faults import whole
from tests.recorded import recorded
from tests.situations import situation

ADAPTER = Path(__file__).parents[2] / "faults" / "whole.py"
Records = Mapping[str, Sequence[Mapping[str, Any]]]


def test_the_mean_of_whole_numbers_need_not_be_one() -> None:
    numbers = MOMENTS.infer(situation([[1, 2], [3, 4], [8, 9], [4, 0]], op="moments", state={}), working("float64"))
    assert numbers["batch_mean"].value.tolist() == [4, 3.75]
    assert numbers["batch_variance"].value.tolist() == [6.5, 11.1875]


def test_moments_are_all_that_there_is() -> None:
    given = situation(np.arange(8.0).reshape(4, 2), op="moments")
    assert MOMENTS.infer(given, working("float64")).keys() == {"batch_mean", "batch_variance"}
    assert MOMENTS.state(given.configuration) == ()


@pytest.mark.parametrize(("kind", "shape"), [("train", (4, 2)), ("infer", (0, 2))])
def test_what_has_no_moments_is_no_case(kind: str, shape: tuple[int, ...]) -> None:
    assert MOMENTS.misfit(situation([[1.0]], op="moments").configuration, kind, shape)


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Run every fault and return the records of each implementation."""
    out = tmp_path_factory.mktemp("whole") / "run.jsonl"
    words = ["run", "--out", str(out), "--workers", "1", "--adapter", f"{ADAPTER}:ADAPTER", "--case", "moments.*"]
    command = [sys.executable, "-P", "-m", "conformance", *words, "--", "--tb=no", "--no-summary", "-q"]
    ended = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    found: dict[str, list[Any]] = {}
    for record in recorded(out):
        found.setdefault(record["implementation"], []).append(record)
    return found


def test_right_moments_pass_every_case(records: Records) -> None:
    verdicts = {record["verdict"] for record in records["whole.right"]}
    assert verdicts <= {"exact", "conforms", "unsupported"}
    assert verdicts & {"exact", "conforms"}


@pytest.mark.parametrize("fault", whole.PLANTED, ids=lambda fault: str(fault.name))
def test_a_planted_fault_deviates(fault: whole.Fault, records: Records) -> None:
    assert "deviates" in {record["verdict"] for record in records[f"whole.{fault.name}"]}


@pytest.mark.parametrize(
    "fault", [fault for fault in whole.PLANTED if fault.diagnosis], ids=lambda fault: str(fault.name)
)
def test_a_planted_fault_is_named(fault: whole.Fault, records: Records) -> None:
    assert fault.diagnosis is not None
    deviating = [record for record in records[f"whole.{fault.name}"] if record["verdict"] == "deviates"]
    assert all(fault.diagnosis in str(record) for record in deviating)

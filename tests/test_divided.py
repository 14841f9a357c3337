"""The suite sees every fault planted into virtual batches and transformed calls, and names what it can name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.divided import NOTHING, PLANTED, Fault

ADAPTER = Path(__file__).parent / "faults" / "divided.py"

Records = Mapping[str, Sequence[Mapping[str, Any]]]


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Run every fault through the ordinary command line and return its records."""
    out = tmp_path_factory.mktemp("divided") / "run.jsonl"
    words = ["run", "--adapter", f"{ADAPTER}:ADAPTER", "--out", str(out), "--workers", "1"]
    command = [sys.executable, "-P", "-m", "conformance", *words, "--", "--tb=no", "--no-summary", "-q"]
    ended = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    found: dict[str, list[Any]] = {}
    for line in map(json.loads, out.read_text().splitlines()):
        if line["kind"] == "record":
            found.setdefault(line["implementation"].removeprefix("divided."), []).append(line)
    return found


@pytest.mark.parametrize("fault", NOTHING, ids=lambda each: each.name)
def test_the_healthy_layer_passes_every_case(fault: Fault, records: Records) -> None:
    """With at least ten cases of its operation."""
    assert len(records[fault.name]) >= 10
    assert {each["status"] for each in records[fault.name]} == {"passed"}


@pytest.mark.parametrize("fault", PLANTED, ids=lambda each: each.name)
def test_a_planted_fault_fails_a_case(fault: Fault, records: Records) -> None:
    """At least one."""
    assert [each for each in records[fault.name] if each["status"] == "failed"]


@pytest.mark.parametrize("fault", [each for each in PLANTED if each.diagnosis], ids=lambda each: each.name)
def test_a_planted_fault_is_named(fault: Fault, records: Records) -> None:
    """In most of the cells that it fails; of two alternatives at most."""
    assert fault.diagnosis
    told = [str(each["diagnosis"]).lower() for each in records[fault.name] if each["status"] == "failed"]
    right = [
        each for each in told if any(fault.diagnosis in part and part.count(" or ") < 2 for part in each.split("; "))
    ]
    assert len(right) > len(told) / 2, told

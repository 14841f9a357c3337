"""The suite sees every fault planted into virtual batches, transformed calls and further derivatives, and names it.

Through the ordinary command line, on every case of their operations.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults import derived, divided
from tests.recorded import recorded

FOLDER = Path(__file__).parents[1] / "faults"
FAULTS = {"derived": derived, "divided": divided}
HEALTHY = [(kind, each) for kind, module in FAULTS.items() for each in module.NOTHING]
PLANTED = [(kind, each) for kind, module in FAULTS.items() for each in module.PLANTED]

Records = Mapping[str, Sequence[Mapping[str, Any]]]


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Run every fault and return the records of each implementation."""
    out = tmp_path_factory.mktemp("planted") / "run.jsonl"
    words = ["run", "--out", str(out), "--workers", "1"]
    for kind in FAULTS:
        words += ["--adapter", f"{FOLDER / kind}.py:ADAPTER", "--implementation", f"{kind}.*"]
    command = [sys.executable, "-P", "-m", "conformance", *words, "--", "--tb=no", "--no-summary", "-q"]
    ended = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    found: dict[str, list[Any]] = {}
    for record in recorded(out):
        found.setdefault(record["implementation"], []).append(record)
    return found


def name(each: Any) -> str:
    return each if isinstance(each, str) else str(each.name)


@pytest.mark.parametrize(("kind", "fault"), HEALTHY, ids=name)
def test_the_healthy_layer_passes_every_case(kind: str, fault: Any, records: Records) -> None:
    """With at least seven cases of its operation."""
    found = records[f"{kind}.{fault.name}"]
    assert len(found) >= 7
    assert {each["status"] for each in found} == {"passed"}


@pytest.mark.parametrize(("kind", "fault"), PLANTED, ids=name)
def test_a_planted_fault_fails_a_case(kind: str, fault: Any, records: Records) -> None:
    """At least one."""
    assert [each for each in records[f"{kind}.{fault.name}"] if each["status"] == "failed"]


@pytest.mark.parametrize(("kind", "fault"), [each for each in PLANTED if each[1].diagnosis], ids=name)
def test_a_planted_fault_is_named(kind: str, fault: Any, records: Records) -> None:
    """In most of the cells that it fails; of two alternatives at most."""
    failed = [each for each in records[f"{kind}.{fault.name}"] if each["status"] == "failed"]
    told = [str(each["diagnosis"]).lower() for each in failed]
    right = [
        each for each in told if any(fault.diagnosis in part and part.count(" or ") < 2 for part in each.split("; "))
    ]
    assert len(right) > len(told) / 2, told

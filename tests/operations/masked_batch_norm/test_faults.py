"""The suite sees every fault planted in a masked batch normalization, and says which, through the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.masked import NOTHING, PLANTED, Fault
from tests.recorded import recorded

ADAPTER = Path(__file__).parents[2] / "faults" / "masked.py"
Record = Mapping[str, Any]


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Record]]:
    """Return the records of every case by the name of the fault."""
    out = tmp_path_factory.mktemp("masked") / "run.jsonl"
    command = [sys.executable, "-P", "-m", "conformance", "run", "--adapter", f"{ADAPTER}:ADAPTER"]
    command += ["--case", "masked*", "--out", str(out), "--workers", "1", "--", "--tb=no", "--no-summary", "-q"]
    command += ["-k", "not (masked.count or scattered or rank-4 or float64)"]
    ended = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    found: dict[str, list[Record]] = {fault.name: [] for fault in (NOTHING, *PLANTED)}
    for record in recorded(out):
        found[record["implementation"].removeprefix("masked.")].append(record)
    return found


def failed(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["status"] == "failed"]


def test_nothing_wrong_passes(records: Mapping[str, Sequence[Record]]) -> None:
    """In every case that it can express; the longest and their twins of other ranks are left out, since deviations cost a diagnosis."""
    assert failed(records["nothing"]) == []
    assert sum(record["status"] == "passed" for record in records["nothing"]) > 15


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_every_fault_is_seen(fault: Fault, records: Mapping[str, Sequence[Record]]) -> None:
    assert failed(records[fault.name]), fault.sentence


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_the_diagnosis_names_the_fault(fault: Fault, records: Mapping[str, Sequence[Record]]) -> None:
    """In most of the cells whose diagnosis names anything, among two alternatives at most."""
    assert fault.diagnosis is not None
    said = [str(record["diagnosis"]).lower() for record in failed(records[fault.name])]
    telling = [each for each in said if each and not each.startswith(("unexplained", "none"))]
    right = [each for each in telling if fault.diagnosis.lower() in each and each.count(" or ") <= 1]
    assert len(right) > len(telling) / 2, said

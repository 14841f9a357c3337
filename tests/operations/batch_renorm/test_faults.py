"""The suite sees every planted fault of batch renormalization, by its name, through the ordinary command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.planted_renorm import NOTHING, PLANTED, Fault
from tests.recorded import recorded

ADAPTER = Path(__file__).parents[2] / "faults" / "planted_renorm.py"
#: What shows every fault in few cells: a deviating one costs a diagnosis.
CASES = (
    "renorm.decays/apart",
    "renorm.dyadic/rank-2",
    "renorm.limits/all",
    "renorm.limits/rmax",
    "renorm.schedule",
    "renorm.small-deviation",
    "renorm.unclipped/rank-2",
)

Record = Mapping[str, Any]


def run(out: Path, faults: Iterable[Fault], cases: Iterable[str]) -> list[Record]:
    """Run the suite on those faults and return the records."""
    words = ["--adapter", f"{ADAPTER}:ADAPTER", "--out", str(out), "--workers", "1"]
    words += [word for fault in faults for word in ("--implementation", f"renorm.{fault.name}")]
    words += [word for case in cases for word in ("--case", case)]
    command = [sys.executable, "-P", "-m", "conformance", "run", *words, "--", "--tb=no", "--no-summary", "-q"]
    ended = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    return recorded(out)


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Record]]:
    """Return the records of each implementation by the name of its fault."""
    found = run(tmp_path_factory.mktemp("healthy") / "run.jsonl", [NOTHING], ["renorm.*"])
    found += run(tmp_path_factory.mktemp("faulty") / "run.jsonl", PLANTED, CASES)
    by_name: dict[str, list[Record]] = {fault.name: [] for fault in (NOTHING, *PLANTED)}
    for record in found:
        by_name[record["implementation"].removeprefix("renorm.")].append(record)
    return by_name


def failed(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record["status"] == "failed"]


def test_the_layer_without_a_fault_fails_no_case(records: Mapping[str, Sequence[Record]]) -> None:
    """In every precision, with exact results among them."""
    verdicts = [record["verdict"] for record in records["nothing"]]
    assert not failed(records["nothing"])
    assert len(verdicts) > 40
    assert "exact" in verdicts


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_a_planted_fault_is_named(fault: Fault, records: Mapping[str, Sequence[Record]]) -> None:
    """It fails a cell, and most of the diagnoses name it, among two at most."""
    diagnoses = [str(record["diagnosis"]) for record in failed(records[fault.name])]
    right = [each for each in diagnoses if fault.diagnosis in each and each.count(" or ") <= 1]
    assert diagnoses
    assert len(right) > len(diagnoses) / 2, diagnoses

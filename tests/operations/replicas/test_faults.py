"""The suite sees every fault planted in replicas, through the ordinary command line, and says what it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.replicas import FAULTS, NOTHING, Fault
from tests.recorded import recorded

ADAPTER = Path(__file__).parents[2] / "faults" / "replicas.py"
Record = Mapping[str, Any]


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Record]]:
    """Return the records of each implementation."""
    out = tmp_path_factory.mktemp("replicas") / "run.jsonl"
    words = ["--adapter", f"{ADAPTER}:ADAPTER", "--implementation", "faulty.*", "--out", str(out), "--workers", "1"]
    command = [sys.executable, "-P", "-m", "conformance", "run", *words, "--", "--tb=no", "--no-summary", "-q"]
    ended = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    found: dict[str, list[Record]] = {}
    for record in recorded(out):
        found.setdefault(record["implementation"], []).append(record)
    return found


def failed(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["status"] == "failed"]


@pytest.mark.parametrize("healthy", NOTHING, ids=lambda fault: fault.op)
def test_replicas_without_a_fault_fail_no_case(healthy: Fault, records: Mapping[str, Sequence[Record]]) -> None:
    """What the faults are planted in is right, exactly so on exact data."""
    found = records[f"faulty.{healthy.op}.nothing"]
    assert not [(record["case"], record["diagnosis"]) for record in failed(found)]
    assert len([record for record in found if record["verdict"] in ("exact", "conforms")]) >= 6


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.op}-{fault.name}")
def test_a_fault_of_replicas_is_seen_and_named(fault: Fault, records: Mapping[str, Sequence[Record]]) -> None:
    """It fails a case, and where a hypothesis could name it, most diagnoses do."""
    found = failed(records[f"faulty.{fault.op}.{fault.name}"])
    assert found
    named = [record for record in found if fault.diagnosis in record["diagnosis"]]
    assert not fault.diagnosis or len(named) > len(found) / 2, [record["diagnosis"] for record in found]

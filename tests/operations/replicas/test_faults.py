"""The suite sees every fault planted in replicas, and says what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.faults.replicas import FAULTS, NOTHING, Fault
from tests.planted_cells import Record, performed

#: What shows every fault in few cells: a deviating one costs a diagnosis.
CASES = (
    "replicated.centering-images",
    "replicated.centering/two",
    "replicated.centering/unequal",
    "replicated.empty-shard",
    "replicated.equal-shards/four/float32",
    "replicated.exact",
    "replicated.images/features-first",
    "replicated.reloading",
    "replicated.unequal-shards",
    "synchronized.empty-shard/last",
    "synchronized.equal-shards/four/float32",
    "synchronized.exact/two",
    "synchronized.images/features-last",
    "synchronized.ratio/2-12",
    "synchronized.unequal-shards/four",
)


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Record]]:
    """Return the records of each implementation."""

    def takes(implementation: str, case: str) -> bool:
        return implementation.endswith(".nothing") or case in CASES

    return performed("replicas", takes, tmp_path_factory.mktemp("replicas"))


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

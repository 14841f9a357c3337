"""The suite sees every planted fault of batch renormalization, by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest

from tests.faults.planted_renorm import PLANTED, Fault
from tests.planted_cells import Record, performed

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


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Record]]:
    """Return the records of each implementation by the name of its fault."""

    def takes(implementation: str, case: str) -> bool:
        return case.startswith("renorm.") if implementation == "renorm.nothing" else case in CASES

    records = performed("planted_renorm", takes, tmp_path_factory.mktemp("renorm"))
    return {name.removeprefix("renorm."): each for name, each in records.items()}


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

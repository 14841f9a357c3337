"""The suite sees every fault planted in a masked batch normalization, and says which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.faults.masked import PLANTED, Fault
from tests.planted_cells import Record, performed

#: What is so long that it shows nothing that others do not, and their twins of other ranks.
LONG = ("masked.count", "scattered", "rank-4", "float64", "overflow")
#: What shows every fault in few cells: a deviating one costs a diagnosis.
CASES = (
    "masked-edges.none-counts",
    "masked-edges.one-counts",
    "masked-edges.padding/nan",
    "masked-edges.padding/thousand",
    "masked-edges.square/features-last",
    "masked-edges.upstream",
    "masked.exact/float32",
    "masked.frozen",
    "masked.half/float16",
    "masked.positions/rank-2/float32",
    "masked.positions/rank-3-features-first/float32",
    "masked.rows",
    "masked.strided",
)


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Record]]:
    """Return the records of every case by the name of the fault."""

    def takes(implementation: str, case: str) -> bool:
        return case in CASES or (implementation == "masked.nothing" and not any(word in case for word in LONG))

    records = performed("masked", takes, tmp_path_factory.mktemp("masked"))
    return {name.removeprefix("masked."): each for name, each in records.items()}


def failed(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["status"] == "failed"]


def test_nothing_wrong_passes(records: Mapping[str, Sequence[Record]]) -> None:
    """In every case that it can express; the longest and their twins of other ranks are left out."""
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

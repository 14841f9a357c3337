"""The suite sees every fault planted into virtual batches, transformed calls and further derivatives, and names it.

A layer without one is judged in every case of its operation; a fault in some of them, since a deviating cell costs a
diagnosis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.faults import derived, divided
from tests.planted_cells import Record, performed

FAULTS = {"derived": derived, "divided": divided}
HEALTHY = [(kind, each) for kind, module in FAULTS.items() for each in module.NOTHING]
PLANTED = [(kind, each) for kind, module in FAULTS.items() for each in module.PLANTED]
#: Of each kind of data and each kind of step, the least that shows every fault.
CASES = {
    "differentiating.exact",
    "differentiating.inference",
    "differentiating.mixed/bfloat16",
    "differentiating.same-direction",
    "differentiating.small-variance/equal",
    "differentiating.training/features-first/float64",
    "differentiating.training/rank-2/float32",
    "differentiating.without-gamma",
    "transforming.chain",
    "transforming.inference",
    "transforming.same-values",
    "transforming.stack/features-first/float32",
    "transforming.stack/rank-3/float64",
    "transforming.training/rank-2/float32",
    "untracked.exact",
    "untracked.half-inference/float16",
    "untracked.steps/rank-2/float32",
    "untracked.steps/rank-4/float64",
    "virtual.correction",
    "virtual.exact/float32",
    "virtual.gradient-step",
    "virtual.parts/features-first/float64",
    "virtual.parts/rank-2/float32",
    "virtual.ramp/three-of-two",
    "virtual.reloading",
}

Records = Mapping[str, Sequence[Record]]


@pytest.fixture(name="records", scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Run every fault and return the records of each implementation."""

    def takes(implementation: str, case: str) -> bool:
        return ".nothing" in implementation or case in CASES

    records: dict[str, Sequence[Record]] = {}
    for kind in FAULTS:
        records |= performed(kind, takes, tmp_path_factory.mktemp(kind))
    return records


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

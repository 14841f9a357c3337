"""A profile that says of a field what is not so is flagged, whichever field and value; a true one is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from conformance.dialect import FIELDS
from conformance.report.model import build
from conformance.report.probes import Probed, observed_as
from conformance.runfile.reading import read
from tests.faults.misdeclared import WRONG

ADAPTER = Path(__file__).parents[1] / "faults" / "misdeclared.py"
#: What a lone layer cannot show: of these a wrong declaration makes the cells of replicas deviate.
OF_REPLICAS = {"replica_moving", "replica_gradients"}
#: One or a few of each family that tells.
CASES = (
    "probe.impulses/rank-2/*",
    "edges.one-value",
    "edges.empty-batch",
    "freezing.from-the-start/rank-2",
    "moving.long-chain-with-inference/rank-2",
    "precision.half/*",
)


@pytest.fixture(name="found", scope="module")
def _found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Probed]:
    """Run every misdeclared layer and return what the report says of each."""
    out = tmp_path_factory.mktemp("misdeclared") / "run.jsonl"
    words = ["run", "--adapter", f"{ADAPTER}:ADAPTER", "--out", str(out)]
    words += [word for case in CASES for word in ("--case", case)]
    command = [sys.executable, "-P", "-m", "conformance", *words, "--", "--tb=no", "-q", "--no-summary"]
    ended = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode in (0, 1), ended.stderr
    page = build([read(out)], partial=False)
    return {each.implementation.removeprefix("misdeclared."): each for each in page.probed}


def test_every_field_of_a_profile_is_declared_wrongly_once() -> None:
    assert set(WRONG) == set(FIELDS) - OF_REPLICAS


def test_a_layer_that_declares_nothing_wrong_is_observed_as_the_spec_in_every_field(
    found: Mapping[str, Probed],
) -> None:
    fields = found["nothing"].fields
    assert all(each.observed and each.agrees for each in fields), [each for each in fields if not each.agrees]


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_wrong_declaration_is_flagged_and_no_other_field(
    field: str, value: object, found: Mapping[str, Probed]
) -> None:
    flagged = {each.field for each in found[f"{field}.{value}"].fields if not each.agrees}
    also = {"later_update"} if field == "update" else set[str]()
    assert flagged - also == {observed_as(field)}

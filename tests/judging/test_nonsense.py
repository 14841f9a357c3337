"""Whatever a step gives and whatever its dialect, diagnosis ends: a change of the formula that cannot be tried is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.planted_cells import performed

#: What the reference itself leaves out something of, and an ordinary step of each operation.
CASES = frozenset(
    {
        "adapting.data/rank-2",
        "affine.one-switched-off/no-beta",
        "affine.one-switched-off/no-gamma",
        "centering.empty-batch",
        "centering.rank-2/float64",
        "edges.empty-batch",
        "edges.non-finite-half",
        "edges.one-value",
        "freezing.from-the-start/rank-2",
        "freezing.gradient-step",
    }
)
FAMILIES = frozenset({"adapting", "affine", "centering", "edges", "freezing"})


@pytest.mark.parametrize(
    "takes",
    [
        pytest.param(lambda case: case in CASES, id="some cases"),
        pytest.param(lambda case: case.partition(".")[0] in FAMILIES, id="five families", marks=pytest.mark.search),
    ],
)
def test_every_quantity_that_is_wrong_alone_is_judged_to_the_end(takes: Callable[[str], bool], tmp_path: Path) -> None:
    """In each of the cases some layer deviates."""
    records = performed("nonsense", lambda _, case: takes(case), tmp_path)
    deviating = {record["case"] for rows in records.values() for record in rows if record["verdict"] == "deviates"}
    assert {case.partition(".")[0] for case in deviating} == FAMILIES
    assert len({record["case"] for rows in records.values() for record in rows}) >= len(CASES)

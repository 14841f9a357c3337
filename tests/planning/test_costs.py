"""What cells cost: order and division of work, never a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conformance.errors import SuiteError
from conformance.planning.costs import FILE, Costs, load_costs
from conformance.planning.plan import Selection, plan
from conformance.spec.locations import spec_folder
from tests.cells import case, located, offer, offered

(CELL,) = plan([located(case())], [offer(offered(name="fake.Layer"))], Selection())


def test_a_cell_costs_the_seconds_of_its_implementation_and_mode() -> None:
    assert Costs(seconds={"fake.Layer-eager": 0.5, "fake.Layer-compiled": 7.0}).cost(CELL) == 0.5


def test_what_was_never_recorded_costs_as_much_as_the_usual_cell(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text('{"a-eager": 1.0, "b-eager": 2.0, "c-eager": 9.0}')
    assert load_costs(file).cost(CELL) == 2.0


def test_what_is_not_performed_costs_nothing() -> None:
    assert Costs(usual=3.0).cost(replace(CELL, unsupported="not here")) == 0.0


def test_the_shipped_file_is_read() -> None:
    seconds = load_costs(spec_folder() / FILE).seconds
    assert min(seconds.values()) >= 0.0
    assert any(name.endswith("-compiled") for name in seconds)


@pytest.mark.parametrize("text", ["", "[]", '{"a": "long"}'])
def test_a_spoiled_file_is_refused_and_says_how_it_is_made(text: str, tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text(text)
    with pytest.raises(SuiteError, match="--write-costs"):
        load_costs(file)

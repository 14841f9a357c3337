"""A case that goes into a run file and comes back asks for the same, of whatever operation and with whatever options."""

from __future__ import annotations

import msgspec
from hypothesis import given

from conformance.operations import OPERATIONS
from conformance.runfile.lines import case_from, case_line
from conformance.runfile.structs import CaseLine
from conformance.search.cases import cases
from conformance.spec.case import Case
from tests.cells import case, located
from tests.drawing import drawn


def back(made: Case) -> Case:
    return case_from(msgspec.json.decode(msgspec.json.encode(case_line(located(made))), type=CaseLine))


@drawn(4)
@given(cases(tuple(OPERATIONS)))
def test_a_case_comes_back_from_its_line_as_it_was(made: Case) -> None:
    again = back(made)
    # JSON has no tuples.
    assert msgspec.json.encode(again.configuration) == msgspec.json.encode(made.configuration)
    assert [step.model_dump_json() for step in again.performed] == [step.model_dump_json() for step in made.performed]
    assert {name: recipe.model_dump_json() for name, recipe in again.initial.items()} == {
        name: recipe.model_dump_json() for name, recipe in made.initial.items()
    }


def test_whole_numbers_and_what_must_be_refused_come_back() -> None:
    numbers = {"kind": "constant", "value": 2.0}
    made = case({"step": "infer", "input": numbers, "shape": [8], "refused": "wrong rank"}, input_dtype="uint8")
    again = back(made)
    assert (again.configuration.input_dtype, again.performed[0]) == ("uint8", made.performed[0])

"""Drawn cases are what spec files write: they load as the same thing, of every operation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from conformance.operations import OPERATIONS
from conformance.search.cases import DTYPES, STEPS, cases, numbers_in
from conformance.search.options import names, options
from conformance.search.picks import Picks
from conformance.search.shapes import SMALL
from conformance.search.written import yaml_of
from conformance.spec.case import Case, Train
from conformance.spec.loader import load_clauses, load_file
from conformance.spec.locations import spec_folder

ALL = tuple(OPERATIONS)
CLAUSES = load_clauses(spec_folder() / "semantics.md")
drawing = settings(
    max_examples=120,
    database=None,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


SHRINKING = settings(drawing, phases=[Phase.generate, Phase.shrink])


@pytest.fixture(name="file", scope="module")
def _file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn") / "search.yaml"


@drawing
@given(cases(ALL))
def test_a_drawn_case_and_its_text_are_the_same_case(file: Path, case: Case) -> None:
    file.write_text(yaml_of(case))
    (located,) = load_file(file, CLAUSES)
    assert located.case.model_dump_json() == case.model_dump_json()


def test_everything_that_a_case_can_say_is_drawn() -> None:
    drawn: list[Case] = []

    @settings(drawing, max_examples=600)
    @given(cases(ALL))
    def draw(case: Case) -> None:
        drawn.append(case)

    draw()
    steps = Counter(step.step for case in drawn for step in case.performed)
    assert {case.op for case in drawn} == set(ALL)
    assert {case.dtype for case in drawn} == set(DTYPES)
    assert {len(case.shape) for case in drawn} == {1, 2, 3, 4, 5}
    assert {case.memory for case in drawn} == {"contiguous", "strided", "channels_last"}
    assert set(steps) == {"train", "infer", "reload", "freeze", "unfreeze", "sgd"}
    assert max(len(case.performed) for case in drawn) == STEPS
    assert any(0 in case.step_shape(step) for case in drawn for step in case.performed)
    assert any(isinstance(step, Train) and step.mask is not None for case in drawn for step in case.performed)


@pytest.mark.parametrize("name", ALL)
def test_every_option_of_an_operation_is_drawn(name: str) -> None:
    operation = OPERATIONS[name]
    drawn = options(Picks(lambda _: bytes([255]) * 16), operation, SMALL[3])
    assert drawn.keys() == set(names(operation))


def test_the_simplest_case_is_small() -> None:
    case = find(cases(), lambda case: "train" in [step.step for step in case.performed], settings=SHRINKING)
    assert [step.step for step in case.performed] == ["train"]
    assert numbers_in(case) == 2

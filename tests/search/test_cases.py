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
from conformance.spec.case import Case, Train, unfit
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


@settings(drawing, max_examples=240)
@given(cases(ALL, refusable=True))
def test_a_drawn_case_and_its_text_are_the_same_case(file: Path, case: Case) -> None:
    file.write_text(yaml_of(case))
    (located,) = load_file(file, CLAUSES)
    assert located.case.model_dump_json() == case.model_dump_json()


def drawn(count: int, *operations: str, refusable: bool = False) -> list[Case]:
    found: list[Case] = []

    @settings(drawing, max_examples=count)
    @given(cases(operations or ALL, refusable=refusable))
    def draw(case: Case) -> None:
        found.append(case)

    draw()
    return found


def test_whole_numbers_and_inputs_that_do_not_fit_are_drawn() -> None:
    found = drawn(1500, refusable=True)
    assert {case.input_dtype for case in found} == {None, "bool", "int8", "uint8", "int32", "int64"}
    refused = {(case.op, unfit(step)) for case in found for step in case.performed if unfit(step)}
    assert {why for _, why in refused} == {"wrong size", "wrong rank"}
    assert {"13.5", "2.5"} <= {clause for case in found for clause in case.clauses}


@pytest.mark.parametrize("op", ["centering", "layer_norm", "masked_batch_norm", "batch_renorm"])
def test_inputs_that_do_not_fit_are_drawn_of_other_operations(op: str) -> None:
    assert any(unfit(step) for case in drawn(150, op, refusable=True) for step in case.performed)


def test_what_must_be_refused_stands_where_a_refusal_proves_something() -> None:
    for case in drawn(400, "batch_norm", refusable=True):
        fitting = {step.step for step in case.performed if not unfit(step)}
        assert all(step.step in fitting for step in case.performed if unfit(step))


def test_tests_of_a_person_s_own_layer_draw_nothing_that_it_may_refuse() -> None:
    found = drawn(400, "batch_norm")
    assert {case.input_dtype for case in found} == {None}
    assert not any(unfit(step) for case in found for step in case.performed)


def test_everything_that_a_case_can_say_is_drawn() -> None:
    found = drawn(1500)
    steps = Counter(step.step for case in found for step in case.performed)
    assert {case.op for case in found} == set(ALL)
    assert {case.dtype for case in found} == set(DTYPES)
    assert {len(case.shape) for case in found} == {1, 2, 3, 4, 5}
    assert {case.memory for case in found} == {"contiguous", "strided", "channels_last"}
    assert set(steps) == {"train", "infer", "reload", "freeze", "unfreeze", "sgd"}
    assert max(len(case.performed) for case in found) == STEPS
    assert any(0 in case.step_shape(step) for case in found for step in case.performed)
    assert any(isinstance(step, Train) and step.mask is not None for case in found for step in case.performed)


@pytest.mark.parametrize("name", ALL)
def test_every_option_of_an_operation_is_drawn(name: str) -> None:
    operation = OPERATIONS[name]
    chosen = options(Picks(lambda _: bytes([255]) * 16), operation, SMALL[3])
    assert chosen.keys() == set(names(operation))


def test_the_simplest_case_is_small() -> None:
    case = find(cases(), lambda case: "train" in [step.step for step in case.performed], settings=SHRINKING)
    assert [step.step for step in case.performed] == ["train"]
    assert numbers_in(case) == 2


def test_groups_are_drawn_of_features_that_there_are() -> None:
    features: set[int] = set()

    @drawing
    @given(cases(("group_norm",), DTYPES))
    def draw(case: Case) -> None:
        features.add(case.configuration.feature_count)

    draw()
    assert len(features) > 1
    assert 0 not in features

"""An input that does not fit must be refused, and leave nothing behind; one of whole numbers may be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cause import diagnosis_text
from conformance.outcome import Produced, Refused
from conformance.reference.inputs import beginnings_of, inputs_of
from conformance.spec.case import Case, unfit
from conformance.spec.causes import catalogue
from conformance.verdict import Verdict
from tests import shipped
from tests.cells import INFER, TRAIN, case
from tests.exact_layer import ExactLayer, outcomes, produced
from tests.judging.right_and_wrong import input_of, judged, next_up, upstream_of
from tests.search.benches import PLANTED, bench

WRONG_SIZE = {**INFER, "shape": [8, 1], "refused": "wrong size"}
WRONG_RANK = {"step": "train", "input": INFER["input"], "shape": [8], "refused": "wrong rank"}


def refused(state: Any) -> Refused:
    return Refused(types=("ValueError",), message="no", trace="", state=state, seconds=0.0)


def around(made: Case, between: Any) -> list[Any]:
    """The outcomes of a train step, of what must be refused, and of an inference that starts where the first ended."""
    layer = ExactLayer(case=made)
    start, *_ = outcomes(ExactLayer(case=case(TRAIN)))
    assert isinstance(start, Produced)
    layer.start(start.state)
    trained = produced(layer.train(input_of(made, 0), upstream_of(made, 0)), layer.state)
    return [start, trained, between(trained.state), produced(layer.infer(input_of(made, 2), None), layer.state)]


@pytest.mark.parametrize("step", [WRONG_SIZE, WRONG_RANK], ids=["size", "rank"])
def test_a_refusal_of_what_does_not_fit_is_right(step: Any) -> None:
    made = case(TRAIN, step, INFER)
    judgement = judged(made, around(made, refused))
    assert [step.verdict for step in judgement.steps[1:]] == [Verdict.CONFORMS, Verdict.EXACT, Verdict.CONFORMS]
    assert (judgement.expected, judgement.failures) == (True, ())
    assert judgement.steps[2].message == "refused, as it must be: ValueError: no"


def test_numbers_of_what_does_not_fit_are_a_deviation_with_its_shape() -> None:
    made = case(TRAIN, WRONG_SIZE, INFER)
    judgement = judged(made, around(made, lambda state: produced({"output": np.zeros((8, 3), np.float32)}, state)))
    assert [step.verdict for step in judgement.steps[1:]] == [Verdict.CONFORMS, Verdict.DEVIATES, Verdict.CONFORMS]
    said = diagnosis_text(judgement.diagnosis, catalogue())
    assert said == "takes an input of shape (8, 1) where (8, 3) was built for, and computes of it"
    assert not judgement.expected


def test_a_state_of_another_size_that_comes_of_it_does_not_end_the_judgement() -> None:
    made = case(TRAIN, WRONG_SIZE, INFER)
    wrong = np.zeros(24, np.float32)
    given = around(made, lambda state: produced({"output": wrong}, {**state, "moving_mean": wrong}))
    assert judged(made, given).steps[3].verdict is Verdict.CONFORMS


def test_a_refusal_that_moved_the_state_is_a_deviation_all_the_same() -> None:
    made = case(TRAIN, WRONG_SIZE, INFER)
    given = around(made, lambda state: refused({**state, "moving_mean": next_up(state["moving_mean"])}))
    judgement = judged(made, given)
    assert (judgement.steps[2].verdict, judgement.expected) == (Verdict.DEVIATES, False)
    assert "changed by a step that was refused" in diagnosis_text(judgement.diagnosis, catalogue())


def test_an_adapter_s_own_mistake_is_no_right_refusal() -> None:
    made = case(TRAIN, WRONG_SIZE, INFER)
    given = around(made, lambda state: replace(refused(state), mistake="fake.py, line 1, in infer"))
    assert not judged(made, given).expected


def test_a_refusal_by_what_refuses_every_input_proves_nothing() -> None:
    made = case(TRAIN, WRONG_SIZE, INFER)
    start, *_ = outcomes(ExactLayer(case=made))
    assert isinstance(start, Produced)
    judgement = judged(made, [start, refused(start.state), refused(start.state), refused(start.state)])
    assert [step.verdict for step in judgement.steps[1:]] == [Verdict.REFUSED] * 3
    assert [step.expected for step in judgement.steps[1:]] == [False, True, False]
    assert judgement.steps[2].message == "refused as what fits is, which proves nothing: ValueError: no"


@pytest.mark.parametrize("name", ["misfit.batch-norm/one-for-three/both", "misfit.handed/served-learned"])
def test_a_layer_that_refuses_everything_refuses_nothing_as_it_must(name: str, tmp_path: Path) -> None:
    made = next(located.case for located in shipped.spec().cases if located.case.id == name)
    with bench(tmp_path, PLANTED, "planted.everything_refused") as planted:
        (trial,) = planted.trials(made)
    assert {step.verdict for step in trial.judgement.steps[1:]} == {Verdict.REFUSED}
    told = [bool(unfit(step)) for step in made.performed]
    assert [step.message.startswith("refused as what fits is") for step in trial.judgement.steps[1:]] == told
    assert not trial.judgement.expected


def test_a_refusal_of_inference_is_no_more_right_where_training_alone_is_computed() -> None:
    made = case(TRAIN, WRONG_SIZE, INFER)
    start, trained, *_ = outcomes(ExactLayer(case=case(TRAIN)))
    assert isinstance(trained, Produced)
    judgement = judged(made, [start, trained, refused(trained.state), refused(trained.state)])
    assert [step.verdict for step in judgement.steps[1:]] == [Verdict.CONFORMS, Verdict.REFUSED, Verdict.REFUSED]


HANDED = {**INFER, "handed": {"gamma": [1]}, "refused": "wrong size"}


def test_a_refusal_of_a_parameter_that_does_not_fit_is_right() -> None:
    judgement = judged(case(TRAIN, HANDED, INFER), around(case(TRAIN, HANDED, INFER), refused))
    assert [step.verdict for step in judgement.steps[1:]] == [Verdict.CONFORMS, Verdict.EXACT, Verdict.CONFORMS]
    assert judgement.expected


def test_numbers_of_a_parameter_that_does_not_fit_are_a_deviation_with_its_name_and_shape() -> None:
    made = case(TRAIN, HANDED, INFER)
    judgement = judged(made, around(made, lambda state: produced({"output": np.zeros((8, 3), np.float32)}, state)))
    said = diagnosis_text(judgement.diagnosis, catalogue())
    assert said == "takes gamma of shape (1,) where (3,) fits the input, and computes of it"
    assert not judgement.expected


@pytest.mark.parametrize("gives", [refused, lambda state: produced({"output": np.zeros((8, 3), np.float32)}, state)])
def test_what_a_call_apart_leaves_is_not_what_the_next_step_starts_from(gives: Any) -> None:
    """The call was made beside the layer, which is as it was."""
    made = case(TRAIN, HANDED, INFER)
    given = around(made, lambda state: gives({**state, "moving_mean": state["moving_mean"] + np.float32(1)}))
    assert judged(made, given).steps[3].verdict is Verdict.CONFORMS


def test_what_must_be_refused_moves_nothing_in_the_reference() -> None:
    made = case(TRAIN, {**WRONG_RANK}, INFER)
    before, after = (beginnings_of(made)[number] for number in (1, 2))
    assert {name: value.tobytes() for name, value in before.state.items()} == {
        name: value.tobytes() for name, value in after.state.items()
    }
    assert (before.steps.trained, after.steps.trained) == (1, 1)


WHOLE = {"step": "train", "input": {"kind": "integers", "seed": 3, "low": 0, "high": 200}}


def test_whole_numbers_are_handed_over_as_they_are() -> None:
    made = case(WHOLE, input_dtype="uint8")
    assert input_of(made, 0).dtype == np.uint8


def test_a_refusal_of_whole_numbers_is_expected_and_told() -> None:
    made = case(WHOLE, input_dtype="uint8")
    start = produced({}, inputs_of(made).initial)
    judgement = judged(made, [start, refused(start.state)])
    assert (judgement.verdict, judgement.expected) == (Verdict.REFUSED, True)
    assert judgement.steps[1].message == "ValueError: no (uint8 input may be refused)"


def test_whole_numbers_kept_as_such_have_a_wrong_dtype() -> None:
    made = case(WHOLE, input_dtype="uint8")
    layer = ExactLayer(case=made)
    start = produced({}, inputs_of(made).initial)
    layer.start(start.state)
    results = layer.train(input_of(made, 0), np.zeros((8, 3), np.float32))
    given = produced({"output": results["output"].astype(np.int32)}, layer.state)
    said = diagnosis_text(judged(made, [start, given]).diagnosis, catalogue())
    assert said == "has dtype int32, expected float32"

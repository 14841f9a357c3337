"""What a layer keeps: judged from the state reported before a step, by whoever keeps it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conformance.verdict import Verdict
from tests.cells import INFER, RELOAD, TRAIN, case, declared
from tests.exact_layer import ExactLayer, altered, outcomes, produced
from tests.judging.right_and_wrong import found, input_of, judged, next_up, without_state
from tests.told import reason


@pytest.mark.parametrize("name", ["gamma", "beta", "moving_mean", "moving_variance"])
def test_state_changed_by_inference_deviates(name: str) -> None:
    made = case(TRAIN, INFER)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 2, name, next_up, kept=True))
    assert (judgement.steps[1].verdict, judgement.steps[2].verdict) == (Verdict.CONFORMS, Verdict.DEVIATES)
    assert found(judgement, 2, name).verdict is Verdict.DEVIATES


def test_parameters_changed_by_a_train_step_deviate() -> None:
    made = case(TRAIN)
    assert (
        judged(made, altered(outcomes(ExactLayer(case=made)), 1, "gamma", next_up, kept=True)).verdict
        is Verdict.DEVIATES
    )


@pytest.mark.parametrize("name", ["gamma", "moving_variance"])
def test_an_initial_state_that_is_not_kept_deviates(name: str) -> None:
    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 0, name, next_up, kept=True))
    assert reason(found(judgement, 0, name)) == "the initial state is not what was put in"
    assert judgement.steps[0].verdict is Verdict.DEVIATES


def test_the_same_inference_twice_must_give_the_same_bits() -> None:
    made = case(TRAIN, INFER, INFER)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 3, "output", next_up))
    assert reason(judgement.steps[3].quantities[-1]) == "differs from step 2, which had the same input and state"
    assert judgement.verdict is Verdict.DEVIATES


def test_the_same_inference_from_another_state_may_give_other_bits() -> None:
    assert judged(case(TRAIN, INFER, TRAIN, INFER)).verdict is Verdict.CONFORMS


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_reload_that_changes_one_bit_deviates(dtype: str) -> None:
    made = case(TRAIN, RELOAD, dtype=dtype)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 2, "moving_variance", next_up, kept=True))
    assert (judgement.steps[1].verdict, judgement.steps[2].verdict) == (Verdict.CONFORMS, Verdict.DEVIATES)


@pytest.mark.parametrize(("follows", "verdict"), [(True, Verdict.CONFORMS), (False, Verdict.DEVIATES)])
def test_a_step_is_judged_from_the_state_reported_before_it(follows: bool, verdict: Verdict) -> None:
    made = case(TRAIN, INFER)
    start, train, infer = outcomes(ExactLayer(case=made))
    state = {**train.state, "moving_variance": train.state["moving_variance"] * np.float32(4)}
    layer = ExactLayer(case=made)
    layer.start(state)
    output = layer.infer(input_of(made, 1), None) if follows else infer.quantities
    judgement = judged(made, [start, replace(train, state=state), produced(output, state)])
    assert [each.verdict for each in judgement.steps[1:]] == [Verdict.DEVIATES, verdict]


def test_a_function_whose_caller_keeps_the_state_is_judged_by_its_results_alone() -> None:
    made = case(TRAIN, INFER, TRAIN, INFER)
    profile = (declared("state", "caller"),)
    judgement = judged(made, without_state(outcomes(ExactLayer(case=made))), profile=profile)
    assert judgement.verdict is Verdict.CONFORMS
    assert {each.quantity for step in judgement.steps for each in step.quantities} == {
        "output",
        "grad_input",
        "grad_gamma",
        "grad_beta",
    }


def test_a_function_that_ignores_the_caller_s_state_deviates() -> None:
    made = case(TRAIN, INFER)
    given = without_state(outcomes(ExactLayer(case=made)))
    layer = ExactLayer(case=made)
    layer.start(outcomes(layer)[0].state)
    given[2] = produced(layer.infer(input_of(made, 1), None), {})
    assert judged(made, given, profile=(declared("state", "caller"),)).steps[2].verdict is Verdict.DEVIATES


def test_a_state_that_loses_a_name_deviates_and_does_not_end_the_run() -> None:
    """The missing value deviates at every step after; the others are judged on."""
    made = case(TRAIN, INFER)
    given = outcomes(ExactLayer(case=made))
    lost = [replace(each, state={k: v for k, v in each.state.items() if k != "moving_mean"}) for each in given]
    judgement = judged(made, lost)
    assert judgement.verdict is Verdict.DEVIATES
    assert {reason(each) for step in judgement.steps for each in step.quantities if each.quantity == "moving_mean"} == {
        "was not given"
    }

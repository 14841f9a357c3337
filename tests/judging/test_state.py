"""What a layer keeps: judged from the state reported before a step, by whoever keeps it."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from conformance.outcome import Produced
from conformance.reference.inputs import inputs_of
from conformance.verdict import Verdict
from tests.cells import FREEZE, INFER, RELOAD, TRAIN, case, declared
from tests.exact_layer import Array, ExactLayer, altered, outcomes, produced
from tests.judging.right_and_wrong import found, input_of, judged, next_up, without_state
from tests.told import diagnosed, reason


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


def test_a_layer_that_is_frozen_after_its_gradients_were_computed_and_learns_from_them_is_named() -> None:
    """Rounded as a gradient step is, though the right values are those before, to the bit."""
    made = case(
        TRAIN, FREEZE, {"step": "sgd", "learning_rate": 0.125}, initial={"gamma": {"kind": "constant", "value": 0.7}}
    )
    given = outcomes(ExactLayer(case=made))
    gradients = {name: given[1].quantities[f"grad_{name}"] for name in ("gamma", "beta")}
    for name, gradient in gradients.items():
        change = functools.partial(_descended, gradient)
        given = altered(given, 3, name, change, kept=True)
    assert diagnosed(judged(made, given)) == "a frozen layer learns"


def _descended(gradient: Array, value: Array) -> Array:
    return np.asarray(value - np.float32(0.125) * gradient)


WEIGHTLESS = {
    "step": "train",
    "input": {"kind": "literal", "values": [[np.inf, 1.0], [0.5, 2.0], [1.0, -1.0], [-2.0, 4.0]]},
}


@pytest.mark.parametrize(
    ("moving", "verdict"),
    [(0.0, Verdict.EXACT), (np.nan, Verdict.OUTSIDE_DOMAIN), (0.5, Verdict.DEVIATES)],
    ids=["kept", "0 times infinity", "another number"],
)
def test_a_term_without_weight_that_is_not_finite_may_count_or_be_left_out(moving: float, verdict: Verdict) -> None:
    """Clause 7.4: with a decay of 1 the batch has the weight 0."""
    made = case(WEIGHTLESS, shape=[4, 2], decay=1.0)
    before = inputs_of(made).initial
    after = {**before, "moving_mean": np.array([moving, 0.0], np.float32)}
    output = np.array([[np.nan, value] for value in (-0.28, 0.28, -1.39, 1.39)], np.float32)
    start = Produced(quantities={}, state=dict(before), seconds=0.0)
    judgement = judged(made, [start, Produced(quantities={"output": output}, state=after, seconds=0.0)])
    assert found(judgement, 1, "moving_mean").verdict is verdict

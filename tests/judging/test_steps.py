"""Frozen layers, gradient steps, empty batches and values that are not finite."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.verdict import Verdict
from tests.cells import FREEZE, SGD, TRAIN, UPSTREAM, case
from tests.exact_layer import ExactLayer, altered, outcomes, produced
from tests.judging.right_and_wrong import UNFREEZE, found, judged


def test_a_frozen_layer_goes_on_training_and_need_not_give_gradients_of_parameters() -> None:
    made = case(FREEZE, TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 2, "grad_gamma", lambda _: None)
    assert judged(made, altered(given, 2, "grad_beta", lambda _: None)).verdict is Verdict.CONFORMS


def test_an_unfrozen_layer_gives_gradients_of_parameters_again() -> None:
    made = case(FREEZE, UNFREEZE, TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 3, "grad_gamma", lambda _: None)
    assert judged(made, given).verdict is Verdict.DEVIATES


def test_a_gradient_step_moves_gamma_and_beta() -> None:
    made = case(TRAIN, SGD)
    assert judged(made).verdict is Verdict.CONFORMS
    start, train, _ = outcomes(ExactLayer(case=made))
    assert judged(made, [start, train, produced({}, train.state)]).steps[2].verdict is Verdict.DEVIATES


@pytest.mark.parametrize(("wrong", "rate"), [("twice the rate", 1.0), ("uphill", -0.5)])
def test_a_gradient_step_of_another_size_deviates(wrong: str, rate: float) -> None:
    made = case(TRAIN, SGD)
    other = case(TRAIN, {"step": "sgd", "learning_rate": rate})
    judgement = judged(made, outcomes(ExactLayer(case=other)))
    assert found(judgement, 2, "gamma").verdict is Verdict.DEVIATES, wrong


def test_a_gradient_step_of_a_frozen_layer_leaves_gamma_and_beta() -> None:
    assert judged(case(TRAIN, FREEZE, SGD)).verdict is Verdict.CONFORMS
    assert judged(case(FREEZE, TRAIN, SGD)).verdict is Verdict.CONFORMS


def test_an_empty_batch_conforms_where_nothing_moves() -> None:
    assert judged(case({**TRAIN, "shape": [0, 3]}, TRAIN)).verdict is Verdict.CONFORMS


def test_an_empty_batch_that_moves_a_value_deviates() -> None:
    made = case({**TRAIN, "shape": [0, 3]})
    given = altered(outcomes(ExactLayer(case=made)), 1, "moving_variance", lambda value: value * np.float32(0.9), True)
    assert judged(made, given).verdict is Verdict.DEVIATES


def test_a_non_finite_value_spoils_its_feature_alone_and_conforms() -> None:
    values = [[1.0, float("nan"), 3.0], [2.0, 1.0, 5.0]]
    step = {"step": "train", "input": {"kind": "literal", "values": values}, "upstream": UPSTREAM}
    assert judged(case(step, TRAIN, shape=[2, 3], steps=[step, TRAIN])).verdict is Verdict.CONFORMS

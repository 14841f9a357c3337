"""Each quantity of a step: whether it is there, its dtype and shape, its values, and why they deviate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.errors import SuiteError
from conformance.outcome import Produced
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from conformance.verdict import Verdict
from tests.cells import TRAIN, case
from tests.exact_layer import Array, ExactLayer, altered, outcomes, produced
from tests.judging.right_and_wrong import found, input_of, judged, upstream_of
from tests.told import diagnosed, reason

#: Moving values near data of a large mean, so that their own rounding hides nothing.
FAR = {"moving_mean": {"kind": "constant", "value": 4096.0}}


@pytest.mark.parametrize(
    ("wrong", "diagnosis"),
    [
        ({"epsilon": 0.0}, "epsilon dropped or variance clamped to epsilon"),
        ({"decay": 0.1}, "decay inverted"),
        ({"moving_correction": 1}, "moving correction 1"),
        ({"normalizing_correction": 1}, "normalizing correction 1"),
    ],
)
def test_a_single_change_of_the_formula_deviates_and_is_diagnosed(wrong: dict[str, Any], diagnosis: str) -> None:
    made = case(TRAIN)
    judgement = judged(made, outcomes(ExactLayer(case=made, **wrong)))
    assert (judgement.verdict, judgement.expected, diagnosed(judgement)) == (Verdict.DEVIATES, False, diagnosis)


def test_a_difference_of_squares_is_diagnosed() -> None:
    made = case({**TRAIN, "input": {"kind": "ill_conditioned", "seed": 5, "ratio": 4096.0}}, initial=FAR)
    judgement = judged(made, outcomes(ExactLayer(case=made, one_pass=True, work="float32")))
    assert found(judgement, 1, "moving_variance").verdict is Verdict.DEVIATES
    assert "one-pass variance" in diagnosed(judgement)


def test_what_no_hypothesis_explains_is_unexplained() -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output * np.float32(1.5))
    assert diagnosed(judged(made, given)).startswith("unexplained: output is 1.5·")


@pytest.mark.parametrize("quantity", ["output", "grad_input", "grad_gamma", "grad_beta"])
def test_a_missing_quantity_deviates(quantity: str) -> None:
    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 1, quantity, lambda _: None))
    assert reason(found(judgement, 1, quantity)) == "was not given"
    assert judgement.verdict is Verdict.DEVIATES


@pytest.mark.parametrize("name", ["gamma", "beta", "moving_mean", "moving_variance"])
def test_state_that_is_missing_after_a_step_deviates(name: str) -> None:
    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 1, name, lambda _: None, kept=True))
    assert (reason(found(judgement, 1, name)), judgement.verdict) == ("was not given", Verdict.DEVIATES)


def test_a_quantity_that_the_api_lacks_is_not_missed() -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, "grad_input", lambda _: None)
    assert judged(made, given, lacks=("grad_input",)).verdict is Verdict.CONFORMS


@pytest.mark.parametrize(("quantity", "kept"), [("output", False), ("grad_gamma", False), ("moving_mean", True)])
def test_another_dtype_deviates_though_the_values_are_right(quantity: str, kept: bool) -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, quantity, lambda value: value.astype(np.float64), kept)
    judgement = judged(made, given)
    assert reason(found(judgement, 1, quantity)) == "has dtype float64, expected float32"
    assert judgement.verdict is Verdict.DEVIATES


def test_another_shape_deviates_though_the_values_are_right() -> None:
    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output.reshape(3, 8)))
    assert reason(found(judgement, 1, "output")) == "has shape (3, 8), expected (8, 3)"


def test_an_axis_mixed_up_in_a_statistic_deviates() -> None:
    made = case(TRAIN, shape=[4, 2, 3], feature_axes=[1, 2])
    given = altered(outcomes(ExactLayer(case=made)), 1, "moving_mean", np.transpose, kept=True)
    assert found(judged(made, given), 1, "moving_mean").verdict is Verdict.DEVIATES


def test_a_statistic_may_keep_collapsed_axes_of_size_one() -> None:
    made = case(TRAIN, shape=[4, 3, 5], feature_axes=[1])
    given = altered(outcomes(ExactLayer(case=made)), 1, "moving_mean", lambda value: value.reshape(1, 3, 1), kept=True)
    judgement = judged(made, given)
    assert found(judgement, 1, "moving_mean").shape == (1, 3, 1)
    assert judgement.verdict is Verdict.CONFORMS


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_value_that_is_not_finite_deviates(bad: float) -> None:
    def spoil(output: Array) -> Array:
        spoilt = output.copy()
        spoilt[5, 1] = bad
        return spoilt

    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 1, "output", spoil))
    worst = found(judgement, 1, "output").worst
    assert judgement.verdict is Verdict.DEVIATES
    assert worst is not None
    assert worst.position == 5 * 3 + 1


@pytest.mark.parametrize(("dtype", "verdict"), [("float32", Verdict.EXACT), ("float64", Verdict.DEVIATES)])
def test_batch_statistics_are_judged_where_an_api_returns_them(dtype: str, verdict: Verdict) -> None:
    made = case(TRAIN)
    start, train = outcomes(ExactLayer(case=made))
    mean = input_of(made, 0).astype(np.longdouble).mean(axis=0).astype(dtype)
    right = replace(train, quantities={**train.quantities, "batch_mean": mean})
    assert found(judged(made, [start, right]), 1, "batch_mean").verdict is verdict
    wrong = replace(train, quantities={**train.quantities, "batch_mean": mean + mean.dtype.type(1)})
    assert found(judged(made, [start, wrong]), 1, "batch_mean").verdict is Verdict.DEVIATES


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 3), ""), ((3, 1), ""), ((2, 3), "has shape (2, 3), expected (3,)"), ((1,), "has shape (1,), expected (3,)")],
)
def test_batch_statistics_have_one_value_per_feature(shape: tuple[int, ...], words: str) -> None:
    """Axes of length one are the API's own affair."""
    made = case(TRAIN)
    start, train = outcomes(ExactLayer(case=made))
    mean = input_of(made, 0).astype(np.longdouble).mean(axis=0).astype("float32")
    given = np.resize(mean, shape)
    told = replace(train, quantities={**train.quantities, "batch_mean": given})
    quantity = found(judged(made, [start, told]), 1, "batch_mean")
    assert (reason(quantity), quantity.verdict.agrees) == (words, not words)


def centering(made: Case, subtracted: float) -> list[Produced]:
    """The outcomes of a train step of centering that subtracts so many times the mean."""
    x, g = (input_of(made, 0).astype(np.longdouble), upstream_of(made, 0).astype(np.longdouble))
    state = {"moving_mean": inputs_of(made).initial["moving_mean"]}
    after = np.longdouble(made.decay) * state["moving_mean"] + (1 - np.longdouble(made.decay)) * x.mean(axis=0)
    results = {"output": x - subtracted * x.mean(axis=0), "grad_input": g - g.mean(axis=0)}
    return [
        produced({}, state),
        produced(
            {name: value.astype(np.float32) for name, value in results.items()},
            {"moving_mean": after.astype(np.float32)},
        ),
    ]


@pytest.mark.parametrize(("subtracted", "verdict"), [(1.0, Verdict.CONFORMS), (0.0, Verdict.DEVIATES)])
def test_centering_subtracts_the_mean(subtracted: float, verdict: Verdict) -> None:
    made = case(TRAIN, op="centering")
    assert judged(made, centering(made, subtracted), op="centering").verdict is verdict


def test_a_quantity_that_nobody_knows_is_the_suite_s_own_fault() -> None:
    made = case(TRAIN)
    start, first = outcomes(ExactLayer(case=made))
    with pytest.raises(SuiteError, match="unknown quantities"):
        judged(made, [start, replace(first, quantities={**first.quantities, "loss": np.zeros(1)})])


def test_a_step_that_writes_to_its_caller_s_array_deviates() -> None:
    made = case(TRAIN)
    start, first = outcomes(ExactLayer(case=made))
    assert judged(made, [start, replace(first, overwritten=("input",))]).verdict is Verdict.DEVIATES

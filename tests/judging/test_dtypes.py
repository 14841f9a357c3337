"""What a dtype can hold and resolve: arithmetic in half, bounds that say nothing, sums beyond its range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.verdict import Verdict
from tests.cells import NORMAL, TRAIN, case, declared
from tests.exact_layer import ExactLayer, altered, outcomes
from tests.judging.right_and_wrong import found, judged
from tests.told import reason


def test_a_bound_that_says_nothing_is_not_decidable() -> None:
    step = {**TRAIN, "input": {"kind": "ill_conditioned", "seed": 5, "ratio": 1e7, "std": 0.125}}
    made = case(step, shape=[64, 3], epsilon=1e-12)
    judgement = judged(made)
    assert (judgement.verdict, judgement.expected) == (Verdict.NOT_DECIDABLE, True)


def test_beyond_the_range_of_float32_a_wrong_result_is_outside_the_domain() -> None:
    made = case({**TRAIN, "input": {**NORMAL, "std": 1e19, "mean": 0.0}})
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output * np.float32("nan"))
    judgement = judged(made, given)
    assert found(judgement, 1, "output").verdict is Verdict.OUTSIDE_DOMAIN


@pytest.mark.parametrize(
    ("profile", "verdict"),
    [
        ((declared("statistics_dtype", "float16"),), Verdict.DIALECT),
        ((declared("statistics_dtype", "float16", source="observed"),), Verdict.DEVIATES),
        ((), Verdict.DEVIATES),
    ],
)
def test_arithmetic_in_half_deviates_unless_documented(profile: Any, verdict: Verdict) -> None:
    made = case({**TRAIN, "input": {"kind": "normal", "seed": 3, "mean": 0.25}}, dtype="float16")
    judgement = judged(made, outcomes(ExactLayer(case=made, work="float16")), profile=profile)
    assert found(judgement, 1, "grad_input").verdict is verdict
    assert "computed in float16" in reason(found(judgement, 1, "grad_input"))


def test_float64_computed_in_float32_deviates() -> None:
    made = case(TRAIN, dtype="float64")
    judgement = judged(made, outcomes(ExactLayer(case=made, work="float32")))
    assert judgement.verdict is Verdict.DEVIATES
    assert reason(found(judgement, 1, "output")) == "computed in float32: outside the bound of float64 arithmetic"


def test_sums_of_squares_beyond_float16_are_outside_the_domain_of_its_own_arithmetic() -> None:
    made = case({**TRAIN, "input": {"kind": "normal", "seed": 3, "mean": 200.0}}, dtype="float16")
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output * np.float16("inf"))
    assert found(judged(made, given), 1, "output").verdict is Verdict.OUTSIDE_DOMAIN
    assert judged(made).verdict is Verdict.CONFORMS


def test_moving_values_have_the_dtype_that_the_profile_declares() -> None:
    made = case(TRAIN, dtype="float16")
    given = outcomes(ExactLayer(case=made, statistics_dtype="float32"))
    assert judged(made, given, profile=(declared("statistics_dtype", "float32"),)).verdict is Verdict.CONFORMS
    assert reason(found(judged(made, given), 1, "moving_mean")) == "has dtype float32, expected float16"

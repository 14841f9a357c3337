"""What a profile documents, and what numbers say of it: dialects, and pages that are contradicted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.verdict import Verdict
from tests.cells import FREEZE, INFER, TRAIN, case, declared
from tests.exact_layer import ExactLayer, altered, outcomes
from tests.judging.right_and_wrong import UNFREEZE, found, judged
from tests.told import diagnosed


def test_a_documented_difference_is_a_dialect_that_names_the_field() -> None:
    made = case(TRAIN, INFER)
    judgement = judged(
        made, outcomes(ExactLayer(case=made, moving_correction=1)), profile=(declared("moving_correction", 1),)
    )
    assert (judgement.verdict, judgement.expected) == (Verdict.DIALECT, True)
    assert found(judgement, 1, "moving_variance").fields == ("moving_correction",)
    assert found(judgement, 1, "output").verdict is Verdict.CONFORMS


def test_a_cumulative_average_counts_the_train_steps_that_had_values() -> None:
    made = case(TRAIN, {**TRAIN, "shape": [0, 3]}, INFER, {**TRAIN, "input": INFER["input"]}, TRAIN)
    profile = (declared("update", "cumulative"),)
    judgement = judged(made, outcomes(ExactLayer(case=made, cumulative=True)), profile=profile)
    assert [step.verdict for step in judgement.steps if step.kind == "train"] == [
        Verdict.DIALECT,
        Verdict.EXACT,
        Verdict.DIALECT,
        Verdict.DIALECT,
    ]


def test_only_the_fields_that_a_quantity_needs_are_named() -> None:
    made = case(TRAIN)
    profile = (declared("moving_correction", 1), declared("normalizing_correction", 1))
    given = outcomes(ExactLayer(case=made, moving_correction=1, normalizing_correction=1))
    judgement = judged(made, given, profile=profile)
    assert judgement.verdict is Verdict.DIALECT
    assert found(judgement, 1, "output").fields == ("normalizing_correction",)
    assert found(judgement, 1, "moving_variance").fields == ("moving_correction",)


def test_a_field_that_only_observation_states_spoils_the_quantities_that_need_it_alone() -> None:
    made = case(TRAIN)
    profile = (declared("moving_correction", 1), declared("normalizing_correction", 1, source="observed"))
    given = outcomes(ExactLayer(case=made, moving_correction=1, normalizing_correction=1))
    judgement = judged(made, given, profile=profile)
    assert found(judgement, 1, "moving_variance").verdict is Verdict.DIALECT
    assert found(judgement, 1, "output").verdict is Verdict.DEVIATES


def test_a_declaration_for_other_ranks_says_nothing() -> None:
    made = case(TRAIN)
    profile = (replace(declared("moving_correction", 1), ranks=(3, 4)),)
    given = outcomes(ExactLayer(case=made, moving_correction=1))
    assert judged(made, given, profile=profile).verdict is Verdict.DEVIATES
    profile = (replace(declared("moving_correction", 1), ranks=(2,)),)
    assert judged(made, given, profile=profile).verdict is Verdict.DIALECT


@pytest.mark.parametrize("source", ["observed", "source code"])
def test_a_difference_that_no_documentation_states_deviates(source: str) -> None:
    made = case(TRAIN)
    profile = (declared("moving_correction", 1, source=source),)
    judgement = judged(made, outcomes(ExactLayer(case=made, moving_correction=1)), profile=profile)
    assert (judgement.verdict, judgement.expected) == (Verdict.DEVIATES, False)
    assert "moving_correction, which no documentation states" in diagnosed(judgement)
    (moving,) = (each for each in judgement.steps[1].quantities if each.quantity == "moving_variance")
    assert moving.score is not None
    assert moving.score > 1


def test_a_documented_dialect_does_not_excuse_another_difference() -> None:
    made = case(TRAIN)
    wrong = ExactLayer(case=made, moving_correction=1, epsilon=0.0)
    assert judged(made, outcomes(wrong), profile=(declared("moving_correction", 1),)).verdict is Verdict.DEVIATES


def test_numbers_that_refute_the_documentation_deviate_though_they_are_the_canonical_ones() -> None:
    judgement = judged(case(TRAIN), profile=(declared("moving_correction", 1), declared("state", "layer")))
    assert judgement.verdict is Verdict.DEVIATES
    deviating = {each.quantity for each in judgement.steps[1].quantities if each.verdict is Verdict.DEVIATES}
    assert deviating == {"moving_variance"}
    text = "contradicts its documentation: moving_correction is 0, where a page says 1"
    assert diagnosed(judgement) == text
    moving = found(judgement, 1, "moving_variance")
    assert moving.score is not None
    assert moving.score > 1


@pytest.mark.parametrize("source", ["observed", "source code"])
def test_numbers_that_refute_what_no_documentation_states_conform(source: str) -> None:
    assert judged(case(TRAIN), profile=(declared("moving_correction", 1, source=source),)).verdict is Verdict.CONFORMS


def test_numbers_of_a_third_convention_contradict_the_documentation_too() -> None:
    """The moving values are the plain average of all batches, where the page says a correction for a beginning at 0."""
    made = case(TRAIN, {**TRAIN, "input": INFER["input"]}, {**TRAIN, "input": {"kind": "normal", "seed": 9}})
    profile = (declared("update", "zero_debiased"),)
    judgement = judged(made, outcomes(ExactLayer(case=made, cumulative=True)), profile=profile)
    assert diagnosed(judgement) == (
        "cumulative average; contradicts its documentation: update is cumulative, where a page says zero_debiased"
    )


def test_a_nan_that_an_earlier_step_left_refutes_no_documentation() -> None:
    """Of an average that the first batch fills in, the NaN before it should have no weight, and has one."""
    made = case(
        TRAIN, initial={"moving_mean": {"kind": "literal", "values": [float("nan"), float("nan"), float("nan")]}}
    )
    right = outcomes(ExactLayer(case=made))
    given = altered(right, 1, "moving_mean", lambda value: np.full_like(value, np.nan), kept=True)
    judgement = judged(made, given, profile=(declared("update", "cumulative"),))
    assert not found(judgement, 1, "moving_mean").causes
    assert [cause.id for cause in found(judgement, 1, "moving_variance").causes] == ["contradicts-documentation"]


def test_numbers_that_fit_both_the_page_and_the_canonical_semantics_conform() -> None:
    """Of the first batch alone, a plain average and one corrected for a beginning at 0 have the same weights."""
    profile = (declared("update", "cumulative"),)
    made = case({**TRAIN, "shape": [0, 3]}, INFER)
    assert judged(made, profile=profile).verdict.agrees


@pytest.mark.parametrize(
    ("profile", "verdict"),
    [
        ((declared("frozen_implies_inference", value=True),), Verdict.DIALECT),
        ((declared("frozen_implies_inference", True, source="observed"),), Verdict.DEVIATES),
        ((), Verdict.DEVIATES),
    ],
)
def test_a_frozen_layer_that_infers_is_a_dialect_where_documented(profile: Any, verdict: Verdict) -> None:
    made = case(FREEZE, TRAIN, UNFREEZE, TRAIN)
    judgement = judged(made, outcomes(ExactLayer(case=made, frozen_infers=True)), profile=profile)
    assert [judgement.steps[2].verdict, judgement.steps[4].verdict] == [verdict, Verdict.CONFORMS]


def test_half_precision_that_fits_the_canonical_value_by_accident_refutes_no_documentation() -> None:
    """Of 100 values the correction is 1 %, which arithmetic in bfloat16 may add or take away."""
    profile = (declared("moving_correction", 1),)
    half, single = (case(TRAIN, shape=[100, 3], dtype=dtype) for dtype in ("bfloat16", "float32"))
    assert "contradicts" not in diagnosed(judged(half, profile=profile))
    assert "contradicts its documentation" in diagnosed(judged(single, profile=profile))

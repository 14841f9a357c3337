"""A case says what an implementation is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.cells import FREEZE, INFER, TRAIN, case


def test_feature_axes_are_counted_from_zero_and_ascend() -> None:
    assert case(shape=[2, 3, 4, 5], feature_axes=[-1, 1]).configuration.feature_axes == (1, 3)


def test_parameters_have_the_input_s_dtype_unless_told_otherwise() -> None:
    assert case(dtype="bfloat16").configuration.parameter_dtype == "bfloat16"


def test_parameters_may_have_a_dtype_of_their_own() -> None:
    assert case(dtype="bfloat16", parameter_dtype="float32").configuration.parameter_dtype == "float32"


def test_a_configuration_knows_its_features_and_what_collapses() -> None:
    configuration = case(shape=[2, 3, 4, 5], feature_axes=[3, 1]).configuration
    assert (configuration.features, configuration.feature_count, configuration.reduction_axes) == ((3, 5), 15, (0, 2))


def test_the_family_is_the_first_part_of_the_id() -> None:
    assert case(id="edges.empty/float32").family == "edges"


def test_repeated_steps_are_written_out_in_order() -> None:
    made = case(INFER, {"step": "repeat", "times": 3, "steps": [TRAIN, FREEZE]}, INFER)
    kinds = [step.step for step in made.performed]
    assert kinds == ["infer", "train", "freeze", "train", "freeze", "train", "freeze", "infer"]


def test_a_step_has_the_case_s_shape_unless_it_names_its_own() -> None:
    made = case({**TRAIN, "shape": [0, 3]}, TRAIN, FREEZE)
    assert [made.step_shape(step) for step in made.performed] == [(0, 3), (8, 3), (8, 3)]


@pytest.mark.parametrize(
    "fields",
    [
        {"decay": 1.5},
        {"decay": "0.9"},
        {"epsilon": -1e-3},
        {"epsilon": float("nan")},
        {"epsilon": float("inf")},
        {"dtype": "float8"},
        {"shape": [8, -3]},
        {"shape": []},
        {"scale": 1},
        {"id": "Fake.case"},
        {"id": "fake"},
        {"id": "fake.case::one"},
        {"id": "fake.case[1]"},
        {"steps": []},
        {"steps": [{"step": "repeat", "times": 0, "steps": [TRAIN]}]},
        {"steps": [{"step": "repeat", "times": 2, "steps": [{"step": "repeat", "times": 2, "steps": [TRAIN]}]}]},
        {"steps": [{"step": "sgd", "learning_rate": 0.1, "momentum": 0.9}]},
        {"steps": [{"step": "train", "upstream": {"kind": "constant", "value": 1.0}}]},
        {"steps": [{"step": "sgd", "learning_rate": float("inf")}]},
        {"expected": [{"step": 0, "quantity": "output", "values": "1"}]},
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        case(**fields)

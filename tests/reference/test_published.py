"""Printed numbers are held against the reference: the last digit counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.errors import Place, SpecErrors
from conformance.reference.published import check, contradictions, vague
from tests import shipped
from tests.cells import FREEZE, SGD, TRAIN, case, located

# Scenario S1b: the written-out formula in NumPy, from parameters rounded to float32.
LAYER: dict[str, Any] = {
    "shape": [1, 2, 1],
    "initial": {
        name: {"kind": "literal", "values": [value], "dtype": "float32"}
        for name, value in {
            "gamma": 0.22297101,
            "beta": 0.49253803,
            "moving_mean": 0.36868709,
            "moving_variance": 0.41429576,
        }.items()
    },
}
ONE_AND_FIVE = {"step": "infer", "input": {"kind": "literal", "values": [[[1.0], [5.0]]]}}


def complaints(
    *steps: dict[str, Any], step: int = 1, quantity: str = "output", values: Any, **fields: Any
) -> list[str]:
    said = {"dtype": fields.pop("printed_dtype", None), "dialect": fields.pop("dialect", None)}
    expected = {"step": step, "quantity": quantity, "values": values, "exact": fields.pop("exact", False)}
    expected |= {name: value for name, value in said.items() if value is not None}
    made = case(*steps, expected=[expected], **fields)
    return [str(error) for error in contradictions(made, Place(file="fam.yaml", line=3))]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", [[["0.71096909"], ["2.09494853"]]]),
        ("float64", [[["0.71096905498374263"], ["2.0949484904433255"]]]),
    ],
)
def test_the_published_digits_of_the_trained_layer_agree_with_the_reference(dtype: str, values: Any) -> None:
    assert complaints(ONE_AND_FIVE, values=values, printed_dtype=dtype, dtype="float64", **LAYER) == []


# The last digit moved by one: its half unit no longer reaches the reference.
def test_a_last_digit_that_is_wrong_is_told_with_its_index() -> None:
    values = [[["0.71096905498374263"], ["2.0949484904433355"]]]
    (found,) = complaints(ONE_AND_FIVE, values=values, printed_dtype="float64", dtype="float64", **LAYER)
    assert found.startswith("fam.yaml:3:1: fake.case: published output at (0, 1, 0) is 2.09494849044333")


def test_float32_digits_are_not_held_to_the_bound_of_float64() -> None:
    values = [[["0.71096909"], ["2.09494853"]]]
    assert complaints(ONE_AND_FIVE, values=values, printed_dtype="float64", dtype="float64", **LAYER) != []


@pytest.mark.parametrize(
    ("text", "agrees"), [("3", True), ("3.0", True), ("3.4", False), ("2.96", False), ("4", False)]
)
def test_half_a_unit_of_the_last_digit_is_allowed(text: str, agrees: bool) -> None:
    step = {**TRAIN, "input": {"kind": "literal", "values": [[1.0], [5.0]]}}
    found = complaints(step, quantity="batch_mean", values=[text], shape=[2, 1])
    assert (found == []) is agrees


@pytest.mark.parametrize(("text", "agrees"), [("3", True), ("4", False)])
def test_a_few_digits_cover_the_values_that_round_to_them(text: str, agrees: bool) -> None:
    step = {**TRAIN, "input": {"kind": "literal", "values": [[1.0], [5.5]]}}
    assert (complaints(step, quantity="batch_mean", values=[text], shape=[2, 1]) == []) is agrees


def test_a_later_step_is_that_of_the_chain() -> None:
    # M = 0.5·0 + 0.5·3 after the first step, then 0.5·1.5 + 0.5·3.
    step = {**TRAIN, "input": {"kind": "literal", "values": [[1.0], [5.0]]}}
    fields: dict[str, Any] = {"shape": [2, 1], "decay": 0.5, "quantity": "moving_mean"}
    assert complaints(step, step, step=2, values=["2.25"], **fields) == []
    assert complaints(step, step, step=2, values=["1.50"], **fields) != []


def test_a_gradient_step_is_that_of_the_chain() -> None:
    """With x = (1, 5) and upstream (1, 1), dβ is 2 and half of it is taken off."""
    step = {
        "step": "train",
        "input": {"kind": "literal", "values": [[1.0], [5.0]]},
        "upstream": {"kind": "constant", "value": 1.0},
    }
    assert complaints(step, SGD, step=2, quantity="beta", values=["-1.00"], shape=[2, 1]) == []
    assert complaints(step, SGD, step=2, quantity="beta", values=["0.00"], shape=[2, 1]) != []


def test_a_step_is_told_how_many_train_steps_with_values_came_before_it() -> None:
    """Renormalization whose limits are those of the first, second and third train step: r is 1, then 2, then 1.

    Of x = (1, 5), μ is 3 and s is 2; held to the averages 0 and 1, x̂·r + d is ∓1 in the first step and 1 and 5 in the
    second, which the empty batch between them is not.
    """
    step = {**TRAIN, "input": {"kind": "literal", "values": [[1.0], [5.0]]}}
    fields: dict[str, Any] = {
        "op": "batch_renorm",
        "shape": [2, 1],
        "epsilon": 0.0,
        "options": {"renorm_decay": 1.0, "rmax": [1.0, 2.0, 1.0], "dmax": [0.0, 3.0, 0.0]},
    }
    empty = {**TRAIN, "shape": [0, 1]}
    assert complaints(step, empty, step, values=[["-1.00"], ["1.00"]], **fields) == []
    assert complaints(step, empty, step, step=3, values=[["1.00"], ["5.00"]], **fields) == []


def test_a_frozen_centering_is_held_to_inference() -> None:
    step = {**TRAIN, "input": {"kind": "literal", "values": [[1.0], [5.0]]}}
    fields: dict[str, Any] = {
        "op": "centering",
        "shape": [2, 1],
        "initial": {"moving_mean": {"kind": "constant", "value": 1.0}},
    }
    assert complaints(FREEZE, step, step=2, values=[["0.0"], ["4.0"]], **fields) == []
    assert complaints(step, values=[["0.0"], ["4.0"]], **fields) != []


@pytest.mark.parametrize(
    ("quantity", "values", "message"),
    [
        ("output", ["1", "2", "3"], "published output has shape (3,), the reference (8, 3)"),
        ("batch_mean", ["1", "2"], "published batch_mean has shape (2,), the reference (3,)"),
        ("batch_mean", [["1"], ["2"], ["3"]], "published batch_mean has shape (3, 1), the reference (3,)"),
    ],
)
def test_numbers_of_another_shape_are_told(quantity: str, values: Any, message: str) -> None:
    assert complaints(TRAIN, quantity=quantity, values=values) == [f"fam.yaml:3:1: fake.case: {message}"]


def test_a_quantity_that_the_step_does_not_give_is_told() -> None:
    step = {"step": "infer", "input": {"kind": "constant", "value": 1.0}}
    assert complaints(step, quantity="batch_mean", values=["1", "1", "1"]) == [
        "fam.yaml:3:1: fake.case: step 1 gives no batch_mean"
    ]


def test_check_raises_every_contradiction_of_a_spec() -> None:
    wrong = case(TRAIN, expected=[{"step": 1, "quantity": "batch_mean", "values": ["9", "9", "9"]}])
    spec = shipped.spec()
    with pytest.raises(SpecErrors) as caught:
        check(replace(spec, cases=(located(wrong), located(wrong))))
    assert len(caught.value.errors) == 6


def test_every_shipped_number_agrees_with_the_reference() -> None:
    spec = shipped.spec()
    assert any(each.case.expected for each in spec.cases)
    assert check(spec) == []


# 1/3 is no number of float16 or bfloat16; these are the nearest ones, written out.
THIRD = {"step": "infer", "input": {"kind": "literal", "values": [[1.0]]}}
BY_THREE: dict[str, Any] = {
    "shape": [1, 1],
    "epsilon": 0.0,
    "initial": {"moving_variance": {"kind": "constant", "value": 9.0}},
}


@pytest.mark.parametrize(
    ("dtype", "value", "agrees"),
    [
        ("bfloat16", "0.333984375", True),
        ("bfloat16", "0.337890625", False),
        ("float16", "0.333251953125", True),
        ("float16", "0.333984375", False),
    ],
)
@pytest.mark.parametrize("exact", [True, False])
def test_a_number_kept_in_half_a_word_may_be_rounded_to_it(dtype: str, value: str, agrees: bool, exact: bool) -> None:
    found = complaints(THIRD, values=[[value]], dtype=dtype, exact=exact, **BY_THREE)
    assert (found == []) is agrees


def test_a_float32_number_is_not_allowed_the_rounding_of_a_half() -> None:
    assert complaints(THIRD, values=[["0.333984375"]], dtype="float32", **BY_THREE) != []


def test_what_is_kept_in_the_parameters_dtype_is_rounded_to_that() -> None:
    """The moving mean is (1 + 0)/3 of batches 1 and decay 2/3, kept in float32 beside bfloat16 data."""
    step = {**TRAIN, "input": {"kind": "constant", "value": 1.0}}
    fields: dict[str, Any] = {"shape": [2, 1], "decay": 2 / 3, "dtype": "bfloat16", "quantity": "moving_mean"}
    assert complaints(step, values=["0.333984375"], **fields) == []
    assert complaints(step, values=["0.333984375"], parameter_dtype="float32", **fields) != []


@pytest.mark.parametrize(("text", "agrees"), [("3", True), ("3.0000001", True), ("3.4", False), ("2.6", False)])
def test_an_exact_number_has_no_half_unit(text: str, agrees: bool) -> None:
    step = {**TRAIN, "input": {"kind": "literal", "values": [[1.0], [5.0]]}}
    found = complaints(step, quantity="batch_mean", values=[text], shape=[2, 1], exact=True)
    assert (found == []) is agrees


def test_an_exact_number_of_few_digits_must_be_it() -> None:
    step = {**TRAIN, "input": {"kind": "literal", "values": [[1.0], [5.5]]}}
    assert complaints(step, quantity="batch_mean", values=["3"], shape=[2, 1], exact=True) != []


def test_numbers_may_be_of_a_dialect() -> None:
    """Of (1, 5) the variance is 4, and 8 with the correction; half of each is the moving one's next value, from 0."""
    step = {**TRAIN, "input": {"kind": "literal", "values": [[1.0], [5.0]]}}
    fields: dict[str, Any] = {
        "shape": [2, 1],
        "decay": 0.5,
        "quantity": "moving_variance",
        "initial": {"moving_variance": {"kind": "constant", "value": 0.0}},
    }
    assert complaints(step, values=["4.000"], dialect={"moving_correction": 1}, **fields) == []
    assert complaints(step, values=["2.000"], dialect={"moving_correction": 1}, **fields) != []
    assert complaints(step, values=["2.000"], **fields) == []


def test_a_dialect_holds_of_every_step_before_it() -> None:
    """0.5·(0.5·0 + 0.5·8) + 0.5·8, then the inference of 1 by it: 1/√6."""
    step = {**TRAIN, "input": {"kind": "literal", "values": [[1.0], [5.0]]}}
    fields: dict[str, Any] = {
        "shape": [2, 1],
        "decay": 0.5,
        "epsilon": 0.0,
        "initial": {"moving_variance": {"kind": "constant", "value": 0.0}},
        "step": 2,
        "dialect": {"moving_correction": 1},
    }
    assert complaints(step, step, quantity="moving_variance", values=["6.000"], **fields) == []
    infer = {"step": "infer", "input": {"kind": "literal", "values": [[3.25]]}, "shape": [1, 1]}
    fields["step"] = 3
    assert complaints(step, step, infer, values=[["0.408248"]], **fields) == []
    assert complaints(step, step, infer, values=[["0.577350"]], **fields) != []


def test_a_gradient_and_a_second_derivative_may_be_published() -> None:
    step = {
        "step": "infer",
        "input": {"kind": "constant", "value": 1.0},
        "upstream": {"kind": "constant", "value": 2.0},
    }
    fields: dict[str, Any] = {"shape": [1, 1], "epsilon": 0.0}
    assert complaints(step, quantity="grad_input", values=[["2.00"]], **fields) == []
    further = {**step, "tangent": {"kind": "constant", "value": 3.0}}
    fields["op"] = "differentiated_batch_norm"
    assert complaints(further, quantity="tangent_output", values=[["3.00"]], **fields) == []
    assert complaints(further, quantity="tangent_output", values=[["4.00"]], **fields) != []


@pytest.mark.parametrize(
    ("text", "few"),
    [
        ("3", True), ("12", True), ("12.5", False), ("0.05", True), ("0.0512", False), ("200", False), ("0", True),
        ("0.00", False), ("1e5", True), ("-8.5", True),
    ],
)  # fmt: skip
def test_a_number_of_fewer_than_three_digits_is_warned_of(text: str, few: bool) -> None:
    made = case(TRAIN, expected=[{"step": 1, "quantity": "batch_mean", "values": ["1.00", text, "1.00"]}])
    told = [str(warning) for warning in vague(made, Place(file="fam.yaml", line=3))]
    assert [f"{text!r}, of fewer than 3 digits" in line for line in told] == [True] * few


def test_an_exact_number_is_not_warned_of() -> None:
    made = case(TRAIN, expected=[{"step": 1, "quantity": "batch_mean", "values": ["1", "1", "1"], "exact": True}])
    assert list(vague(made, Place(file="fam.yaml"))) == []

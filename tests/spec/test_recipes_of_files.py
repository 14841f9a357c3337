"""A recipe in a case file that cannot be made is refused at its place, and is not made for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.case_texts import HEAD, STEPS, complaints, loaded, step


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("{kind: literal, values: [[1.0]]}", "literal values have shape (1, 1), expected (2, 3)"),
        ("{kind: dyadic, seed: 1}", "dyadic needs a multiple of 16 values per feature, here 2"),
        ("{kind: ramp, axis: 2}", "ramp counts along axis 2, but the rank is 2"),
        ("{kind: mean_squared_error, target: {kind: ramp}}", "stands under upstream"),
        ("{kind: integers, seed: 1, low: 2, high: 1}", "high lies below low"),
    ],
)
def test_a_recipe_that_cannot_be_made_is_refused_at_its_place(tmp_path: Path, recipe: str, message: str) -> None:
    (found,) = complaints(tmp_path, fam=step(f"{{step: infer, input: {recipe}}}"))
    assert found.startswith("fam.yaml:9:21: steps.0.input: ")
    assert message in found


def test_an_upstream_recipe_that_cannot_be_made_is_refused_at_its_place(tmp_path: Path) -> None:
    upstream = "{kind: mean_squared_error, target: {kind: ramp, axis: 2}}"
    (found,) = complaints(tmp_path, fam=step(f"{{step: train, input: {{kind: ramp}}, upstream: {upstream}}}"))
    assert found == "fam.yaml:9:42: steps.0.upstream: ramp counts along axis 2, but the rank is 2"


@pytest.mark.parametrize("values", ["[[], []]", "[[[]]]", "[[], [], [], []]"])
def test_a_literal_of_no_values_has_the_right_shape_too(tmp_path: Path, values: str) -> None:
    text = step(f"{{step: infer, input: {{kind: literal, values: {values}}}}}").replace("[2, 3]", "[3, 0]")
    (found,) = complaints(tmp_path, fam=text)
    assert found.endswith("expected (3, 0)")


def test_a_literal_of_no_values_may_be_an_empty_list(tmp_path: Path) -> None:
    assert loaded(tmp_path, fam=step("{step: infer, shape: [0, 3], input: {kind: literal, values: []}}")).cases


def test_a_recipe_is_held_against_its_shape_without_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.spec.recipe._values", None)
    recipe = "{kind: dyadic, seed: 1}"
    assert loaded(tmp_path, fam=step(f"{{step: infer, shape: [4800000, 3], input: {recipe}}}")).cases
    (complaint,) = complaints(tmp_path, fam=step(f"{{step: infer, shape: [4800001, 3], input: {recipe}}}"))
    assert complaint.endswith("dyadic needs a multiple of 16 values per feature, here 4800001")


@pytest.mark.parametrize("value", ["null", "true", '"1.5"', "1_0.00", "\u0661\u0662", "{a: 1}"])
def test_a_literal_value_that_is_no_number_is_named(tmp_path: Path, value: str) -> None:
    text = step(f"{{step: infer, input: {{kind: literal, values: [[1, 2, {value}], [1, 2, 3]]}}}}")
    (complaint,) = complaints(tmp_path, fam=text)
    assert "literal values must be numbers, nested evenly, got" in complaint


@pytest.mark.parametrize("value", ["9" * 400, "-1e400", "0x" + "f" * 300])
def test_a_number_beyond_float64_is_refused_at_its_place(tmp_path: Path, value: str) -> None:
    (complaint,) = complaints(tmp_path, fam=step(f"{{step: infer, input: {{kind: constant, value: {value}}}}}"))
    assert complaint.startswith("fam.yaml:9:")
    assert complaint.endswith("larger than any number that float64 holds; infinity is .inf")


def test_a_number_that_would_become_zero_is_refused(tmp_path: Path) -> None:
    (complaint,) = complaints(tmp_path, fam=HEAD + "  epsilon: 1e-400\n" + STEPS)
    assert "nearer to 0 than any number that float64 holds" in complaint


@pytest.mark.parametrize("part", ["std: .inf", "mean: .nan", "feature_shift: -.inf"])
def test_what_describes_random_data_is_finite(tmp_path: Path, part: str) -> None:
    (complaint,) = complaints(tmp_path, fam=step(f"{{step: infer, input: {{kind: normal, seed: 1, {part}}}}}"))
    assert "should be a finite number" in complaint

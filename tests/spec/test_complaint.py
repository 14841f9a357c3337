"""What is wrong with a case file is told in words about that file, and names what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.errors import SpecErrors
from tests.spec.case_texts import HEAD, STEPS, complaints, loaded, step


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    assert complaints(tmp_path, fam=HEAD + "  epsilom: 1e-3\n" + STEPS) == [
        "fam.yaml:8:3: epsilom: unknown key; did you mean epsilon?"
    ]


def test_an_unknown_key_of_a_recipe_names_the_nearest_of_that_recipe(tmp_path: Path) -> None:
    text = step("{step: infer, input: {kind: normal, seed: 1, feature_shfit: 1.0}}")
    assert complaints(tmp_path, fam=text) == [
        "fam.yaml:9:52: steps.0.input.feature_shfit: unknown key; did you mean feature_shift?"
    ]


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert complaints(tmp_path, fam=(HEAD + STEPS).replace("  op: batch_norm\n", "")) == [
        "fam.yaml:1:3: op: is missing"
    ]


def test_a_missing_key_of_a_step_is_named_at_the_step(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, fam=step("{step: train, upstream: {kind: normal, seed: 1}}"))
    assert found == "fam.yaml:9:7: steps.0: input: is missing"


def test_an_unknown_step_names_the_known_ones(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, fam=step("{step: evaluate}"))
    assert found.startswith("fam.yaml:9:7: steps.0: expected 'step' to be one of 'train', 'infer'")


def test_every_error_of_every_file_is_told(tmp_path: Path) -> None:
    wrong = HEAD + "  decay: 2\n  epsilon: -1\n" + STEPS
    found = complaints(tmp_path, fam=wrong, other="text\n", third=HEAD.replace("fam.", "third.") + STEPS)
    assert [line.partition(" ")[0] for line in found] == ["fam.yaml:8:3:", "fam.yaml:9:3:", "other.yaml:1:1:"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("momentum: 0.9", "unknown key; here it is decay, the weight of the old moving value"),
        ("axis: 1", "unknown key; here it is feature_axes, a list of the axes that are kept"),
        ("eps: 1e-5", "unknown key; here it is epsilon"),
        ("training: true", "unknown key; here it is steps, each is a train step or an infer step"),
        ("eval: true", "unknown key; here it is steps, inference is a step"),
        ("Momentum: 0.9", "here it is decay"),
    ],
)
def test_a_word_of_another_library_names_ours(tmp_path: Path, word: str, hint: str) -> None:
    (found,) = complaints(tmp_path, fam=f"{HEAD}  {word}\n{STEPS}")
    assert hint in found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{step: eval, input: {kind: ramp}}", "here it is infer"),
        ("{step: infer, input: {kind: randn, seed: 1}}", "here it is normal"),
        ("{step: train, input: {kind: ramp}, grad_output: {kind: ramp}}", "here it is upstream"),
    ],
)
def test_a_word_of_another_library_names_ours_in_a_step(tmp_path: Path, text: str, hint: str) -> None:
    (found,) = complaints(tmp_path, fam=step(text))
    assert hint in found


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("dtype: half", "here it is float16"),
        ("initial: {running_mean: {kind: ramp}}", "here it is moving_mean"),
        ("expected: [{step: 1, quantity: running_var, values: ['1', '1', '1']}]", "here it is moving_variance"),
    ],
)
def test_a_value_of_another_library_names_ours(tmp_path: Path, field: str, hint: str) -> None:
    (found,) = complaints(tmp_path, fam=f"{HEAD}  {field}\n{STEPS}")
    assert hint in found


def test_of_many_errors_the_first_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    entries = [HEAD.replace("fam.one", f"fam.n{number}") + "  frob: 1\n" + STEPS for number in range(50)]
    with pytest.raises(SpecErrors) as caught:
        loaded(tmp_path, fam="".join(entries))
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 30 more like these"

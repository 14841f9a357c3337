"""What a case says of inputs that must be refused, and of whole numbers, is held against its shapes and values."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.spec.case import unfit
from tests.spec.case_texts import HEAD, STEPS, complaints, loaded, step

#: A step of each kind that fits, without which a refusal proves nothing.
FITTING = """    - {step: infer, input: {kind: normal, seed: 8}}
    - {step: train, input: {kind: normal, seed: 9}, upstream: {kind: normal, seed: 9}}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "shape: [4, 3], refused: wrong size",
            "refused: the shape [4, 3] fits [2, 3], so that nothing must be refused",
        ),
        ("refused: wrong size", "refused: the shape [2, 3] fits [2, 3], so that nothing must be refused"),
        ("shape: [2, 4], refused: wrong rank", "refused: expected wrong size, which the shape [2, 4] is of"),
        (
            "shape: [6], refused: wrong size",
            "refused: expected wrong rank, without a feature axis, which the shape [6]",
        ),
        ("shape: [2, 3, 3], refused: wrong size", "shape: of another rank must lack a feature axis"),
        ("shape: [2, 4], refused: odd", "refused: "),
    ],
)
def test_what_must_be_refused_has_a_shape_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    written = step(f"{{step: infer, input: {{kind: normal, seed: 1}}, {text}}}") + FITTING
    (found,) = complaints(tmp_path, fam=written)
    assert f"steps.0.{message}" in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("handed: {gama: [4]}, refused: wrong size", "handed.gama: this configuration of batch_norm has no gama"),
        ("handed: {gamma: [3]}, refused: wrong size", "handed.gamma: the shape [3] fits, so that nothing must be"),
        ("handed: {gamma: [4, 1]}, refused: wrong size", "handed.gamma: must have 1 axes, as gamma has"),
        ("handed: {gamma: [4]}", "refused: is missing: what is handed is of a wrong size"),
        ("handed: {gamma: [4]}, refused: wrong rank", "refused: expected wrong size"),
        ("shape: [2, 4], handed: {gamma: [4]}, refused: wrong size", "shape: must be the input's own"),
        ("handed: {gamma: [4], beta: [4]}, refused: wrong size", "handed: "),
        (
            "upstream: {kind: mean_squared_error, target: {kind: normal, seed: 1}}, handed: {gamma: [1]}, refused: wrong size",
            "upstream: a step that must be refused has no output",
        ),
    ],
)
def test_what_a_call_is_handed_has_a_size_that_does_not_fit_the_input(tmp_path: Path, text: str, message: str) -> None:
    written = step(f"{{step: infer, input: {{kind: normal, seed: 1}}, {text}}}") + FITTING
    (found,) = complaints(tmp_path, fam=written)
    assert f"steps.0.{message}" in found


@pytest.mark.parametrize("text", ["shape: [2, 4]", "shape: [2]", "handed: {gamma: [4]}"])
def test_a_refusal_alone_proves_nothing(tmp_path: Path, text: str) -> None:
    why = "wrong rank" if text == "shape: [2]" else "wrong size"
    train = "    - {step: train, input: {kind: normal, seed: 9}}\n"
    written = step(f"{{step: infer, input: {{kind: normal, seed: 1}}, {text}, refused: {why}}}") + train
    (found,) = complaints(tmp_path, fam=written)
    assert found.endswith("steps.0.refused: proves nothing where no infer step of the case fits")


def test_a_step_that_must_be_refused_is_loaded(tmp_path: Path) -> None:
    text = "{step: train, input: {kind: normal, seed: 1}, shape: [2], refused: wrong rank}"
    (entry,) = loaded(tmp_path, fam=step(text) + FITTING).cases
    assert unfit(entry.case.performed[0]) == "wrong rank"
    assert entry.case.step_axes(entry.case.performed[0]) == ()


def test_a_wrong_rank_may_lack_axes_that_are_reduced_too(tmp_path: Path) -> None:
    """Of a case of rank 4 whose features are second, rank 1 lacks two of the axes over which means are taken."""
    text = "{step: train, input: {kind: normal, seed: 1}, shape: [2], refused: wrong rank}"
    of_rank_4 = (
        step(text).replace("shape: [2, 3]", "shape: [2, 3, 2, 2]").replace("feature_axes: [-1]", "feature_axes: [1]")
    )
    (entry,) = loaded(tmp_path, fam=of_rank_4 + FITTING).cases
    assert len(entry.case.shape) == 4
    assert unfit(entry.case.performed[0]) == "wrong rank"


def test_what_must_be_refused_gives_no_gradient_step_its_gradients(tmp_path: Path) -> None:
    pull = "input: {kind: normal, seed: 1}, upstream: {kind: normal, seed: 2}"
    text = f"{HEAD}  steps:\n    - {{step: train, {pull}, shape: [2, 4], refused: wrong size}}\n"
    (found,) = complaints(tmp_path, fam=f"{text}    - {{step: sgd, learning_rate: 0.5}}\n{FITTING}")
    assert found.endswith("steps.1: needs a train step before it")


def test_what_must_be_refused_has_no_published_numbers(tmp_path: Path) -> None:
    text = step("{step: infer, input: {kind: normal, seed: 1}, shape: [2, 4], refused: wrong size}")
    expected = '  expected: [{step: 1, quantity: output, values: ["1"]}]\n'
    (found,) = complaints(tmp_path, fam=text + FITTING + expected)
    assert found.endswith("expected.0.step: that step must be refused, and gives no numbers")


@pytest.mark.parametrize(
    ("dtype", "text", "message"),
    [
        ("uint8", "input: {kind: integers, seed: 1, low: 300, high: 300}", "300 is no uint8"),
        ("bool", "input: {kind: constant, value: 2.0}", "2 is no bool"),
        ("int32", "input: {kind: constant, value: 0.5}", "0.5 is no int32"),
        ("int32", "input: {kind: constant, value: 1e20}", "1e+20 is no int32"),
    ],
)
def test_whole_numbers_are_held_against_their_dtype(tmp_path: Path, dtype: str, text: str, message: str) -> None:
    file = f"{HEAD}  input_dtype: {dtype}\n  steps: [{{step: infer, {text}}}]\n"
    (found,) = complaints(tmp_path, fam=file)
    assert f"steps.0.input: {message}, which the input is handed over as" in found


def test_whole_numbers_are_not_differentiated(tmp_path: Path) -> None:
    text = "{step: train, input: {kind: constant, value: 2.0}, upstream: {kind: normal, seed: 1}}"
    (found,) = complaints(tmp_path, fam=f"{HEAD}  input_dtype: int32\n  steps: [{text}]\n")
    assert found.endswith("steps.0.upstream: an input of whole numbers is not differentiated")


def test_an_input_over_the_memory_budget_is_refused(tmp_path: Path) -> None:
    text = (HEAD + STEPS).replace("[2, 3]", "[33554432, 3]")
    assert complaints(tmp_path, fam=text) == [
        "fam.yaml:6:3: shape: [33554432, 3] takes 384 MiB, over the budget of 128 MiB",
        "fam.yaml:8:3: steps: take 384 MiB together, over the budget of 256 MiB",
    ]


def test_a_mask_is_refused(tmp_path: Path) -> None:
    text = STEPS.replace("{kind: normal, seed: 2}", "{kind: normal, seed: 2}, mask: {kind: constant, value: 1.0}")
    (found,) = complaints(tmp_path, fam=HEAD + text)
    assert "steps.0.mask: batch_norm takes no mask" in found


def test_an_initial_value_of_a_misspelt_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    head = HEAD.replace(
        "  op: batch_norm\n", "  op: batch_norm\n  initial: {moving_meen: {kind: constant, value: 1.0}}\n"
    )
    (found,) = complaints(tmp_path, fam=head + STEPS)
    assert found.endswith(
        "initial.moving_meen: this configuration of batch_norm has no moving_meen; did you mean moving_mean?"
    )


def test_sgd_without_a_train_step_before_it_is_refused(tmp_path: Path) -> None:
    assert complaints(tmp_path, fam=step("{step: sgd, learning_rate: 0.1}")) == [
        "fam.yaml:9:7: steps.0: needs a train step before it"
    ]


def test_an_inference_before_it_does_not_make_a_gradient_step(tmp_path: Path) -> None:
    steps = "{step: infer, input: {kind: normal, seed: 1}}\n    - {step: sgd, learning_rate: 0.1}"
    assert complaints(tmp_path, fam=step(steps)) == ["fam.yaml:10:7: steps.1: needs a train step before it"]


def test_an_error_within_a_repetition_is_told_once_at_its_place(tmp_path: Path) -> None:
    repeat = "  steps:\n    - step: repeat\n      times: 5\n      steps:\n        - {step: sgd, learning_rate: 0.1}\n"
    assert complaints(tmp_path, fam=HEAD + repeat) == ["fam.yaml:12:11: steps.0.steps.0: needs a train step before it"]


@pytest.mark.parametrize(
    "text", ["{step: sgd, learning_rate: 0.1}", "{step: repeat, times: 2, steps: [{step: sgd, learning_rate: 0.1}]}"]
)
def test_a_step_that_the_operation_lacks_is_refused(tmp_path: Path, text: str) -> None:
    found = complaints(tmp_path, fam=step(text).replace("batch_norm", "centering"))
    assert any("centering has no step sgd" in line for line in found)


def test_state_that_the_configuration_lacks_is_refused(tmp_path: Path) -> None:
    text = HEAD + "  scale: false\n  initial: {gamma: {kind: constant, value: 2.0}}\n" + STEPS
    (found,) = complaints(tmp_path, fam=text)
    assert "initial.gamma: this configuration of batch_norm has no gamma" in found


def test_a_step_s_shape_keeps_the_feature_sizes(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, fam=step("{step: infer, shape: [4, 2], input: {kind: normal, seed: 1}}"))
    assert "steps.0.shape: must have the rank and the feature sizes of (2, 3)" in found


def test_a_train_step_needs_no_upstream(tmp_path: Path) -> None:
    (entry,) = loaded(tmp_path, fam=step("{step: train, input: {kind: normal, seed: 1}}")).cases
    assert getattr(entry.case.performed[0], "upstream", "") is None


def test_a_gradient_step_needs_one_in_the_train_step_before_it(tmp_path: Path) -> None:
    steps = "{step: train, input: {kind: normal, seed: 1}}\n    - {step: sgd, learning_rate: 0.1}"
    assert complaints(tmp_path, fam=STEPS.join([HEAD, ""]) + step(steps).partition("steps:\n")[2]) == [
        "fam.yaml:11:7: steps.2: needs gradients: the train step before it has no upstream"
    ]


@pytest.mark.parametrize("given", ["", ", upstream: {kind: ramp}", ", tangent: {kind: ramp}"])
def test_what_an_operation_needs_is_asked_for(tmp_path: Path, given: str) -> None:
    text = step(f"{{step: infer, input: {{kind: ramp}}{given}}}").replace("batch_norm", "differentiated_batch_norm")
    found = complaints(tmp_path, fam=text)
    missing = [name for name in ("tangent", "upstream") if name not in given]
    assert found == [
        f"fam.yaml:9:7: steps.0: {name}: is missing, which differentiated_batch_norm needs" for name in missing
    ]


@pytest.mark.parametrize("shape", ["[0, 99999999999]", "[99999999999, 0]"])
def test_an_empty_input_of_too_many_features_or_rows_is_refused(tmp_path: Path, shape: str) -> None:
    found = complaints(tmp_path, fam=(HEAD + STEPS).replace("[2, 3]", shape))
    assert "over the budget of 128 MiB" in found[0]


def test_inputs_over_the_budget_together_are_refused(tmp_path: Path) -> None:
    repeat = "  steps:\n    - step: repeat\n      times: 1000\n      steps:\n  " + STEPS.partition("steps:\n")[2]
    (found,) = complaints(tmp_path, fam=(HEAD + repeat).replace("[2, 3]", "[1000, 1000]"))
    assert found == "fam.yaml:8:3: steps: take 3,815 MiB together, over the budget of 256 MiB"

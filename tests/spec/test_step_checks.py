"""What a case says of inputs that must be refused, and of whole numbers, is held against its shapes and values."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.spec.case import unfit
from tests.spec.test_loader import HEAD, complaints, loaded, step

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

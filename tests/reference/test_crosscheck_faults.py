"""Where the first reference is made wrong, the cross-check is red."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from conformance import cli
from conformance.operations import OPERATIONS, batch_norm, centering, layout, moving
from conformance.operations.batch_norm import reference
from conformance.reference import computed as requests
from conformance.reference import crosscheck, inputs
from conformance.spec.case import Case
from tests.cells import INFER, SGD, TRAIN, case

CENTERED = {"op": "centering"}
CONSTANT = {**TRAIN, "input": {"kind": "constant", "value": 2.0}}


def red(made: Case) -> set[str]:
    """The quantities on which the references disagree."""
    return {disagreement.comparison.quantity for disagreement in crosscheck.crosscheck(made)}


def wrong_gradient(right: Callable[..., Any]) -> Callable[..., Any]:
    def gradients(normalization: Any, upstream: Any, x: Any) -> Any:
        found = right(normalization, upstream, x)
        scale = normalization.gamma * normalization.inverse_root
        return replace(found, input=scale * (upstream - found.beta / x.shape[0]))

    return gradients


def test_a_missing_term_of_the_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dx without the variance's share; nothing else is red."""
    monkeypatch.setattr(reference, "gradients", wrong_gradient(reference.gradients))
    assert red(case()) == {"grad_input"}


def test_a_variance_with_correction_1_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with it everything that the variance enters."""
    right = reference.batch_statistics

    def wrong(x: Any) -> reference.Statistics:
        return replace(right(x), variance=reference.corrected(right(x), 1))

    monkeypatch.setattr(reference, "batch_statistics", wrong)
    assert red(case()) == {"batch_variance", "moving_variance", "output", "grad_gamma", "grad_input"}


def test_an_epsilon_off_by_a_trillionth_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding to float64 on the way would be as large."""
    right = inputs.situate

    def situate(configuration: Any, *rest: Any) -> Any:
        return right(replace(configuration, epsilon=configuration.epsilon * (1 + 1e-12)), *rest)

    monkeypatch.setattr(crosscheck, "situate", situate)
    assert red(case(dtype="float64")) == {"output", "grad_gamma", "grad_input"}


def test_a_decay_of_the_new_value_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moving values, and nothing of the step itself."""
    right = moving.moved
    monkeypatch.setattr(reference, "moved", lambda old, batch, weight: right(batch, old, weight))
    assert red(case()) == {"moving_mean", "moving_variance"}


def test_a_wrong_centering_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean of all but one."""
    monkeypatch.setattr(centering, "batch_mean", lambda x: x[1:].mean(axis=0))
    assert red(case(**CENTERED)) == {"batch_mean", "moving_mean", "output", "grad_input"}


def test_features_taken_in_another_order_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns of the first reference, turned round."""
    right = layout.features_last
    monkeypatch.setattr(inputs, "features_last", lambda *given: right(*given)[:, ::-1])
    assert {"batch_mean", "output", "grad_beta"} <= red(case())


def test_a_state_that_moves_in_inference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound of zero admits nothing, however small."""
    right = requests.staying
    monkeypatch.setattr(requests, "staying", lambda value: replace(right(value), value=right(value).value + 1e-18))
    assert red(case(INFER)) == {"gamma", "beta", "moving_mean", "moving_variance"}


def test_a_gradient_step_in_the_wrong_direction_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """P + η·g."""
    right = requests._descended
    monkeypatch.setattr(requests, "_descended", lambda value, slope, rate, worked: right(value, slope, -rate, worked))
    assert red(case(TRAIN, SGD)) == {"gamma", "beta"}


def test_a_quantity_that_the_first_reference_lacks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is not agreement."""
    right = batch_norm.infer
    changed = replace(
        OPERATIONS["batch_norm"],
        infer=lambda *given: {name: expected for name, expected in right(*given).items() if name != "output"},
    )
    monkeypatch.setitem(OPERATIONS, "batch_norm", changed)
    assert red(case(INFER)) == {"output"}


def test_a_quantity_of_another_length_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row too few."""
    right = batch_norm.infer
    changed = replace(
        OPERATIONS["batch_norm"], infer=lambda given, worked: right(replace(given, x=given.x[1:]), worked)
    )
    monkeypatch.setitem(OPERATIONS, "batch_norm", changed)
    assert red(case(INFER)) == {"output"}


def test_a_number_where_there_is_none_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 for 0/0."""
    right = reference.normalize
    monkeypatch.setattr(
        reference,
        "normalize",
        lambda *given: replace(right(*given), output=np.nan_to_num(right(*given).output)),
    )
    assert red(case(CONSTANT, epsilon=0.0)) == {"output"}


def test_no_number_where_there_is_one_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN for a mean."""
    monkeypatch.setattr(centering, "batch_mean", lambda x: x.mean(axis=0) * np.nan)
    assert red(case(**CENTERED)) == {"batch_mean", "moving_mean", "output", "grad_input"}


@pytest.fixture
def case_file(tmp_path: Path) -> Path:
    """A file with one small case."""
    file = tmp_path / "fake.yaml"
    file.write_text(yaml.safe_dump([case().model_dump(mode="json", exclude_unset=True)]))
    return file


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["conformance", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_check_reference_prints_one_line_more(
    case_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the option nothing is compared."""
    assert run(monkeypatch, "check", str(case_file)) == 0
    (before,) = capsys.readouterr().out.splitlines()
    assert run(monkeypatch, "check", "--reference", str(case_file)) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == before
    assert re.match(r"references: 1 cases, 10 quantities, worst \S+ of the float64 bound in longdouble \(fake", second)


def test_check_reference_ends_with_3_where_the_references_disagree(
    case_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault of the suite, in one line."""
    monkeypatch.setattr(reference, "gradients", wrong_gradient(reference.gradients))
    assert run(monkeypatch, "check", "--reference", str(case_file)) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the references disagree by ")
    assert "(fake.case step 1 grad_input, feature" in line
    assert "2 such, 0.001 is allowed" in line

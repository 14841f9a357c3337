"""Of the gradients that are asked for each is demanded, and those that are not are missed by nobody."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from conformance.judging.judge import judge
from conformance.reference.expected import References
from conformance.verdict import Verdict
from tests.cells import TRAIN, case, cell
from tests.exact_layer import ExactLayer, outcomes

GRADIENTS = ("input", "gamma", "beta")


def judged(asked: Collection[str], given: Collection[str], **changed: Any) -> Verdict:
    options = {"differentiated": list(asked)}
    made = case(TRAIN, op="partly_differentiated_batch_norm", options=options)
    start, step = outcomes(ExactLayer(case=made))
    left_out = {f"grad_{name}" for name in GRADIENTS if name not in given}
    quantities = {name: value for name, value in step.quantities.items() if name not in left_out}
    quantities |= {name: quantities[name] * factor for name, factor in changed.items()}
    return judge(cell(made, op=made.op), [start, replace(step, quantities=quantities)], References()).verdict


@pytest.mark.parametrize("asked", [("input",), ("gamma", "beta"), ("beta",), ("input", "gamma")], ids=str)
def test_what_is_asked_for_is_enough(asked: tuple[str, ...]) -> None:
    assert judged(asked, asked) is Verdict.CONFORMS


def test_a_gradient_that_is_asked_for_and_not_given_deviates() -> None:
    assert judged(("input", "beta"), ("beta",)) is Verdict.DEVIATES


def test_a_gradient_that_is_wrong_because_another_was_left_out_deviates() -> None:
    assert judged(("gamma",), ("gamma",), grad_gamma=2) is Verdict.DEVIATES

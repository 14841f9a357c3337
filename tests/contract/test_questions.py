"""Which questions there are: about every operation, in each way that some layer has it, with passes that it has."""

from __future__ import annotations

import pytest

from conformance.contract.questions import questions, scripts
from conformance.operations import OPERATIONS

ASKED = [located.case for located in questions()]


@pytest.mark.parametrize("op", OPERATIONS)
def test_every_operation_is_asked_about(op: str) -> None:
    """One that is missed would have adapters whose contract nobody holds."""
    assert {"steps", "reload", "float16"} <= {case.id.partition("/")[2] for case in ASKED if case.op == op}


def test_a_question_has_passes_of_its_operation_alone() -> None:
    for case in [*ASKED, *(located.case for located in scripts())]:
        assert {step.step for step in case.performed} <= OPERATIONS[case.op].formulas.keys() | {"reload"}, case.id


def test_gamma_beta_and_moving_values_are_put_in_wherever_there_are_some() -> None:
    """A layer that ignores what it is given of them must not pass for one that reads it back."""
    usual = {"gamma", "beta", "moving_mean", "moving_variance"}
    for case in ASKED:
        assert case.initial.keys() == usual & set(OPERATIONS[case.op].state(case.configuration)), case.id

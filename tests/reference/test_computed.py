"""What the reference leaves open, and what it does not: numbers that no rule fixes are neither right nor wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.judging.judgement import Judged
from conformance.outcome import Produced
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from conformance.verdict import Verdict
from tests.cells import case, cell, declared


def judged(made: Case, quantity: str, value: np.ndarray, **offered: Any) -> Judged:
    """Return the judgement of a quantity of a train step that leaves its state."""
    before = dict(inputs_of(made).initial)
    given = [
        Produced(quantities={}, state=before, seconds=0.0),
        Produced(quantities={quantity: value}, state=before, seconds=0.0),
    ]
    judgement = judge(cell(made, **offered), given, References())
    (found,) = (each for each in judgement.steps[1].quantities if each.quantity == quantity)
    return found


EQUAL = {"step": "train", "input": {"kind": "constant", "value": 1.6}}


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_equal_values_without_epsilon_give_what_is_not_fixed(value: float) -> None:
    made = case(EQUAL, epsilon=0.0)
    assert not judged(made, "output", np.full((8, 3), value, np.float32)).verdict.judged


def test_equal_values_with_epsilon_give_beta() -> None:
    made = case(EQUAL, epsilon=0.25)
    assert judged(made, "output", np.full((8, 3), -1.0, np.float32)).verdict is Verdict.DEVIATES


def test_where_moving_values_normalize_an_input_that_is_not_finite_has_no_part_in_its_gradient() -> None:
    """Dx = γ r g, with r = (1 + 0.25)^(-1/2)."""
    values = [[np.nan], [1.0], [2.0]]
    step = {
        "step": "train",
        "input": {"kind": "literal", "values": values},
        "upstream": {"kind": "constant", "value": 2},
    }
    made = case(step, shape=[3, 1], epsilon=0.25)
    profile = (declared("normalizes_with", "moving_before"), declared("update", "none"))
    right = np.full((3, 1), 2 / np.sqrt(1.25), np.float32)
    assert judged(made, "grad_input", right, profile=profile).verdict is Verdict.DIALECT
    assert judged(made, "grad_input", right * 2, profile=profile).verdict is Verdict.DEVIATES

"""What an observer reads its dialect from: passes with the state before them and the train steps that count."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.judging.passes import passes_of
from conformance.outcome import Refused
from tests.cells import FREEZE, INFER, TRAIN, case, cell, declared
from tests.exact_layer import ExactLayer, outcomes

UNFREEZE = {"step": "unfreeze"}
EMPTY = {**TRAIN, "shape": [0, 3]}


def counted(*steps: dict[str, Any], infers: bool = False) -> list[int]:
    """How many train steps each pass is told to have before it."""
    made = case(*steps)
    profile = (declared("frozen_implies_inference", value=infers),)
    given = outcomes(ExactLayer(case=made, frozen_infers=infers))
    return [seen.situation.trained for seen in passes_of(cell(made, profile=profile), given)]


def test_every_train_step_with_values_counts() -> None:
    assert counted(TRAIN, INFER, TRAIN, EMPTY, TRAIN) == [0, 1, 1, 2, 2]


@pytest.mark.parametrize(("infers", "trained"), [(False, [0, 1, 2]), (True, [0, 1, 1])])
def test_a_train_step_of_a_frozen_layer_counts_as_it_does_in_judging(infers: bool, trained: list[int]) -> None:
    assert counted(TRAIN, FREEZE, TRAIN, UNFREEZE, TRAIN, infers=infers) == trained


def test_a_refused_train_step_does_not_count() -> None:
    made = case(TRAIN, TRAIN, TRAIN)
    given: list[Any] = list(outcomes(ExactLayer(case=made)))
    given[2] = Refused(types=("ValueError",), message="no", trace="", state=given[1].state, seconds=0.0)
    assert [seen.situation.trained for seen in passes_of(cell(made), given)] == [0, 1, 1]

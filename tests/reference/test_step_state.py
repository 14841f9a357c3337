"""The one table of what a step does: trains, moves, counts, by whether the layer is frozen and what that means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.dialect import Dialect
from conformance.reference.step_state import EFFECTS, Standing, StepState, effect_of
from tests.cells import ALL_STEPS

TRAINS_ON, INFERS = Dialect(), Dialect(frozen_implies_inference=True)
GRADIENTS: dict[str, Any] = {"gamma": np.ones(2)}


def walked(dialect: Dialect, *kinds: str, size: int = 6) -> StepState:
    """What those steps leave, each of which gives gradients that say its number."""
    steps = StepState()
    for number, kind in enumerate(kinds, start=1):
        steps = steps.after(kind, dialect, size, {"gamma": np.full(1, number)})
    return steps


def test_every_kind_of_step_has_a_row_for_every_standing() -> None:
    assert set(EFFECTS) == {*ALL_STEPS, "refused"}
    assert all(set(row) == set(Standing) for row in EFFECTS.values())


@pytest.mark.parametrize(
    ("kind", "frozen", "dialect", "performs", "moves"),
    [
        ("train", False, INFERS, "train", True),
        ("train", True, TRAINS_ON, "train", True),
        ("train", True, INFERS, "infer", False),
        ("infer", False, TRAINS_ON, "infer", False),
        ("infer", True, INFERS, "infer", False),
        ("reload", False, TRAINS_ON, "", False),
    ],
)
def test_a_pass_is_that_of_its_kind_unless_frozen_means_inference(
    kind: str, frozen: bool, dialect: Dialect, performs: str, moves: bool
) -> None:
    effect = effect_of(kind, frozen, dialect)
    assert (effect.performs, effect.moves_averages) == (performs, moves)


@pytest.mark.parametrize(("dialect", "trained"), [(TRAINS_ON, 3), (INFERS, 2)])
def test_a_train_step_of_a_frozen_layer_counts_if_it_trains_on(dialect: Dialect, trained: int) -> None:
    assert walked(dialect, "train", "freeze", "train", "infer", "unfreeze", "train").trained == trained


@pytest.mark.parametrize("frozen", [False, True])
def test_what_must_be_refused_does_nothing_and_leaves_earlier_gradients(frozen: bool) -> None:
    kinds = ["train", *(["freeze"] if frozen else []), "refused"]
    before, after = walked(TRAINS_ON, *kinds[:-1]), walked(TRAINS_ON, *kinds)
    assert (after.trained, after.frozen, after.gradients) == (before.trained, before.frozen, before.gradients)


def test_a_batch_of_no_values_does_not_count() -> None:
    assert walked(TRAINS_ON, "train", size=0).trained == 0


@pytest.mark.parametrize(("frozen", "moves"), [(False, True), (True, False)])
def test_a_gradient_step_moves_what_is_learned_unless_it_is_frozen(frozen: bool, moves: bool) -> None:
    assert effect_of("sgd", frozen, TRAINS_ON).moves_learned is moves


@pytest.mark.parametrize(
    ("kinds", "left"),
    [
        (("train", "infer", "reload"), 1),
        (("train", "train"), 2),
        (("train", "freeze", "train", "unfreeze"), None),
    ],
)
def test_a_gradient_step_takes_the_gradients_of_the_train_step_before(kinds: tuple[str, ...], left: int | None) -> None:
    """A frozen train step has none of what is learned."""
    gradients = {name: int(value[0]) for name, value in walked(TRAINS_ON, *kinds).gradients.items()}
    assert gradients == ({} if left is None else {"gamma": left})


@pytest.mark.parametrize(
    ("kind", "frozen", "given"), [("train", False, True), ("train", True, False), ("infer", False, True)]
)
def test_gradients_of_what_is_learned_are_asked_for_unless_it_is_frozen(kind: str, frozen: bool, given: bool) -> None:
    assert effect_of(kind, frozen, TRAINS_ON).differentiates_learned is given

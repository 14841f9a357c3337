"""Every value of a field is read from the numbers that it makes, and numbers of another making are unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.dialect import CANONICAL, Dialect
from conformance.operations import OPERATIONS, observers
from conformance.operations.operation import Pass
from conformance.operations.situation import Situation
from conformance.precision import working
from tests.situations import situation

Array = np.ndarray[Any, np.dtype[Any]]
WORKED = working("float32")
TRAIN, INFER = OPERATIONS["batch_norm"].train, OPERATIONS["batch_norm"].infer
ROWS = np.array([[1.0, -2.0], [2.5, 0.5], [4.0, 8.0]])
MOVING = ("moving_mean", "moving_variance")


def started(rows: Any = ROWS, **fields: Any) -> Situation:
    return situation(rows, dtype="float32", parameter_dtype="float32", **fields)


def given(start: Situation, dialect: Dialect = CANONICAL, *, infers: bool = False, **fields: Any) -> Pass:
    """Return the pass that an implementation of that dialect shows, in float32."""
    expected = (INFER if infers else TRAIN)(replace(start, dialect=dialect), WORKED)
    after = {name: expected[name].value if name in expected else start.state[name] for name in MOVING}
    stored = {name: value.astype(np.float32) for name, value in after.items()}
    output = expected["output"].value.astype(np.float32)
    return Pass(**{"situation": start, "output": output, "after": stored, "reported": stored, **fields})


def refused(start: Situation, *types: str) -> Pass:
    stored = {name: start.state[name].astype(np.float32) for name in MOVING}
    return Pass(situation=start, output=None, after=stored, reported=stored, refused=types)


@pytest.mark.parametrize("value", ["zero_variance", "identity"])
def test_what_becomes_of_one_value_is_read_from_the_output(value: Any) -> None:
    seen = given(started(ROWS[:1]), replace(CANONICAL, single_value=value))
    assert observers.single_value([seen], TRAIN, WORKED) == {"single_value": value}


@pytest.mark.parametrize(("rows", "read"), [(ROWS[:1], observers.single_value), (ROWS[:0], observers.empty_batch)])
def test_an_error_is_observed_with_all_its_types(rows: Any, read: Any) -> None:
    seen = [refused(started(rows), "OwnError", "ValueError")]
    (found,) = (read(seen) if read is observers.empty_batch else read(seen, TRAIN, WORKED)).values()
    assert found == "error: OwnError, ValueError"


def test_an_empty_batch_that_moves_nothing_is_kept() -> None:
    assert observers.empty_batch([given(started(ROWS[:0]))]) == {"empty_batch": "keep"}


def test_an_empty_batch_that_makes_the_moving_values_nan_changes_the_state() -> None:
    seen = given(started(ROWS[:0]))
    spoilt = replace(seen, after={**seen.after, "moving_mean": np.full(2, np.nan, np.float32)})
    assert observers.empty_batch([spoilt]) == {"empty_batch": "changes the state"}


def test_an_empty_batch_after_a_nan_says_nothing() -> None:
    """It keeps what an earlier one has spoilt."""
    assert observers.empty_batch([given(started(ROWS[:0], state={"moving_mean": np.nan}))]) == {}


def test_an_empty_batch_says_nothing_of_a_state_that_the_caller_keeps() -> None:
    assert observers.empty_batch([replace(given(started(ROWS[:0])), after={})]) == {}


@pytest.mark.parametrize(("infers", "value"), [(False, "no"), (True, "yes")])
def test_a_frozen_layer_trains_or_infers(infers: bool, value: str) -> None:
    seen = given(started(), infers=infers, frozen=True)
    found = observers.frozen_implies_inference([seen], TRAIN, INFER, WORKED)
    assert found == {"frozen_implies_inference": value}


def test_an_output_of_neither_making_is_unknown() -> None:
    seen = given(started(), frozen=True)
    for output in (None, seen.output + 1 if seen.output is not None else None):
        found = observers.frozen_implies_inference([replace(seen, output=output)], TRAIN, INFER, WORKED)
        assert found == {"frozen_implies_inference": "unknown"}


def test_passes_that_disagree_are_both_told() -> None:
    seen = [given(started(), infers=infers, frozen=True) for infers in (False, True)]
    found = observers.frozen_implies_inference(seen, TRAIN, INFER, WORKED)
    assert found == {"frozen_implies_inference": "no and yes"}


def test_a_layer_that_was_never_frozen_says_nothing_of_it() -> None:
    assert observers.frozen_implies_inference([given(started())], TRAIN, INFER, WORKED) == {}


def test_the_dtype_of_the_moving_values_is_that_in_which_they_came() -> None:
    seen = given(started())
    wide = replace(seen, after={name: value.astype(np.float64) for name, value in seen.after.items()})
    assert observers.statistics_dtype([seen]) == {"statistics_dtype": "float32"}
    assert observers.statistics_dtype([seen, wide]) == {"statistics_dtype": "float32 and float64"}
    assert observers.statistics_dtype([replace(seen, after={})]) == {}


def inferred(follows: bool) -> Pass:
    start = started()
    other = replace(start, state={**start.state, "moving_mean": start.state["moving_mean"] + 3})
    seen = given(start if follows else other, infers=True, kind="infer")
    return replace(seen, situation=start)


def unmoved() -> Pass:
    return given(started(), replace(CANONICAL, update="none"))


def test_a_layer_whose_training_moves_its_values_keeps_them() -> None:
    assert observers.state([given(started()), inferred(follows=True)], INFER, WORKED) == {"state": "layer"}


@pytest.mark.parametrize(("follows", "value"), [(True, "caller"), (False, "none")])
def test_unmoved_values_are_the_caller_s_where_inference_follows_them(follows: bool, value: str) -> None:
    assert observers.state([unmoved(), inferred(follows=follows)], INFER, WORKED) == {"state": value}


def test_a_decay_of_one_moves_nothing_and_says_nothing() -> None:
    seen = given(started(decay=1.0))
    assert observers.state([seen, inferred(follows=True)], INFER, WORKED) == {}


@pytest.mark.parametrize(
    ("update", "value"),
    [
        ("exponential", "exponential"),
        ("first_batch", "exponential"),
        ("zero_debiased", "zero_debiased"),
        ("cumulative", "cumulative"),
        ("merge", "merge"),
        ("none", "none"),
    ],
)
@pytest.mark.parametrize("correction", [0, 1])
def test_the_update_of_later_steps_is_read_from_each_step_s_own_state(update: Any, value: str, correction: int) -> None:
    dialect = replace(CANONICAL, update=update, moving_correction=correction)
    seen = [given(started(ROWS + step, trained=step), dialect) for step in range(6)]
    assert observers.later_update(seen, TRAIN, WORKED) == {"later_update": value}


def test_moving_values_that_no_update_makes_are_unknown() -> None:
    seen = given(started(trained=5))
    off = replace(seen, after={**seen.after, "moving_mean": seen.after["moving_mean"] + 1})
    assert observers.later_update([off], TRAIN, WORKED) == {"later_update": "unknown"}


def test_the_first_three_steps_say_nothing_of_later_ones() -> None:
    assert observers.later_update([given(started(trained=2))], TRAIN, WORKED) == {}


def test_updates_that_the_numbers_do_not_tell_apart_are_not_told() -> None:
    """A batch whose statistics are the moving values already moves them nowhere under any update."""
    state = {"moving_mean": ROWS.mean(0), "moving_variance": ROWS.var(0)}
    assert observers.later_update([given(started(trained=5, state=state))], TRAIN, WORKED) == {}

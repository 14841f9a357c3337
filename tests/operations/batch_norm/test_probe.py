"""Every dialect of the hypothesis set is recovered from the numbers it makes, and a foreign one is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.dialect import CANONICAL, Dialect
from conformance.operations import OPERATIONS
from conformance.operations.batch_norm.probe import Reading, observe, observe_moving, readings
from conformance.operations.operation import Pass
from conformance.operations.situation import Situation
from conformance.precision import working
from conformance.protocol import Configuration

WORKED = working("float32")
DECAY = 0.75
#: One impulse per step and feature; two values each, so that Bessel's factor is 2.
STEPS = (
    [[1, 14, 1, 1, 14, -24, 1, -10], [1, 18, 1, 1, 18, -8, 2, -6]],
    [[1, 1, 14, 1, 14, -24, 28, 4], [1, 1, 18, 1, 18, -8, 36, 12]],
    [[1, 1, 1, 14, 14, -24, 1008, -16], [1, 1, 1, 18, 18, -8, 1040, 0]],
)
TRAIN = OPERATIONS["batch_norm"].train


def situation(rows: Any, mean: Any, variance: Any, dialect: Dialect = CANONICAL, trained: int = 0) -> Situation:
    configuration = Configuration(
        op="batch_norm",
        shape=(2, 8),
        feature_axes=(1,),
        dtype="float32",
        parameter_dtype="float32",
        decay=DECAY,
        epsilon=1e-3,
        scale=False,
        center=False,
    )
    state = {"moving_mean": np.asarray(mean, float), "moving_variance": np.asarray(variance, float)}
    x = np.asarray(rows, float)
    return Situation(configuration=configuration, dialect=dialect, x=x, upstream=None, state=state, trained=trained)


def batches() -> list[Situation]:
    return [situation(rows, np.full(8, 16.0), np.full(8, 64.0)) for rows in STEPS]


def averaged_by_hand(reading: Reading) -> dict[str, np.ndarray[Any, Any]]:
    """Return the moving values after three steps, by the definition of each reading, in plain float64."""
    a = DECAY if reading.decay == "as configured" else 1 - DECAY
    transforms: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "variance": (lambda v: v, lambda v: v),
        "standard deviation": (np.sqrt, np.square),
    }
    to, back = transforms[reading.averaged]
    values = {"moving_mean": np.full(8, 16.0), "moving_variance": to(np.full(8, 64.0))}
    hidden = {name: np.zeros(8) for name in values}
    for k, rows in enumerate(STEPS, 1):
        x = np.asarray(rows, float)
        with np.errstate(divide="ignore"):
            batch = {"moving_mean": x.mean(0), "moving_variance": to(x.var(0, ddof=reading.moving_correction))}
        for name, s in batch.items():
            match reading.update:
                case "exponential":
                    values[name] = a * values[name] + (1 - a) * s
                case "zero_debiased":
                    hidden[name] = a * hidden[name] + (1 - a) * s
                    values[name] = hidden[name] / (1 - a**k)
                case "first_batch":
                    values[name] = s if k == 1 else a * values[name] + (1 - a) * s
                case "cumulative":
                    values[name] = ((k - 1) * values[name] + s) / k
                case "none":
                    pass
    with np.errstate(divide="ignore"):
        return {**values, "moving_variance": back(values["moving_variance"])}


FINITE = [each for each in readings() if each.averaged != "inverse standard deviation"]


@pytest.mark.parametrize("reading", FINITE, ids=str)
def test_every_reading_is_recovered_and_no_other(reading: Reading) -> None:
    """The moving values that a dialect makes, rounded to float32, are explained by it alone."""
    after = {name: value.astype(np.float32) for name, value in averaged_by_hand(reading).items()}
    assert observe_moving(batches(), after, WORKED) == reading


def test_values_that_no_reading_makes_are_unknown() -> None:
    """An average of squares minus nothing is no dialect of the set."""
    after = averaged_by_hand(FINITE[0])
    after["moving_variance"] = after["moving_variance"] + 1.0
    assert observe_moving(batches(), {name: v.astype(np.float32) for name, v in after.items()}, WORKED) is None


def seen(dialect: Dialect) -> list[Pass]:
    """Return three train steps as an implementation of that dialect shows them."""
    mean, variance, found = np.full(8, 16.0), np.full(8, 64.0), []
    for trained, rows in enumerate(STEPS):
        each = situation(rows, mean, variance, dialect, trained)
        given = TRAIN(each, WORKED)
        mean, variance = given["moving_mean"].value, given["moving_variance"].value
        after = {"moving_mean": mean.astype(np.float32), "moving_variance": variance.astype(np.float32)}
        found.append(
            Pass(
                situation=replace(each, dialect=CANONICAL),
                output=given["output"].value.astype(np.float32),
                after=after,
            )
        )
    return found


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "batch, correction 0"),
        ({"normalizing_correction": 1}, "batch, correction 1"),
        ({"normalizes_with": "moving_before"}, "moving values before"),
        ({"normalizes_with": "moving_after"}, "moving values after"),
    ],
)
def test_what_normalizes_in_training_is_read_from_the_outputs(fields: dict[str, Any], name: str) -> None:
    """Whatever the update of the moving values."""
    assert observe(seen(replace(CANONICAL, **fields)), TRAIN, WORKED)["normalizes_with"] == name


def test_a_caller_that_keeps_the_state_shows_only_what_normalizes() -> None:
    """Where no moving values are reported, nothing is said of them."""
    passes = [replace(each, after={}) for each in seen(CANONICAL)]
    assert observe(passes, TRAIN, WORKED) == {"normalizes_with": "batch, correction 0"}


def test_where_no_reading_fits_the_weights_of_each_step_are_told() -> None:
    """The whole old value is kept, and a quarter of each batch added."""
    passes = seen(CANONICAL)
    mean = 16.0 + 0.25 * sum(np.asarray(rows, float).mean(0) for rows in STEPS)
    variance = 64.0 + 0.25 * sum(np.asarray(rows, float).var(0) for rows in STEPS)
    after = {"moving_mean": mean.astype(np.float32), "moving_variance": variance.astype(np.float32)}
    found = observe([*passes[:-1], replace(passes[-1], after=after)], TRAIN, WORKED)
    steps = "0.25·step 1 + 0.25·step 2 + 0.25·step 3, where 0.422·initial + 0.141·step 1 + 0.188·step 2 + 0.25·step 3"
    assert found["update"] == "unknown"
    assert found["weights"] == "; ".join(
        f"{name} is 1·initial + {steps} is right" for name in ("moving_mean", "moving_variance")
    )

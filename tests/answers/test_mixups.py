"""Mix-ups, made up in plain NumPy, each named first from the rounded numbers that it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from conformance.answers.explain_subject import Settings, of_settings
from conformance.answers.explanation import Diagnosed
from conformance.answers.mixups import asked_of, diagnosed
from conformance.answers.typed_numbers import typed

Array = np.ndarray[Any, np.dtype[np.float64]]

X = np.array([[0.5, 3.0, -1.5], [2.0, 4.5, 0.25], [-1.25, 7.0, 1.0], [3.5, 1.5, 2.75], [0.75, -2.0, 4.0]])
MEAN, VARIANCE = np.array([0.2, 1.5, -0.5]), np.array([0.8, 2.5, 1.5])
GAMMA, BETA = np.array([1.5, 0.75, 2.0]), np.array([0.25, -0.5, 1.0])
STATE = {"moving_mean": MEAN, "moving_variance": VARIANCE, "gamma": GAMMA, "beta": BETA}


def normalized(
    x: Array, mean: Array, variance: Array, gamma: Array = GAMMA, beta: Array = BETA, epsilon: float = 1e-3
) -> Array:
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def printed(array: Array) -> str:
    """Return the numbers as a person pastes them, with four digits after the point."""
    return str(np.array2string(array, formatter={"float_kind": lambda one: f"{one:.4f}"}))


def read(quantities: dict[str, Array], **settings: Any) -> Diagnosed:
    """Return what those numbers are taken for; the state is given unless the settings say otherwise."""
    state = {name: typed(name, repr(value)) for name, value in settings.pop("state", STATE).items()}
    fields = {"data": X, "feature_axes": (1,), "epsilon": 1e-3, "decay": 0.9, "mode": "infer", **settings}
    subject = of_settings(Settings(**fields, state=state))
    texts = [f"{name}={printed(value)}" for name, value in quantities.items()]
    return diagnosed(subject, "got", asked_of(subject, {"got": texts})["got"])


def moved(weight: float, correction: int = 0, steps: int = 1) -> dict[str, Array]:
    """Return the moving values after train steps on X, the old value weighing so much."""
    kept = weight**steps
    variance = X.var(axis=0, ddof=correction)
    return {
        "moving_mean": kept * MEAN + (1 - kept) * X.mean(axis=0),
        "moving_variance": kept * VARIANCE + (1 - kept) * variance,
    }


def of_rows() -> dict[str, Array]:
    square = X[:3]
    mean, variance = square.mean(axis=1, keepdims=True), square.var(axis=1, keepdims=True)
    return {"output": (square - mean) / np.sqrt(variance + 1e-3)}


#: Name -> the numbers, the settings that differ, and the ids of what the first reading must take otherwise.
MIXUPS: dict[str, tuple[Callable[[], dict[str, Array]], dict[str, Any], set[str]]] = {
    "evaluation mode forgotten": (lambda: {"output": normalized(X, X.mean(axis=0), X.var(axis=0))}, {}, {"mode"}),
    "training mode forgotten": (lambda: {"output": normalized(X, MEAN, VARIANCE)}, {"mode": "train"}, {"mode"}),
    "momentum swapped": (lambda: moved(0.1), {"mode": "train"}, {"steps", "decay-inverted"}),
    "another library's default epsilon": (
        lambda: {"output": normalized(X, MEAN, VARIANCE, epsilon=1e-3)},
        {"epsilon": 1e-5},
        {"epsilon"},
    ),
    "variance divided by m - 1 while normalizing": (
        lambda: {"output": normalized(X, X.mean(axis=0), X.var(axis=0, ddof=1))},
        {"mode": "train"},
        {"normalizing-correction"},
    ),
    "variance divided by m - 1 while averaging": (
        lambda: moved(0.9, correction=1),
        {"mode": "train"},
        {"steps", "moving-correction"},
    ),
    "the wrong axis": (
        of_rows,
        {"data": X[:3], "mode": "train", "state": {}, "scale": False, "center": False},
        {"axis"},
    ),
    "gamma forgotten": (
        lambda: {"output": normalized(X, MEAN, VARIANCE, gamma=np.ones(3))},
        {},
        {"parameter-ignored"},
    ),
    "epsilon outside the root": (
        lambda: {"output": GAMMA * (X - MEAN) / (np.sqrt(VARIANCE) + 1e-3) + BETA},
        {},
        {"epsilon-outside-root"},
    ),
    "mean not subtracted": (
        lambda: {"output": GAMMA * X / np.sqrt(VARIANCE + 1e-3) + BETA},
        {},
        {"mean-not-subtracted"},
    ),
    "gamma and beta swapped": (
        lambda: {"output": normalized(X, MEAN, VARIANCE, gamma=BETA, beta=GAMMA)},
        {},
        {"gamma-and-beta-swapped"},
    ),
}
BARE: dict[str, Any] = {"state": {}, "scale": False, "center": False, "mode": "train"}
IMAGES = np.random.default_rng(3).normal(1.0, 2.0, (4, 3, 2, 2)).round(2)
PAIR, WIDE = np.array([[1.0, 2.0], [4.0, 8.0]]), np.array([[1000.0, 1.0], [3000.0, 2.0], [5000.0, 4.0]])


def twice() -> Array:
    once = normalized(X, X.mean(axis=0), X.var(axis=0), epsilon=0.01)
    return normalized(once, once.mean(axis=0), once.var(axis=0), epsilon=0.01)


def overflown() -> Array:
    output = (WIDE - WIDE.mean(axis=0)) / np.sqrt(WIDE.var(axis=0) + 1e-3)
    return np.asarray(output.astype(np.float16) * np.array([0, 1], np.float16), dtype=np.float64)


#: Written from what people ask about, before it was known which of them are named.
MIXUPS |= {
    "a standard deviation loaded as the moving variance": (
        lambda: {"output": normalized(X, MEAN, np.sqrt(VARIANCE))},
        {},
        {"deviation-for-variance"},
    ),
    "a variance used as the standard deviation": (
        lambda: {"output": GAMMA * (X - MEAN) / (VARIANCE + 1e-3) + BETA},
        {},
        {"variance-squared", "epsilon-outside-root"},
    ),
    "moving mean and variance swapped": (
        lambda: {"output": normalized(X, VARIANCE, np.abs(MEAN))},
        {"state": {**STATE, "moving_mean": np.abs(MEAN)}},
        {"moving-values-swapped"},
    ),
    "the batch's mean with the moving variance": (
        lambda: {"output": normalized(X, X.mean(axis=0), VARIANCE)},
        {},
        {"batch-mean-mixed-in"},
    ),
    "normalized twice": (lambda: {"output": twice()}, {"epsilon": 0.01, "mode": "train"}, {"normalized-twice"}),
    "a gamma that is counted from one": (
        lambda: {"output": normalized(X, MEAN, VARIANCE, gamma=1 + GAMMA)},
        {},
        {"gamma-from-one"},
    ),
    "each pixel by the batch alone": (
        lambda: {"output": (IMAGES - IMAGES.mean(axis=0)) / np.sqrt(IMAGES.var(axis=0) + 1e-3)},
        {**BARE, "data": IMAGES},
        {"axis"},
    ),
    "each image alone": (
        lambda: {
            "output": (IMAGES - IMAGES.mean(axis=(2, 3), keepdims=True))
            / np.sqrt(IMAGES.var(axis=(2, 3), keepdims=True) + 1e-3)
        },
        {**BARE, "data": IMAGES},
        {"statistics-per-sample"},
    ),
    "m - 1 of a batch of two": (
        lambda: {"output": (PAIR - PAIR.mean(axis=0)) / np.sqrt(PAIR.var(axis=0, ddof=1) + 1e-3)},
        {**BARE, "data": PAIR},
        {"normalizing-correction"},
    ),
    "inference of a layer that never trained": (
        lambda: {"output": X / np.sqrt(1 + 1e-3)},
        BARE,
        {"mode"},
    ),
    "a variance beyond float16": (
        lambda: {"output": overflown()},
        {**BARE, "data": WIDE, "dtype": "float16"},
        {"intermediate-overflow"},
    ),
}


@pytest.mark.parametrize("name", MIXUPS)
def test_a_mixup_is_named_first(name: str) -> None:
    numbers, settings, differences = MIXUPS[name]
    answer = read(numbers(), **settings)
    assert answer.fits
    assert {one.id for one in answer.readings[0].differences} - {"steps"} == differences - {"steps"}


def test_numbers_that_are_right_are_read_as_said() -> None:
    answer = read({"output": normalized(X, MEAN, VARIANCE)})
    assert (answer.fits, answer.readings[0].differences) == (True, ())


@pytest.mark.parametrize("steps", [2, 7, 40])
def test_the_number_of_train_steps_before_is_found(steps: int) -> None:
    """Nothing was said of moving values, decay or mode."""
    kept = 0.99**steps
    mean, variance = (1 - kept) * X.mean(axis=0), kept + (1 - kept) * X.var(axis=0)
    numbers = {"output": normalized(X, mean, variance, gamma=np.ones(3), beta=np.zeros(3))}
    answer = read(numbers, state={}, decay=None, mode=None, scale=False, center=False)
    plural = "s" if steps > 1 else ""
    assert f"after {steps} train step{plural} on these data at decay 0.99" in answer.readings[0].words
    assert answer.readings[0].performs == "infer"


def test_numbers_of_nothing_known_are_said_to_be_that_with_the_line_that_they_are() -> None:
    """Normalized with other moving values than were given: they are told."""
    numbers = {"output": normalized(X, np.array([0.6, 0.1, 0.9]), np.array([2.0, 0.5, 3.0]))}
    answer = read(numbers)
    assert not answer.fits
    assert "feature 0" in answer.note
    implied = [float(one) for one in answer.note.partition("moving_mean ")[2].split(";")[0].split(", moving_variance ")]
    assert implied == pytest.approx([0.6, 2.0], abs=2e-3)


def test_no_reading_fits_numbers_that_are_no_line_of_the_data() -> None:
    answer = read({"output": normalized(X, MEAN, VARIANCE) ** 2})
    assert (answer.fits, answer.note) == (False, "")
    assert len(answer.readings) == 2


def test_whole_numbers_are_taken_at_their_word_first() -> None:
    """-1 and 1 are what no epsilon gives; with one they would be 0.9999."""
    subject = of_settings(Settings(data=np.array([[1.0], [5.0]])))
    asked: Sequence[str] = ["[-1, 1]"]
    answer = diagnosed(subject, "expected", asked_of(subject, {"expected": asked})["expected"])
    assert answer.readings[0].words == "training, by the batch's own statistics, without epsilon"


def test_whole_numbers_that_nothing_gives_are_taken_for_rounded_ones() -> None:
    subject = of_settings(Settings(data=np.array([[1.0], [3.0], [8.0]]), mode="train", epsilon=1e-3))
    answer = diagnosed(subject, "got", asked_of(subject, {"got": ["[-1, 0, 1]"]})["got"])
    assert answer.fits
    assert answer.readings[0].differences == ()

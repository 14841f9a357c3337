"""Each single change of centering is named, by numbers that have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.outcome import Produced
from conformance.precision import rounded
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from tests.cells import INFER, TRAIN, case, cell
from tests.exact_layer import produced
from tests.told import diagnosed

Array = np.ndarray[Any, np.dtype[Any]]
F = np.float32


def steps(center: Callable[[Array, Array], Array], decay: float = 0.75, dtype: Any = F) -> tuple[Any, list[Produced]]:
    """Return a case of a train and an inference step, and the numbers of a layer that subtracts `center(μ, M)`."""
    made = case(
        TRAIN,
        INFER,
        op="centering",
        decay=0.75,
        epsilon=0.0,
        initial={"moving_mean": {"kind": "constant", "value": 3.0}},
    )
    first, second = inputs_of(made).steps
    assert first.input is not None and first.upstream is not None and second.input is not None  # noqa: PT018
    x, g, later = (array.astype(np.float64) for array in (first.input, first.upstream, second.input))
    moving = np.full(3, 3.0)
    mean = x.mean(axis=0)
    after = decay * moving + (1 - decay) * mean
    trained = {"output": (x - center(mean, moving)).astype(dtype), "grad_input": (g - g.mean(axis=0)).astype(dtype)}
    inferred = {"output": (later - after.astype(dtype)).astype(dtype)}
    state = {"moving_mean": after.astype(F)}
    return made, [produced({}, {"moving_mean": moving.astype(F)}), produced(trained, state), produced(inferred, state)]


def diagnosis(center: Callable[[Array, Array], Array], decay: float = 0.75) -> str:
    made, given = steps(center, decay)
    return diagnosed(judge(cell(made, op="centering"), given, References()))


def test_a_right_layer_has_no_diagnosis() -> None:
    assert diagnosis(lambda mean, _: mean) == ""


def test_the_moving_mean_in_training_is_named() -> None:
    assert diagnosis(lambda _, moving: moving).startswith("normalized with the moving values before the step")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_mean_that_was_rounded_is_named(dtype: str) -> None:
    assert diagnosis(lambda mean, _: rounded(mean, dtype).astype(float)) == (
        f"mean rounded to {dtype} before it is subtracted"
    )


def test_a_mean_that_was_not_subtracted_is_named() -> None:
    assert diagnosis(lambda mean, _: 0 * mean) == "mean not subtracted"


def test_another_decay_is_named() -> None:
    assert diagnosis(lambda mean, _: mean, decay=0.25) == "decay inverted"

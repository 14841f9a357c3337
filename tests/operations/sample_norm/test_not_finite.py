"""Of an infinity in a row that is divided by the root of its mean square: clause 29.7."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.operations.sample_norm.groups import Kind, rows
from conformance.operations.sample_norm.reference import computed
from conformance.outcome import Produced
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.verdict import Verdict
from tests.cells import case, cell
from tests.situations import situation

Array = np.ndarray[Any, np.dtype[Any]]

STEP = {
    "step": "train",
    "input": {"kind": "literal", "values": [[1.0, 2.0, float("-inf"), 0.0], [1.0, -2.0, 3.0, 0.5]]},
    "upstream": {"kind": "literal", "values": [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]]},
}


def right() -> dict[str, Array]:
    """Return what the formulas give in IEEE arithmetic: x/∞ is 0, and ∞/∞ is no number."""
    x, upstream = (np.array(STEP[name]["values"]) for name in ("input", "upstream"))  # type: ignore[index]
    root = np.sqrt(np.square(x).mean(axis=1, keepdims=True))
    with np.errstate(invalid="ignore"):
        normalized = x / root
        through = normalized * (upstream * normalized).mean(axis=1, keepdims=True)
        return {
            "output": normalized,
            "grad_input": (upstream - through) / root,
            "grad_gamma": (upstream * normalized).sum(axis=0),
        }


def verdict_of(quantities: dict[str, Array], dtype: str) -> Verdict:
    made = case(STEP, op="rms_norm", shape=[2, 4], feature_axes=[1], center=False, epsilon=0.0, dtype=dtype)
    before = inputs_of(made).initial
    given = [
        Produced(quantities={}, state=dict(before), seconds=0.0),
        Produced(
            quantities={name: value.astype(dtype) for name, value in quantities.items()},
            state=dict(before),
            seconds=0.0,
        ),
    ]
    return judge(cell(made, op="rms_norm"), given, References()).verdict


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rest_of_the_row_is_zero(dtype: str) -> None:
    assert verdict_of(right(), dtype) == Verdict.CONFORMS


def test_squares_that_the_widest_float_does_not_hold_are_no_infinity_among_the_values() -> None:
    """Where no float is wider than float64, 1e200 squared is infinite, and what it divides is unknown and not 0."""
    made = situation([[1e200, 1.0]], op="rms_norm", wide=np.float64, state={"gamma": 1.0}, center=False)
    with np.errstate(over="ignore"):
        assert np.isnan(computed(Kind(members=rows, centred=False), made).normalized).all()


WRONG: dict[str, tuple[str, Any, float]] = {
    "a finite value beside it that is not 0": ("output", (0, 0), 1e-3),
    "a finite value beside it that is no number": ("output", (0, 1), np.nan),
    "the infinity itself made finite": ("output", (0, 2), 0.0),
    "another row": ("output", (1, 0), 0.5),
    "an input gradient of the row made finite": ("grad_input", (0, 0), 0.0),
    "gamma's gradient of another feature": ("grad_gamma", 0, np.nan),
    "gamma's gradient off by a hundredth": ("grad_gamma", 1, float(1.01 * right()["grad_gamma"][1])),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "place", "value"), WRONG.values(), ids=WRONG)
def test_what_is_not_so_deviates(name: str, place: Any, value: float, dtype: str) -> None:
    quantities = right()
    quantities[name][place] = value
    assert verdict_of(quantities, dtype) == Verdict.DEVIATES

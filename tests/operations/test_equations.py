"""The equations that are written out give the very numbers of the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conformance.dialect import CANONICAL, PassName
from conformance.operations import OPERATIONS
from conformance.operations.situation import Situation
from conformance.precision import precision
from conformance.protocol import Configuration

WRITTEN = sorted(name for name, operation in OPERATIONS.items() if operation.equations is not None)
#: What is written -> the quantity that it is, and which of its values.
OF = {"μ": "batch_mean", "σ²": "batch_variance", "M after": "moving_mean", "V after": "moving_variance"}
ROWS = {"y₁": ("output", 0), "y₂": ("output", 1), "y₃": ("output", 2), "dx₁": ("grad_input", 0)}
SUMS = {"dβ": "grad_beta", "dγ": "grad_gamma"}


def situation(op: str, **dialect: object) -> Situation:
    generator = np.random.default_rng(5)
    configuration = Configuration(
        op=op,
        shape=(6, 2),
        feature_axes=(1,),
        dtype="float64",
        parameter_dtype="float64",
        decay=0.75,
        epsilon=0.25,
        scale=True,
        center=True,
    )
    operation = OPERATIONS[op]
    return Situation(
        configuration=configuration,
        dialect=replace(CANONICAL, **dialect),  # type: ignore[arg-type]
        x=generator.normal(size=(6, 2)),
        upstream=generator.normal(size=(6, 2)),
        state={name: generator.uniform(0.5, 2.0, 2) for name in operation.state(configuration)},
        shape=(6, 2),
        arrays={name: generator.normal(size=(6, 2)) for name in operation.needs - {"upstream"}},
    )


@pytest.mark.parametrize("performs", ["train", "infer"])
@pytest.mark.parametrize(
    "dialect",
    [
        {},
        {"moving_correction": 1},
        {"normalizing_correction": 1},
        {"normalizes_with": "moving_before"},
        {"normalizes_with": "moving_after"},
        {"update": "cumulative"},
        {"update": "zero_debiased"},
    ],
    ids=str,
)
@pytest.mark.parametrize("op", WRITTEN)
def test_what_is_written_is_what_is_right(op: str, dialect: dict[str, object], performs: PassName) -> None:
    operation, given = OPERATIONS[op], situation(op, **dialect)
    right = (operation.train if performs == "train" else operation.infer)(given, precision("float64"))
    assert operation.equations is not None
    for feature in range(2):
        for equation in operation.equations(given, performs, feature):
            if equation.symbol in ROWS:
                name, row = ROWS[equation.symbol]
                expected = right[name].value[row, feature]
            elif equation.symbol in OF | SUMS:
                expected = right[(OF | SUMS)[equation.symbol]].value[feature]
            else:
                continue
            assert equation.value == pytest.approx(float(expected), rel=1e-12), equation


@pytest.mark.parametrize("performs", ["train", "infer"])
@pytest.mark.parametrize("op", WRITTEN)
def test_the_numbers_put_in_give_the_value(op: str, performs: PassName) -> None:
    """Read as arithmetic, with six digits of each number."""
    operation, given = OPERATIONS[op], situation(op)
    assert operation.equations is not None
    for equation in operation.equations(given, performs, 1):
        if "…" in equation.numbers:
            continue
        text = equation.numbers.replace("·", "*").replace("²", "**2").replace("√", "np.sqrt")
        assert eval(text, {"np": np}) == pytest.approx(equation.value, rel=1e-4, abs=1e-5), equation


@pytest.mark.parametrize("op", ["batch_norm", "centering"])
def test_the_state_that_a_line_implies_makes_that_line(op: str) -> None:
    operation, given = OPERATIONS[op], situation(op)
    assert operation.implied is not None
    y = operation.infer(given, precision("float64"))["output"].value[:, 0]
    slope = float((y[1] - y[0]) / (given.x[1, 0] - given.x[0, 0]))
    slope = 1.0 if op == "centering" else slope
    for name, value in operation.implied(given, 0, slope, float(y[0] - slope * given.x[0, 0])).items():
        assert value == pytest.approx(float(given.state[name][0]), rel=1e-9)


def test_an_empty_batch_has_no_equations() -> None:
    for op in ("batch_norm", "centering"):
        given = replace(situation(op), x=np.empty((0, 2)), upstream=None)
        equations = OPERATIONS[op].equations
        assert equations is not None
        assert equations(given, "train", 0) == ()

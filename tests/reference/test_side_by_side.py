"""What hypotheses expect side by side is what each expects alone, in every quantity and feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conformance.judging.feature_chunks import Target
from conformance.operations import OPERATIONS
from conformance.operations.hypothesis import Hypothesis
from conformance.precision import dtype_named, working
from conformance.reference import side_by_side
from conformance.reference.computed import Past, Request
from conformance.reference.expected import References, hypotheses
from conformance.reference.inputs import SMALL, inputs_of
from tests.cells import INFER, TRAIN, case

GRADIENTS = {**TRAIN, "upstream": {"kind": "normal", "seed": 4, "mean": 0.25}}
CASES: Mapping[str, Mapping[str, Any]] = {
    "images": {"step": GRADIENTS, "shape": [3, 2, 3, 2], "feature_axes": [1]},
    "one feature": {"step": GRADIENTS, "shape": [40, 1]},
    "float64": {"step": GRADIENTS, "shape": [12, 3], "dtype": "float64"},
    "half precision": {"step": GRADIENTS, "shape": [12, 3], "dtype": "float16"},
    "one value": {"step": GRADIENTS, "shape": [1, 3]},
    "inference": {"step": {**INFER, "upstream": GRADIENTS["upstream"]}, "shape": [7, 3]},
    "corrected": {"step": GRADIENTS, "shape": [9, 3], "dialect": {"moving_correction": 1}},
    "counted": {"step": GRADIENTS, "shape": [9, 3], "dialect": {"update": "cumulative"}},
    "whole numbers": {
        "step": {**GRADIENTS, "input": {"kind": "integers", "seed": 5, "low": -60000, "high": 90000}},
        "shape": [9, 3],
        "input_dtype": "int32",
    },
    "no epsilon": {"step": GRADIENTS, "shape": [9, 3], "epsilon": 0.0},
}
#: Of what may be computed side by side, the least that must be: a hypothesis that stands alone costs as much as all of them.
LEAST = 30


def target(step: dict[str, Any], dialect: Mapping[str, Any] | None = None, **fields: Any) -> Target:
    """Return the second step of its kind, after one that a layer performed."""
    made = case(step, step, **{"decay": 0.75, "epsilon": 0.01} | fields)
    configuration, inputs = made.configuration, inputs_of(made)
    generator, count = np.random.default_rng(3), made.configuration.feature_count
    state = {
        name: generator.uniform(0.5, 2, count).astype(dtype_named(configuration.parameter_dtype))
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }
    gradients = {name: generator.standard_normal(count).astype(np.float32) for name in ("gamma", "beta")}
    request = Request(
        case=made,
        configuration=configuration,
        number=2,
        inputs=inputs.steps[1],
        dialect=replace(OPERATIONS["batch_norm"].dialect, **(dialect or {})),
        worked=working(configuration.dtype),
        frozen=False,
        trained=1,
        earlier=Past(inputs=inputs.steps[0], state=state, gradients=gradients),
    )
    return Target(request=request, before=state, gradients=gradients, references=References(), observed={})


def quantities(step: Target) -> list[str]:
    return step.names(step.request.dialect, step.request.worked)


def about(step: Target, name: str) -> tuple[Hypothesis, ...]:
    tried = hypotheses(step.request.configuration, step.request.dialect)
    return tuple(one for one in tried if not one.only or name in one.only)


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES.keys())
def test_a_hypothesis_expects_the_same_beside_others_as_alone(fields: Mapping[str, Any]) -> None:
    """But for the rounding of sums in another order, which the margin of the screen is many times; or nothing in both."""
    step = target(**fields)
    worked, feature = step.request.worked, step.request.configuration.feature_count - 1
    for name in quantities(step):
        for hypothesis, column in step.columns(about(step, name), name, feature, worked).items():
            alone = step.under(hypothesis, worked, frozenset({name})).get(name)
            where = (name, hypothesis.cause)
            assert (column is None) is (alone is None), where
            if column is None or alone is None:
                continue
            value, bound = column.expected.value[..., column.number], column.expected.bound[..., column.number]
            right, limit = alone.value[..., feature], alone.bound[..., feature]
            np.testing.assert_allclose(bound, limit, rtol=1e-6, err_msg=str(where))
            finite = np.isfinite(limit) & np.isfinite(right)
            assert (np.isfinite(value) >= finite).all(), where
            assert (np.abs(value[finite] - right[finite]) <= 1e-4 * limit[finite]).all(), where


def test_most_hypotheses_about_an_output_stand_side_by_side() -> None:
    step = target(**CASES["images"])
    assert len(step.columns(about(step, "output"), "output", 0, step.request.worked)) >= LEAST


def test_many_decays_stand_side_by_side_in_one_step() -> None:
    """Each with its own: there are more of them than of anything else about moving values."""
    step = target(**CASES["images"])
    found = step.columns(about(step, "moving_mean"), "moving_mean", 0, step.request.worked)
    shared = [column.expected for column in found.values() if column is not None]
    assert max(shared.count(expected) for expected in shared) >= 10


class _Sized:
    """A hypothesis that puts in place how large the input is."""

    def substitute(self, situation: Any) -> int:
        return int(situation.x.size)


def test_a_large_input_is_held_by_nothing_that_is_kept() -> None:
    """Of 256 of them that would be gigabytes."""
    side_by_side._kept_in_place.cache_clear()
    hypothesis: Any = _Sized()
    for size in (SMALL, SMALL + 1):
        situation: Any = SimpleNamespace(x=np.zeros(size))
        substitute: Any = side_by_side._put_in_place(hypothesis, situation)
        assert substitute == size
    assert side_by_side._kept_in_place.cache_info().currsize == 1

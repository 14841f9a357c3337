"""The documented example runs, and the assertion fails with a note on a function with a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from conformance.errors import UsageError
from conformance.testing import Unlike, assert_conforms, batches
from tests.cases_of_functions import example
from tests.cells import INFER, RELOAD, TRAIN, case

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
NO_GRADIENTS = ("grad_input", "grad_gamma", "grad_beta")


def test_the_documented_example_passes() -> None:
    example(PAGE)["test_the_kernel_conforms"]()


def test_a_function_with_a_fault_fails_with_its_name() -> None:
    kernel = example(PAGE, ("weights = one(configuration.decay)", "weights = one(1 - configuration.decay)"))["kernel"]
    with pytest.raises(Unlike, match=r"step 1 \(train\) moving_variance: score .* allowed ±"):
        assert_conforms(kernel, case(TRAIN, INFER), lacks=NO_GRADIENTS)


def test_a_step_that_a_function_has_not_is_told() -> None:
    with pytest.raises(UsageError, match="a function has no step reload"):
        assert_conforms(lambda *_: ({}, {}), case(TRAIN, RELOAD))


UNFIT = case(INFER, {**INFER, "shape": [8, 1], "refused": "wrong size"}, INFER, scale=False, center=False)


def infers(configuration: Any, kind: str, state: Any, x: Any, upstream: Any) -> Any:
    """Inference as an operator on arrays has it, which broadcasts."""
    return {"output": (x - state["moving_mean"]) / np.sqrt(state["moving_variance"] + np.float32(1e-3))}, {}


def test_a_function_that_broadcasts_what_does_not_fit_fails() -> None:
    with pytest.raises(Unlike, match="takes an input of shape"):
        assert_conforms(infers, UNFIT)


def test_a_function_that_refuses_what_does_not_fit_passes() -> None:
    def refuses(configuration: Any, kind: str, state: Any, x: Any, upstream: Any) -> Any:
        if x.shape[1] != 3:
            raise ValueError("three features")
        return infers(configuration, kind, state, x, upstream)

    assert_conforms(refuses, UNFIT)


HANDED = case(
    INFER, {**INFER, "handed": {"moving_mean": [1]}, "refused": "wrong size"}, INFER, scale=False, center=False
)


def test_a_function_that_broadcasts_a_moving_mean_that_does_not_fit_fails() -> None:
    with pytest.raises(Unlike, match=r"takes moving_mean of shape \(1,\) where \(3,\) fits"):
        assert_conforms(infers, HANDED)


def test_a_function_that_refuses_a_moving_mean_that_does_not_fit_passes() -> None:
    def refuses(configuration: Any, kind: str, state: Any, x: Any, upstream: Any) -> Any:
        if state["moving_mean"].shape != (3,):
            raise ValueError("three features")
        return infers(configuration, kind, state, x, upstream)

    assert_conforms(refuses, HANDED)


@settings(max_examples=20, derandomize=True, database=None, deadline=None)
@given(batches((4, 3), "float16"))
def test_a_batch_has_the_shape_and_dtype_that_are_asked_for(batch: Any) -> None:
    assert batch.shape == (4, 3)
    assert batch.dtype == np.float16
    assert np.isfinite(batch).all()

"""The gradient of a loss of returned statistics: right by differences, by both references, and named where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.operations.differentiated_moments import DIFFERENTIATED_MOMENTS
from conformance.reference.crosscheck import crosscheck
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from conformance.verdict import Verdict
from tests.cells import TRAIN, case, cell
from tests.exact_layer import produced
from tests.told import diagnosed

Array = np.ndarray[Any, np.dtype[Any]]


def made(dtype: str = "float64") -> Case:
    return case(TRAIN, op="differentiated_moments", shape=[12, 3], dtype=dtype, scale=False, center=False)


def judged(one: Case, of_mean: float = 1, of_variance: float = 1, correction: int = 0) -> Any:
    """The judgement of a loss in which mean and variance have those parts, in the case's dtype."""
    (step,) = inputs_of(one).steps
    assert step.input is not None
    assert step.upstream is not None
    x, pull, count = step.input, step.upstream.sum(axis=0), step.input.dtype.type(12)
    mean, variance = x.mean(axis=0), x.var(axis=0, ddof=correction)
    gradient = (of_mean * pull + of_variance * 2 * pull * (x - mean)) / count
    quantities = {"batch_mean": mean, "batch_variance": variance, "grad_input": gradient.astype(x.dtype)}
    return judge(cell(one, op="differentiated_moments"), [produced({}, {}), produced(quantities, {})], References())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_right_gradient_conforms(dtype: str) -> None:
    assert judged(made(dtype)).verdict is Verdict.CONFORMS


def test_the_gradient_is_the_derivative() -> None:
    """By central differences of Σg·(μ + σ²)."""
    (step,) = inputs_of(made()).steps
    assert step.input is not None
    assert step.upstream is not None
    pull, size = step.upstream.sum(axis=0), 2.0**-16

    def loss(x: Array) -> float:
        return float((pull * (x.mean(axis=0) + x.var(axis=0))).sum())

    for place in ((0, 0), (5, 1), (11, 2)):
        ends = []
        for sign in (1, -1):
            moved = np.array(step.input)
            moved[place] += sign * size
            ends.append(loss(moved))
        difference = step.input[place] - step.input.mean(axis=0)[place[1]]
        assert abs((ends[0] - ends[1]) / (2 * size) - pull[place[1]] * (1 + 2 * difference) / 12) < 1e-8


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ((0, 0), "returned statistics constant"),
        ((0, 1), "returned mean constant"),
        ((1, 0), "returned variance constant"),
        ((1, 12 / 11), "gradient of the returned variance with correction 1"),
    ],
)
def test_a_gradient_that_misses_a_part_is_named(parts: tuple[float, float], told: str) -> None:
    judgement = judged(made(), *parts)
    assert judgement.verdict is Verdict.DEVIATES
    assert told in diagnosed(judgement)


def test_a_corrected_variance_is_named() -> None:
    assert "batch variance returned with correction 1" in diagnosed(judged(made(), correction=1))


def test_the_references_agree() -> None:
    assert crosscheck(made()) == []


def test_there_is_no_inference_and_no_moment_of_nothing() -> None:
    configuration = made().configuration
    assert DIFFERENTIATED_MOMENTS.misfit(configuration, "infer", (8, 3))
    assert DIFFERENTIATED_MOMENTS.misfit(configuration, "train", (0, 3))
    assert not DIFFERENTIATED_MOMENTS.misfit(configuration, "train", (8, 3))

"""Weighted moments: right by hand, the same by both references, and each fault told by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.operations.weighted_moments import WEIGHTED_MOMENTS
from conformance.reference.crosscheck import crosscheck
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from conformance.verdict import Verdict
from tests.cells import case, cell
from tests.exact_layer import produced
from tests.told import diagnosed

Array = np.ndarray[Any, np.dtype[Any]]


def made(values: Any = None, weights: Any = None, *, mean: float = 0.5, **options: Any) -> Case:
    step = {
        "step": "infer",
        "input": {"kind": "literal", "values": values} if values else {"kind": "normal", "seed": 3, "mean": mean},
        "weights": {"kind": "literal", "values": weights}
        if weights
        else {"kind": "uniform", "seed": 4, "low": 0.25, "high": 3.0},
    }
    shape = [len(values), 1] if values else [24, 3]
    return case(step, op="weighted_moments", shape=shape, dtype="float64", scale=False, center=False, options=options)


def two_pass(w: Array, x: Array) -> tuple[Array, Array]:
    mean = (w * x).sum(axis=0) / w.sum(axis=0)
    return mean, (w * (x - mean) ** 2).sum(axis=0) / w.sum(axis=0)


def incremental(w: Array, x: Array) -> tuple[Array, Array]:
    """West 1979: one value after another."""
    total, mean, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for weight, value in zip(w, x, strict=True):
        total = total + weight
        distance = value - mean
        mean = mean + distance * (weight / total)
        squares = squares + weight * distance * (value - mean)
    return mean, squares / total


def corrected(w: Array, x: Array) -> tuple[Array, Array]:
    mean, variance = two_pass(w, x)
    return mean, variance * w.sum(axis=0) / (w.sum(axis=0) - 1)


def judged(one: Case, compute: Callable[[Array, Array], tuple[Array, Array]]) -> Any:
    (step,) = inputs_of(one).steps
    assert step.input is not None
    mean, variance = compute(step.arrays["weights"], step.input)
    given = [produced({}, {}), produced({"batch_mean": mean, "batch_variance": variance}, {})]
    return judge(cell(one, op="weighted_moments"), given, References())


@pytest.mark.parametrize("mean", [0.5, 4096.0])
@pytest.mark.parametrize("compute", [two_pass, incremental], ids=lambda compute: compute.__name__)
def test_sound_ways_to_weigh_conform(compute: Any, mean: float) -> None:
    assert judged(made(mean=mean), compute).verdict in (Verdict.CONFORMS, Verdict.EXACT)


def test_squares_less_the_square_of_the_mean_do_not() -> None:
    def one_pass(w: Array, x: Array) -> tuple[Array, Array]:
        mean = (w * x).sum(axis=0) / w.sum(axis=0)
        return mean, (w * x * x).sum(axis=0) / w.sum(axis=0) - mean * mean

    assert judged(made(mean=2.0**24), one_pass).verdict is Verdict.DEVIATES


@pytest.mark.parametrize(
    ("compute", "told"),
    [
        (lambda w, x: two_pass(np.ones_like(w), x), "weighs the same"),
        (lambda w, x: two_pass(np.floor(w), x), "weights rounded down to whole numbers"),
        (corrected, "sum of the weights less 1"),
    ],
    ids=["ignored", "whole", "corrected"],
)
def test_what_is_made_of_the_weights_instead_is_named(compute: Any, told: str) -> None:
    judgement = judged(made(), compute)
    assert judgement.verdict is Verdict.DEVIATES
    assert told in diagnosed(judgement) or "weights ignored" in diagnosed(judgement)


def test_a_missing_value_weighs_nothing() -> None:
    """Of 5, 1, 1 and 1 with the weights 1, 0.5, 0.25 and 2.25: the mean is 2 and the variance 3."""
    values, weights = [[5.0], [float("nan")], [1.0], [1.0], [1.0]], [[1.0], [7.0], [0.5], [0.25], [2.25]]
    one = made(values, weights, missing=True)
    assert judged(one, lambda w, x: (np.array([2.0]), np.array([3.0]))).verdict is Verdict.EXACT
    assert judged(one, lambda w, x: (np.array([np.nan]), np.array([np.nan]))).verdict is Verdict.DEVIATES
    assert judged(made(values, weights), lambda w, x: (np.array([np.nan]),) * 2).verdict is Verdict.EXACT


def test_the_references_agree() -> None:
    assert crosscheck(made()) == []


def test_there_is_no_train_step_and_no_moment_of_nothing() -> None:
    configuration = made().configuration
    assert WEIGHTED_MOMENTS.misfit(configuration, "train", (8, 3))
    assert WEIGHTED_MOMENTS.misfit(configuration, "infer", (0, 3))
    assert not WEIGHTED_MOMENTS.misfit(configuration, "infer", (8, 3))

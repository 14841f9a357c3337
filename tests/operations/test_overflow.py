"""In every operation that takes a root: where an overflow is excused, and what its hypotheses make of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.situation import Situation
from conformance.precision import working
from tests.situations import situation

SINGLE = working("float32")
SHARDS = {"options": {"shards": [4, 4]}}
#: By operation, what it is told beside the ordinary.
ROOTS: dict[str, dict[str, Any]] = {
    "batch_norm": {},
    "batch_renorm": {"options": {"renorm_decay": 0.75, "rmin": 1.0, "rmax": 1.0, "dmax": 0.0}},
    "differentiated_batch_norm": {},
    "masked_batch_norm": {},
    "masked_synchronized_batch_norm": SHARDS,
    "partly_differentiated_batch_norm": {"options": {"differentiated": ["input", "gamma"]}},
    "replicated_batch_norm": SHARDS,
    "synchronized_batch_norm": SHARDS,
    "untracked_batch_norm": {},
    "virtual_batch_norm": {"options": {"virtual_batch": 4}},
}
RENORM = {"renorm_mean": 0.75, "renorm_deviation": 1.5, "moving_deviation": 1.5}
REPLICA = {"moving_mean_2": 0.75, "moving_variance_2": 2.5}


def beside_ordinary(op: str, size: float) -> Situation:
    """Eight rows of an ordinary feature and of one of that size, in float32."""
    random = np.random.default_rng(5)
    x = (random.standard_normal((8, 2)) * [1, size]).astype(np.float32)
    state = RENORM if op == "batch_renorm" else REPLICA
    step = situation(
        x, random.standard_normal((8, 2)), op=op, state=state, dtype="float32", parameter_dtype="float32", **ROOTS[op]
    )
    return replace(step, shape=x.shape)


def overflowing(step: Situation, intermediate: str) -> list[Hypothesis]:
    """The hypotheses of that overflow, in the working precision."""
    operation = OPERATIONS[step.configuration.op]
    return [
        hypothesis
        for hypothesis in operation.hypotheses(step.configuration, operation.dialect)
        if hypothesis.cause.id == "intermediate-overflow"
        and dict(hypothesis.cause.parameters) == {"intermediate": intermediate, "dtype": "float32"}
    ]


def trained(step: Situation, hypothesis: Hypothesis | None = None) -> dict[str, Expected]:
    """What a train step gives, or would give if the hypothesis were true."""
    operation = OPERATIONS[step.configuration.op]
    changed: Situation | None = step
    if hypothesis is not None:
        assert hypothesis.change_situation is not None
        changed = hypothesis.change_situation(step)
        assert changed is not None
    assert changed is not None
    return operation.train(changed, SINGLE)


@pytest.mark.parametrize("op", ROOTS)
def test_the_feature_out_of_range_alone_is_outside_the_domain(op: str) -> None:
    results = trained(beside_ordinary(op, 1e20))
    for name in ("output", "grad_input"):
        inside = np.broadcast_to(results[name].in_domain, (8, 2))
        assert inside.all(axis=0).tolist() == [True, False]
        assert not inside[:, 1].any()


@pytest.mark.parametrize("op", ROOTS)
def test_squares_out_of_range_make_the_output_of_their_feature_beta(op: str) -> None:
    step = beside_ordinary(op, 1e20)
    (hypothesis,) = overflowing(step, "the sum of the squared deviations")
    right, wrong = trained(step), trained(step, hypothesis)
    assert (wrong["output"].value[:, 1] == step.state["beta"][1]).all()
    assert (wrong["grad_input"].value[:, 1] == 0).all()
    assert (wrong["output"].value[:, 0] == right["output"].value[:, 0]).all()


@pytest.mark.parametrize("op", ROOTS)
def test_a_cube_out_of_range_takes_the_gradient_through_the_variance_from_its_feature(op: str) -> None:
    step = beside_ordinary(op, 1e16)
    hypotheses = overflowing(step, "the cube of the root")
    right = trained(step)["grad_input"].value
    for hypothesis in hypotheses:
        wrong = trained(step, hypothesis)["grad_input"].value
        assert (wrong[:, 0] == right[:, 0]).all()
        assert (np.abs(wrong - right)[:, 1] > 1e-3 * np.abs(right)[:, 1]).any()
    assert len(hypotheses) == 2


@pytest.mark.parametrize("op", ROOTS)
def test_of_ordinary_numbers_no_hypothesis_speaks_of_overflow(op: str) -> None:
    step = beside_ordinary(op, 1e3)
    operation = OPERATIONS[op]
    for hypothesis in operation.hypotheses(step.configuration, operation.dialect):
        if hypothesis.cause.id == "intermediate-overflow":
            assert hypothesis.change_situation is not None
            assert hypothesis.change_situation(step) is None


def test_of_a_sum_out_of_range_centering_is_outside_the_domain() -> None:
    x = np.array([[1.0, 2.0**126]] * 8)
    step = situation(x, np.ones((8, 2)), op="centering", dtype="float32", parameter_dtype="float32")
    assert OPERATIONS["centering"].train(step, SINGLE)["output"].in_domain.tolist() == [True, False]

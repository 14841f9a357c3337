"""What is done with a batch of which nothing counts, with an empty one, and with one of which everything counts is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.outcome import Produced
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from tests.cells import case, cell
from tests.told import diagnosed

Array = np.ndarray[Any, np.dtype[Any]]

NONE_COUNTS = {
    "step": "train",
    "input": {"kind": "literal", "values": [[0.0, 0.0], [0.0, 1.0]]},
    "mask": {"kind": "literal", "values": [0.0, 0.0]},
}


@pytest.mark.parametrize("decay", [0.75, 0.9, 0.99])
def test_moving_values_that_a_batch_of_nothing_draws_towards_zero_are_named(decay: float) -> None:
    initial = {"moving_mean": {"kind": "literal", "values": [0.0, 1.0]}}
    made = case(NONE_COUNTS, op="masked_batch_norm", shape=[2, 2], feature_axes=[1], decay=decay, initial=initial)
    before = inputs_of(made).initial
    after = {name: value * np.float32(decay) if "moving" in name else value for name, value in before.items()}
    given = [
        Produced(quantities={}, state=dict(before), seconds=0.0),
        Produced(quantities={"output": np.zeros((2, 2), np.float32)}, state=after, seconds=0.0),
    ]
    judgement = judge(cell(made, op="masked_batch_norm"), given, References())
    assert [one.id for alternatives in judgement.diagnosis for one in alternatives.alternatives] == [
        "nothing-counts-zero-enters"
    ], diagnosed(judgement)


def causes_of(step: dict[str, Any], shape: list[int], after: dict[str, Array], **quantities: Array) -> list[str]:
    """Return what is named where one train step gives those quantities and leaves those moving values."""
    made = case(step, op="masked_batch_norm", shape=shape, feature_axes=[1], decay=0.75)
    before = inputs_of(made).initial
    given = [
        Produced(quantities={}, state=dict(before), seconds=0.0),
        Produced(quantities=quantities, state={**before, **after}, seconds=0.0),
    ]
    judgement = judge(cell(made, op="masked_batch_norm"), given, References())
    return [one.id for alternatives in judgement.diagnosis for one in alternatives.alternatives]


@pytest.mark.parametrize("mask", [{}, {"mask": {"kind": "literal", "values": []}}], ids=["without", "with"])
@pytest.mark.parametrize(("value", "cause"), [(0.75, "empty-batch-decays"), (np.nan, "empty-batch-averaged")])
def test_what_an_empty_batch_does_is_named_with_a_mask_and_without(mask: Any, value: float, cause: str) -> None:
    nothing = {"kind": "literal", "values": []}
    step = {"step": "train", "input": nothing, "upstream": nothing, "shape": [0, 2], **mask}
    gradients = {name: np.zeros(2, np.float32) for name in ("grad_gamma", "grad_beta")}
    none = np.zeros((0, 2), np.float32)
    after = {"moving_variance": np.full(2, value, np.float32), "moving_mean": np.full(2, 0 * value, np.float32)}
    assert causes_of(step, [2, 2], after, output=none, grad_input=none, **gradients) == [cause]


def test_a_gradient_summed_of_half_precision_terms_is_not_named_a_divisor_with_epsilon() -> None:
    """-10.54 is -10.53 where each of two terms is rounded: by 0.001 more the divisor would give -10.527, as near to it."""
    step = {
        "step": "train",
        "input": {"kind": "literal", "values": [[0.0, 0.0]] * 4},
        "upstream": {"kind": "literal", "values": [[1.0, 0.0]] * 4},
        "mask": {"kind": "literal", "values": [1.0, 1.0, 1.0, 0.0]},
    }
    made = case(step, op="masked_batch_norm", shape=[4, 2], feature_axes=[1], dtype="float16", epsilon=0.001, decay=0.9)
    before = inputs_of(made).initial
    after = {**before, "moving_variance": np.full(2, 0.9, before["moving_variance"].dtype)}
    quantities = {
        "output": np.zeros((4, 2), np.float16),
        "grad_input": np.array([[-10.53125, 0]] * 3 + [[31.625, 0]], np.float16),
        "grad_gamma": np.zeros(2, before["gamma"].dtype),
        "grad_beta": np.array([4, 0], before["beta"].dtype),
    }
    given = [
        Produced(quantities={}, state=dict(before), seconds=0.0),
        Produced(quantities=quantities, state=after, seconds=0.0),
    ]
    judgement = judge(cell(made, op="masked_batch_norm"), given, References())
    assert [one.id for alternatives in judgement.diagnosis for one in alternatives.alternatives] == [
        "narrower-arithmetic"
    ], diagnosed(judgement)


def test_a_mask_along_the_features_that_counts_nothing_of_one_is_named() -> None:
    """(1, 2, 2) of (N, L, M) becomes (N, C, L, 1): all of the first feature, and none of the second, whose sums are 0."""
    values = np.array([[[[1.0, 2.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 1.0]]]])
    step = {
        "step": "train",
        "input": {"kind": "literal", "values": values.tolist()},
        "mask": {"kind": "literal", "values": [[[1.0, 1.0], [0.0, 0.0]]]},
    }
    first = values[0, 0]
    mean, variance = np.array([first.mean(), 0.0]), np.array([first.var(), 0.0])
    by_feature = (1, 2, 1, 1)
    output = (values - mean.reshape(by_feature)) / np.sqrt(variance.reshape(by_feature) + 1e-3)
    after = {
        "moving_mean": (0.25 * mean).astype(np.float32),
        "moving_variance": (0.75 + 0.25 * variance).astype(np.float32),
    }
    assert "mask-along-features" in causes_of(step, [1, 2, 2, 2], after, output=output.astype(np.float32))


def test_without_epsilon_a_value_left_out_is_divided_by_a_rounding_or_by_zero() -> None:
    """One value counts, so that σ² is 0; a sum divided by 1 + 1e-7 makes it 1e-14, and the other value is far but finite."""
    step = {
        "step": "train",
        "input": {"kind": "literal", "values": [[1.0, 0.0], [0.0, 0.0]]},
        "mask": {"kind": "literal", "values": [1.0, 0.0]},
    }
    made = case(step, op="masked_batch_norm", shape=[2, 2], feature_axes=[1], decay=0.75, epsilon=0.0)
    before = inputs_of(made).initial
    after = {
        **before,
        "moving_mean": np.array([0.25, 0.0], np.float32),
        "moving_variance": np.full(2, 0.75, np.float32),
    }
    for value in (-8e6, -np.inf, np.nan):
        output = np.array([[0.0, 0.0], [value, 0.0]], np.float32)
        given = [
            Produced(quantities={}, state=dict(before), seconds=0.0),
            Produced(quantities={"output": output}, state=after, seconds=0.0),
        ]
        judgement = judge(cell(made, op="masked_batch_norm"), given, References())
        assert judgement.diagnosis == (), (value, diagnosed(judgement))

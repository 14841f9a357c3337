"""Replicas with a mask: the statistics of what counts in all shards together, and what is made of them instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.operations import OPERATIONS, masked_batch_norm
from conformance.operations.replicas import shards
from conformance.precision import precision
from conformance.reference.crosscheck import crosscheck
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from conformance.verdict import Verdict
from tests.cells import TRAIN, case, cell
from tests.exact_layer import produced
from tests.operations.replicas.test_reference import drawn
from tests.told import diagnosed

Array = np.ndarray[Any, np.dtype[Any]]
DOUBLE = precision("float64")
#: Five positions count on the first replica, one on the second.
MASK = [1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0]


def made(mask: Any = None, **fields: Any) -> Case:
    step = {**TRAIN, "mask": {"kind": "literal", "values": mask or MASK}}
    options = {"shards": [6, 6]}
    return case(step, op="masked_synchronized_batch_norm", shape=[12, 3], options=options, epsilon=0.25, **fields)


#: What a replica counts, and how much each of its positions weighs in the statistics of all.
Weights = Callable[[Array], tuple[Array, Array]]


def right(counted: Array) -> tuple[Array, Array]:
    weight = counted / counted.sum()
    return weight, weight


def of_one_size(counted: Array) -> tuple[Array, Array]:
    """A mean of the shards' means."""
    weight = np.concatenate([part / (2 * part.sum()) for part in np.split(counted, 2)])
    return weight, weight


def of_its_own(counted: Array) -> tuple[Array, Array]:
    first, second = (part / part.sum() for part in np.split(counted, 2))
    return np.concatenate([first, 0 * second]), np.concatenate([0 * first, second])


def ignored(counted: Array) -> tuple[Array, Array]:
    return right(np.ones_like(counted))


def given(one: Case, weights: Weights) -> list[Any]:
    """What replicas give whose statistics have those weights, γ 1 and β 0: by the chain rule, in float64."""
    (step,) = inputs_of(one).steps
    state: dict[str, Array] = dict(inputs_of(one).initial)
    assert step.input is not None
    assert step.upstream is not None
    x, g = step.input.astype(np.float64), step.upstream.astype(np.float64)
    counted, rows = step.arrays["mask"].astype(np.float64), (slice(0, 6), slice(6, 12))
    after, output, normalized, grad_input = dict(state), np.empty_like(x), np.empty_like(x), np.zeros_like(x)
    apart = not np.array_equal(*weights(counted))
    for replica, weight in enumerate(column[:, None] for column in weights(counted)):
        mean = (weight * x).sum(axis=0)
        variance = (weight * (x - mean) ** 2).sum(axis=0)
        root, own = 1 / np.sqrt(variance + one.epsilon), rows[replica]
        normalized[own] = (x[own] - mean) * root
        output[own] = normalized[own]
        for name, batch in (("moving_mean", mean), ("moving_variance", variance)):
            held = shards.named(name, replica)
            after[held] = (one.decay * state[held] + (1 - one.decay) * batch).astype(np.float32)
        pulled = own if apart else slice(None)
        pull, hat = g[pulled], (x[pulled] - mean) * root
        grad_input[own] += root * g[own]
        grad_input[pulled] -= (
            (1 if apart else 0.5) * root * weight[pulled] * (pull.sum(axis=0) + hat * (pull * hat).sum(axis=0))
        )
    quantities = {
        "output": output,
        "grad_input": grad_input,
        "grad_gamma": (g * normalized).sum(axis=0),
        "grad_beta": g.sum(axis=0),
    }
    return [produced({}, state), produced({name: q.astype(np.float32) for name, q in quantities.items()}, after)]


def test_replicas_that_count_together_conform() -> None:
    one = made()
    assert judge(cell(one), given(one, right), References()).verdict is Verdict.CONFORMS


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (of_one_size, "shards averaged as if they had one size"),
        (of_its_own, "each replica normalizes by its own shard"),
        (ignored, "mask ignored"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_is_made_of_the_mask_instead_is_named(weights: Weights, told: str) -> None:
    one = made()
    judgement = judge(cell(one), given(one, weights), References())
    assert judgement.verdict is Verdict.DEVIATES
    assert told in diagnosed(judgement)


def of_its_own_and_a_little_more(counted: Array) -> tuple[Array, Array]:
    """Keras 3 adds its fuzz factor to the count."""
    first, second = (part / (part.sum() + 1e-3) for part in np.split(counted, 2))
    return np.concatenate([first, 0 * second]), np.concatenate([0 * first, second])


def test_two_faults_at_once_are_named_as_such() -> None:
    one = made()
    judgement = judge(cell(one), given(one, of_its_own_and_a_little_more), References())
    assert "its own shard, and divides by the positions that count, and 0.001" in diagnosed(judgement)


def test_replicas_give_what_one_masked_layer_gives() -> None:
    """To the bit, whatever the shards."""
    s = drawn("masked_synchronized_batch_norm", (3, 5, 4), 3)
    s = replace(s, arrays={"mask": np.asarray(MASK, np.bool_)})
    found = OPERATIONS[s.configuration.op].train(s, DOUBLE)
    whole = masked_batch_norm.train(replace(s, state=shards.held(s.state, 0)), DOUBLE)
    for name, quantity in whole.items():
        np.testing.assert_array_equal(found[name].value, quantity.value)


@pytest.mark.parametrize("mask", [MASK, [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]], ids=["unequal", "none-in-a-shard"])
def test_the_references_agree(mask: list[int]) -> None:
    assert crosscheck(made(mask)) == []


def test_a_mask_is_cut_as_the_batch_is() -> None:
    s = drawn("masked_synchronized_batch_norm", (3, 5, 4), 3)
    s = replace(s, arrays={"mask": np.asarray(MASK, np.bool_)})
    parts = [part.arrays["mask"].astype(int).tolist() for part in shards.parts(s)]
    assert parts == [MASK[:3], MASK[3:8], MASK[8:]]


def states(found: Mapping[str, Any]) -> set[str]:
    return {name for name in found if name.startswith("moving")}


def test_where_nothing_counts_every_replica_keeps_its_state() -> None:
    s = drawn("masked_synchronized_batch_norm", (3, 5, 4), 3)
    s = replace(s, arrays={"mask": np.zeros(12, np.bool_)})
    found = OPERATIONS[s.configuration.op].train(s, DOUBLE)
    assert found.keys() == states(s.state)
    for name in found:
        np.testing.assert_array_equal(found[name].value, s.state[name])

"""The references of layer, RMS, group and instance normalization: numbers worked by hand, and what each is of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.situation import Situation
from conformance.precision import working
from tests.situations import situation

X = np.array([[1.5, 4.5, 8.0, 11.0], [-3.0, 0.0, 0.5, 3.5], [4.0, 1.0, -2.0, -5.0], [7.0, 7.0, 1.0, 2.0]])
G = np.array([[1.0, 2.0, -1.0, 4.0], [3.0, -2.0, 0.0, 8.0], [0.5, 1.0, 2.0, -4.0], [1.0, 1.0, 1.0, -1.0]])
GAMMA, BETA = [0.5, -1.0, 2.0, 3.0], [0.25, 0.0, -1.0, 4.0]


def step(op: str, x: Any = X, upstream: Any = G, **fields: Any) -> Mapping[str, Expected]:
    """Return what a train step gives, of two samples with two positions each where the operation knows of samples."""
    given = situation(x, upstream, op=op, state={"gamma": GAMMA, "beta": BETA}, **fields)
    return OPERATIONS[op].train(placed(given), working("float64"))


def placed(given: Situation) -> Situation:
    return replace(given, shape=(2, len(given.x) // 2, given.x.shape[1]))


def values(quantities: Mapping[str, Expected]) -> dict[str, Any]:
    return {name: quantity.value.astype(float) for name, quantity in quantities.items()}


def same(one: Mapping[str, Expected], other: Mapping[str, Expected]) -> None:
    for name, value in values(one).items():
        np.testing.assert_allclose(value, values(other)[name], rtol=1e-14, atol=1e-14)


def test_a_row_of_two_values_comes_out_as_their_signs() -> None:
    """μ = 3, σ² = 1: with ε = 3 the root is 2."""
    given = situation([[2.0, 4.0]], op="layer_norm", epsilon=3.0, state={"gamma": [1.0, 2.0], "beta": [0.0, 1.0]})
    assert values(OPERATIONS["layer_norm"].infer(given, working("float64")))["output"].tolist() == [[-0.5, 2.0]]


def test_a_mean_square_is_not_taken_about_the_mean() -> None:
    """Q = (1 + 49)/2 = 25."""
    given = situation([[1.0, 7.0]], op="rms_norm", epsilon=0.0, center=False, state={"gamma": [1.0, 2.0], "beta": 0.0})
    assert values(OPERATIONS["rms_norm"].infer(given, working("float64")))["output"].tolist() == [[0.2, 2.8]]


@pytest.mark.parametrize(
    ("options", "output"), [({"unit_offset": True}, [0.4, 4.2]), ({"epsilon": "outside"}, [0.1, 1.4])]
)
def test_the_options_of_rms_normalization_do_what_they_say(options: dict[str, Any], output: list[float]) -> None:
    """1 + γ multiplies; with ε = 5 outside the root x is divided by 5 + 5."""
    epsilon = 5.0 if "epsilon" in options else 0.0
    given = situation(
        [[1.0, 7.0]],
        op="rms_norm",
        epsilon=epsilon,
        center=False,
        options=options,
        state={"gamma": [1.0, 2.0], "beta": 0.0},
    )
    assert values(OPERATIONS["rms_norm"].infer(given, working("float64")))["output"][0] == pytest.approx(output)


def test_one_group_of_samples_without_positions_is_a_row() -> None:
    given = situation(X, G, op="group_norm", options={"groups": 1}, state={"gamma": GAMMA, "beta": BETA})
    grouped = OPERATIONS["group_norm"].train(replace(given, shape=X.shape), working("float64"))
    same(grouped, step("layer_norm"))


def test_as_many_groups_as_features_are_instances() -> None:
    same(step("group_norm", options={"groups": 4}), step("instance_norm"))


def test_a_batch_of_one_sample_is_normalized_by_instances_as_by_batch() -> None:
    given = situation(X, G, op="instance_norm", state={"gamma": GAMMA, "beta": BETA})
    whole = OPERATIONS["batch_norm"].train(replace(given, shape=(1, *X.shape)), working("float64"))
    same(OPERATIONS["instance_norm"].train(replace(given, shape=(1, *X.shape)), working("float64")), whole)


def test_instances_move_the_moving_values_by_the_means_of_their_own_statistics() -> None:
    moved = values(step("instance_norm", options={"tracked": True}))
    own = X.reshape(2, 2, 4)
    np.testing.assert_allclose(moved["moving_mean"], 0.75 * 0.75 + 0.25 * own.mean(axis=(0, 1)))
    np.testing.assert_allclose(moved["moving_variance"], 0.75 * 2.5 + 0.25 * own.var(axis=1).mean(axis=0))


def test_a_value_of_another_row_enters_nothing() -> None:
    other = X.copy()
    other[0] = [100.0, -1.0, 0.0, 2.0]
    one, changed = (values(step("layer_norm", x=x)) for x in (X, other))
    for name in ("output", "grad_input"):
        np.testing.assert_array_equal(one[name][1:], changed[name][1:])


@pytest.mark.parametrize("op", ["group_norm", "instance_norm"])
def test_samples_that_lie_along_a_feature_axis_are_refused(op: str) -> None:
    given = situation(X, op=op, feature_axes=(0,), options={"groups": 2} if op == "group_norm" else {})
    assert "feature axis" in OPERATIONS[op].misfit(given.configuration, "train", X.shape)


def test_groups_that_do_not_divide_the_features_are_refused() -> None:
    given = situation(X, op="group_norm", options={"groups": 3})
    assert "no multiple of groups" in OPERATIONS["group_norm"].misfit(given.configuration, "train", X.shape)


@pytest.mark.parametrize("op", ["layer_norm", "rms_norm", "group_norm", "instance_norm"])
def test_float32_by_two_passes_lies_within_every_bound(op: str) -> None:
    """On rows of every size and mean, in sums of either order."""
    generator = np.random.Generator(np.random.Philox(5))
    for _ in range(40):
        shape = (2 * int(generator.integers(1, 5)), int(generator.choice([2, 4, 8, 12])))
        x = (generator.normal(size=shape) * 2.0 ** generator.integers(-8, 8) + generator.normal() * 50).astype(
            np.float32
        )
        upstream = generator.normal(size=shape).astype(np.float32)
        options = {"groups": 2} if op == "group_norm" else {}
        state = {"gamma": generator.normal(size=shape[1]).astype(np.float32), "beta": np.float32(0.5)}
        given = situation(
            x, upstream, op=op, options=options, state=state, epsilon=1e-5, dtype="float32", wide=np.float64
        )
        expected = OPERATIONS[op].train(placed(given), working("float32"))
        for name, value in _in_float32(op, x, upstream, state).items():
            error = np.abs(value - expected[name].value)
            assert (error <= expected[name].bound).all(), (name, (error / expected[name].bound).max())


def _in_float32(op: str, x: Any, upstream: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    groups = {"group_norm": 2, "instance_norm": x.shape[1]}.get(op, 0)
    rows, features = x.shape
    shape = (2, rows // 2, groups, features // groups) if groups else (rows, features)
    axes = (1, 3) if groups else (1,)
    gamma, beta = (np.broadcast_to(state[name], x.shape).astype(np.float32) for name in ("gamma", "beta"))
    grouped, pull = x.reshape(shape), (gamma * upstream).reshape(shape)
    deviation = grouped if op == "rms_norm" else grouped - grouped.mean(axes, keepdims=True)
    root = 1 / np.sqrt(np.square(deviation).mean(axes, keepdims=True) + np.float32(1e-5))
    n = deviation * root
    level = 0 if op == "rms_norm" else pull.mean(axes, keepdims=True)
    normalized = n.reshape(x.shape)
    return {
        "output": gamma * normalized + beta,
        "grad_input": (root * (pull - level - n * (pull * n).mean(axes, keepdims=True))).reshape(x.shape),
        "grad_gamma": (upstream * normalized).sum(axis=0),
        "grad_beta": upstream.sum(axis=0),
    }

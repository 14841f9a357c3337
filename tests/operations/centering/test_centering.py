"""Centering is the mean of batch normalization without its variance."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from conformance.dialect import Dialect
from conformance.operations import centering
from conformance.operations.centering import CENTERING
from conformance.operations.expected import Expected
from conformance.operations.score import fit
from conformance.precision import precision, working
from tests.situations import situation

F = np.float32
SINGLE = working("float32")
X = [Fraction(1), Fraction(2), Fraction(4), Fraction(-3)]
G = [Fraction(3), Fraction(-1), Fraction(1, 2), Fraction(0)]


def expected(training: bool = True, x: Any = None, g: Any = None, **changed: Any) -> dict[str, Expected]:
    columns = [[float(value)] for value in X] if x is None else x
    upstream = [[float(value)] for value in G] if g is None else g
    s = situation(columns, upstream, op="centering", state={"moving_mean": 8.0}, **changed)
    return centering.train(s, SINGLE) if training else centering.infer(s, SINGLE)


def as_fractions(found: dict[str, Expected]) -> dict[str, list[Fraction]]:
    return {name: [Fraction(float(value)) for value in each.value.flat] for name, each in found.items()}


def test_training_subtracts_the_batch_mean() -> None:
    assert as_fractions(expected()) == {
        "output": [value - 1 for value in X],
        "batch_mean": [Fraction(1)],
        "moving_mean": [Fraction(3, 4) * 8 + Fraction(1, 4)],
        "grad_input": [value - Fraction(5, 8) for value in G],
    }


def test_a_dialect_subtracts_the_moving_mean_of_before_the_step() -> None:
    found = as_fractions(expected(dialect=Dialect(normalizes_with="moving_before")))
    assert found["output"] == [value - 8 for value in X]
    assert found["grad_input"] == G
    assert found["moving_mean"] == [Fraction(3, 4) * 8 + Fraction(1, 4)]


def test_a_dialect_subtracts_the_moving_mean_of_after_the_step() -> None:
    """Of which the batch mean has a quarter, and so the gradient."""
    found = as_fractions(expected(dialect=Dialect(normalizes_with="moving_after")))
    after = Fraction(3, 4) * 8 + Fraction(1, 4)
    assert found["moving_mean"] == [after]
    assert found["output"] == [value - after for value in X]
    assert found["grad_input"] == [value - Fraction(5, 8) / 4 for value in G]


def test_inference_subtracts_the_moving_mean() -> None:
    assert as_fractions(expected(training=False)) == {"output": [value - 8 for value in X], "grad_input": G}


def test_an_empty_batch_gives_nothing_and_moves_nothing() -> None:
    empty = np.zeros((0, 1))
    assert as_fractions(expected(x=empty, g=empty)) == {"output": [], "grad_input": [], "moving_mean": [Fraction(8)]}


def test_only_the_moving_mean_is_state() -> None:
    s = situation([[1.0]], op="centering")
    assert CENTERING.state(s.configuration) == ("moving_mean",)


def test_a_frozen_centering_infers() -> None:
    assert CENTERING.dialect.frozen_implies_inference


@pytest.mark.parametrize("ratio", [0.0, 2.0**12, 2.0**24])
def test_healthy_float32_never_leaves_the_bound(ratio: float) -> None:
    for seed in range(200):
        random = np.random.default_rng(seed)
        m = int(random.choice([2, 3, 8, 100]))
        x, g = (random.normal(size=(m, 4)) + ratio).astype(F), random.normal(size=(m, 4)).astype(F)
        mean = x.cumsum(axis=0)[-1] / F(m)
        decay = float(random.choice([0.0, 0.25, 0.99]))
        found = {
            "output": x - mean,
            "batch_mean": mean,
            "moving_mean": F(8) - (F(8) - mean) * (1 - F(decay)),
            "grad_input": g - g.cumsum(axis=0)[-1] / F(m),
        }
        judged = {name: fit(found[name], each, SINGLE).score for name, each in expected(x=x, g=g, decay=decay).items()}
        assert max(judged.values()) <= 1, (seed, judged)


@pytest.mark.parametrize(
    ("quantity", "wrong"),
    [
        ("output", lambda x, g: x),
        ("output", lambda x, g: (x - x.mean(axis=0)) / x.std(axis=0)),
        ("output", lambda x, g: x - x.mean(axis=1, keepdims=True)),
        ("moving_mean", lambda x, g: F(0.25) * F(8) + F(0.75) * x.mean(axis=0)),
        ("grad_input", lambda x, g: g),
    ],
)
def test_a_planted_fault_leaves_the_bound(quantity: str, wrong: Any) -> None:
    random = np.random.default_rng(1)
    x, g = random.normal(size=(8, 4)).astype(F), random.normal(size=(8, 4)).astype(F)
    assert fit(np.asarray(wrong(x, g)), expected(x=x, g=g)[quantity], SINGLE).score > 10


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_spoils_its_feature_alone(value: float) -> None:
    x = np.array([[1.0, 1.0], [value, 3.0]])
    found = expected(x=x, g=np.ones((2, 2)))
    assert not np.isfinite(found["output"].value[:, 0]).any()
    assert found["output"].value[:, 1].tolist() == [-1, 1]


def test_a_sum_beyond_the_range_of_float32_is_outside_the_domain() -> None:
    x = np.full((4, 1), precision("float32").largest / 2)
    assert not expected(x=x, g=np.ones((4, 1)))["output"].in_domain.any()


def test_bessel_s_correction_and_epsilon_have_no_part_in_it() -> None:
    assert as_fractions(expected(epsilon=0.0)) == as_fractions(expected(epsilon=1.0))

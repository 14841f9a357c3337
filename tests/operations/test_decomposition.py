"""Weights of deviating numbers: what they are made of, where no hypothesis explains them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.cause import UNEXPLAINED, because, text_of
from conformance.operations.decomposition import made_of
from conformance.operations.expected import Expected
from conformance.precision import working
from conformance.spec.causes import catalogue

OLD, BATCH = np.array([1.0, 2.0, 4.0, -3.0]), np.array([5.0, -1.0, 2.0, 8.0])
SINGLE = working("float32")


def expected(value: Any, bound: float = 1e-6) -> Expected:
    value = np.asarray(value, np.longdouble)
    return Expected(
        value=value,
        bound=np.full(value.shape, bound),
        magnitude=np.full(value.shape[-1:], np.inf),
        in_domain=np.ones(value.shape[-1:], dtype=bool),
    )


def said(observed: Any, right: Any, bound: float = 1e-6, **terms: Any) -> str:
    weights = made_of(np.asarray(observed, np.float32), expected(right, bound), terms, SINGLE)
    if weights is None:
        return ""
    text = text_of([because(UNEXPLAINED, quantity="it", **weights.parameters)], catalogue())
    return text.removeprefix("unexplained: it is ")


def test_another_decay_is_read_beside_the_right_one() -> None:
    text = said(0.99 * OLD + 0.01 * BATCH, 0.9 * OLD + 0.1 * BATCH, old=OLD, batch=BATCH)
    assert text == "0.99·old + 0.01·batch, where 0.9·old + 0.1·batch is right"


def test_an_added_constant_has_a_weight_where_it_alone_is_missing() -> None:
    text = said(0.9 * OLD + 0.1 * BATCH + 7, 0.9 * OLD + 0.1 * BATCH, old=OLD, batch=BATCH)
    assert text == "0.9·old + 0.1·batch + 7, where 0.9·old + 0.1·batch + 0 is right"


def test_a_missing_term_has_the_weight_zero() -> None:
    generator = np.random.default_rng(3)
    g, n = generator.normal(size=(2, 12, 3))
    third = n * (g * n).mean(axis=0)
    text = said(g - g.mean(axis=0), g - g.mean(axis=0) - third, g=g, mean=g.mean(axis=0), third=third)
    assert text == "1·g - 1·mean + 0·third, where 1·g - 1·mean - 1·third is right"


def test_weights_that_differ_in_a_late_digit_are_told_apart() -> None:
    text = said(1.00002 * OLD, OLD, bound=1e-7, old=OLD)
    assert text == "1.00002·old, where 1·old is right"


def test_weights_are_no_finer_than_the_bounds() -> None:
    """A bound of a tenth supports no second digit."""
    assert said(1.004 * OLD, 3 * OLD, bound=0.1, old=OLD) == "1·old, where 3·old is right"


#: Orthogonal to the old values, and so no weight takes it up.
NOISE = np.array([1.0, -1.0, 1.0, 1.0])


def test_what_the_terms_leave_is_told_in_bounds() -> None:
    text = said(2 * OLD + NOISE / 16, OLD, bound=2.0**-10, old=OLD)
    assert text == "2·old, to within 64 bounds, where 1·old is right"


def test_right_weights_are_called_right_beside_what_is_off() -> None:
    text = said(OLD + NOISE / 256, OLD, bound=2.0**-10, old=OLD)
    assert text == "1·old, which is right, but for up to 4 bounds"


def test_a_fault_of_one_feature_is_weighed_in_that_feature() -> None:
    x = np.random.default_rng(4).normal(size=(12, 5))
    right, beta = 2 * x + 0.5, np.full(5, 0.5)
    seen = right.copy()
    seen[:, 3] = 3 * x[:, 3] + 0.5
    text = said(seen, right, x=2 * x, beta=beta)
    assert (
        text
        == "1.5·x + 0.5·beta, where 1·x + 0.5·beta is right (feature 3, the worst of 1 of 5 that are off)".replace(
            "0.5·beta", "1·beta"
        )
    )


def test_several_terms_that_do_not_vary_in_a_feature_are_one_constant() -> None:
    x = np.random.default_rng(4).normal(size=(12, 5))
    mean, beta = np.arange(5.0), np.arange(5.0) ** 2
    right = x - mean + beta
    seen = right.copy()
    seen[:, 2] += 1
    text = said(seen, right, x=x, mean=mean, beta=beta)
    assert text == "1·x + 3, where 1·x + 2 is right (feature 2, the worst of 1 of 5 that are off)"


def test_a_term_that_is_another_s_multiple_is_left_out() -> None:
    assert said(2 * OLD, OLD, old=OLD, again=3 * OLD) == "2·old, where 1·old is right"


@pytest.mark.parametrize("features", [1, 2])
def test_no_weights_are_told_of_fewer_numbers_than_they(features: int) -> None:
    assert said(BATCH[:features], OLD[:features], old=OLD[:features], batch=BATCH[:features]) == ""


def test_what_is_not_finite_is_left_out() -> None:
    seen = 0.5 * OLD
    seen[2] = np.nan
    assert said(seen, OLD, old=OLD) == "0.5·old, where 1·old is right"


def test_numbers_that_must_be_kept_to_the_bit_are_weighed_by_their_own_rounding() -> None:
    assert said(0.5 * OLD, OLD, bound=0.0, old=OLD) == "0.5·old, where 1·old is right"

"""Moving values after a step, in fractions; healthy updates stay within their bound."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from conformance.dialect import Dialect
from conformance.operations.moving import debiasing, moved, moved_bound, weights
from conformance.precision import precision

F = np.float32
SINGLE = precision("float32")
BATCHES = [Fraction(3), Fraction(-1), Fraction(5), Fraction(2)]
A = Fraction(3, 4)


def chain(update: Any, start: Fraction = Fraction(0)) -> list[Fraction]:
    """The moving value after each batch, by the suite; every number of it is a fraction of small integers."""
    values, value = [], np.array(float(start), np.longdouble)
    for trained, batch in enumerate(BATCHES):
        weight = weights(Dialect(update=update), float(A), trained)
        value = moved(value, np.array(float(batch), np.longdouble), weight)
        values.append(Fraction(*value.item().as_integer_ratio()) if not value.shape else Fraction(0))
    return values


def close(found: list[Fraction], right: list[Fraction]) -> bool:
    return all(math.isclose(a, b, rel_tol=2.0**-50, abs_tol=0) for a, b in zip(found, right, strict=True))


def test_exponential_weighs_the_old_value_by_the_decay() -> None:
    right, value = [], Fraction(8)
    for batch in BATCHES:
        value = A * value + (1 - A) * batch
        right.append(value)
    assert close(chain("exponential", start=Fraction(8)), right)


def test_zero_debiased_is_the_hidden_average_over_its_weight() -> None:
    right, hidden = [], Fraction(0)
    for k, batch in enumerate(BATCHES, 1):
        hidden = A * hidden + (1 - A) * batch
        right.append(hidden / (1 - A**k))
    assert close(chain("zero_debiased"), right)


def test_first_batch_replaces_the_initial_value_then_decays() -> None:
    right = [BATCHES[0]]
    for batch in BATCHES[1:]:
        right.append(A * right[-1] + (1 - A) * batch)
    assert close(chain("first_batch", start=Fraction(8)), right)


@pytest.mark.parametrize("update", ["cumulative", "merge"])
def test_cumulative_is_the_mean_of_the_batches(update: str) -> None:
    right = [sum(BATCHES[: k + 1], Fraction()) / (k + 1) for k in range(len(BATCHES))]
    assert close(chain(update, start=Fraction(8)), right)


def test_without_an_update_the_value_stays() -> None:
    assert chain("none", start=Fraction(8)) == [Fraction(8)] * 4


@pytest.mark.parametrize(("decay", "kept"), [(0.0, [1.0]), (1.0, [5.0])])
def test_a_weight_of_zero_leaves_its_term_out_non_finite_or_not(decay: float, kept: list[float]) -> None:
    weight = weights(Dialect(), decay, 0)
    old, batch = (np.array([math.nan]), np.array([1.0])) if not decay else (np.array([5.0]), np.array([math.inf]))
    assert moved(old, batch, weight).tolist() == kept


def test_a_decay_of_one_allows_no_error() -> None:
    assert moved_bound(
        np.array([3.0]), np.array([5.0]), np.array([1.0]), weights(Dialect(), 1.0, 0), SINGLE
    ).tolist() == [0]


@pytest.mark.parametrize(("worked", "lost"), [("float64", 0.0), ("float32", abs(float(F(0.7)) - 0.7))])
def test_with_a_decay_of_one_the_value_is_what_the_precision_holds_of_it(worked: str, lost: float) -> None:
    old = np.array([0.7], np.longdouble)
    bound = moved_bound(old, old, np.zeros(1), weights(Dialect(), 1.0, 3), precision(worked))
    assert bound == pytest.approx(lost, rel=1e-6, abs=1e-16)


def by_products(old: Any, batch: Any, decay: Any) -> Any:
    return decay * old + (1 - decay) * batch


def by_difference(old: Any, batch: Any, decay: Any) -> Any:
    return old - (old - batch) * (1 - decay)


def by_step(old: Any, batch: Any, decay: Any) -> Any:
    return old + (1 - decay) * (batch - old)


@pytest.mark.parametrize("form", [by_products, by_difference, by_step])
def test_a_healthy_update_in_float32_stays_within_the_bound(form: Any) -> None:
    random = np.random.default_rng(1)
    for decay in (0.0, 1e-3, 0.1, 0.5, 0.9, 0.99, 0.9999):
        old, batch = ((random.normal(size=2000) * 10.0 ** random.uniform(-6, 6, 2000)).astype(F) for _ in range(2))
        weight = weights(Dialect(), decay, 0)
        right = moved(old.astype(np.longdouble), batch.astype(np.longdouble), weight)
        bound = moved_bound(old.astype(float), batch.astype(float), np.zeros(2000), weight, SINGLE)
        assert (np.abs(form(old, batch, F(decay)) - right) <= bound).all(), decay


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99, 0.999, 0.9999])
def test_healthy_debiasing_in_float32_stays_within_the_bound(decay: float) -> None:
    random, a, dialect = np.random.default_rng(2), F(decay), Dialect(update="zero_debiased")
    hidden, old = np.zeros(500, F), np.zeros(500, F)
    for k in range(1, 20):
        batch = (random.normal(size=500) + 3).astype(F)
        hidden = hidden * a + batch * (1 - a)
        new = hidden / (1 - a ** F(k))
        weight = weights(dialect, decay, k - 1)
        right = moved(old.astype(np.longdouble), batch.astype(np.longdouble), weight)
        debiased = debiasing(dialect, decay, k - 1)
        bound = moved_bound(old.astype(float), batch.astype(float), np.zeros(500), weight, SINGLE, debiased)
        assert (np.abs(new - right) <= bound).all(), k
        old = new


def test_only_debiasing_widens_the_bound() -> None:
    assert debiasing(Dialect(), 0.99, 0) == 0
    assert debiasing(Dialect(update="zero_debiased"), 0.75, 1) == pytest.approx(6 / (1 - 0.75**2), rel=1e-15)


@pytest.mark.parametrize("decay", [0.9, 0.99])
def test_an_inverted_decay_leaves_the_bound(decay: float) -> None:
    old, batch, weight = np.array([2.0]), np.array([3.0]), weights(Dialect(), decay, 0)
    bound = moved_bound(old, batch, np.array([0.0]), weight, SINGLE)
    wrong = moved(old, batch, weights(Dialect(), 1 - decay, 0))
    assert abs(wrong - moved(old, batch, weight)) > 1000 * bound

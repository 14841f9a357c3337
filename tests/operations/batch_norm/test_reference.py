"""The reference is right: against numbers worked out by hand, in fractions, and in sixty digits."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from conformance.dialect import Dialect
from conformance.operations import batch_norm
from conformance.operations.expected import Expected
from conformance.operations.layout import flatten
from conformance.operations.situation import Situation
from conformance.precision import precision
from tests.cells import case
from tests.situations import situation

DOUBLE = precision("float64")
SINGLE = precision("float32")
#: numerics: the reference must be a thousand times better than what it judges, float64 at its tightest.
UNIT = 1e-3
D = [3, -3, 2, -2, 2, -2, 2, -2, 2, -2, 2, -2, 1, -1, 0, 0]


@pytest.fixture(autouse=True)
def _sixty_digits() -> Any:
    with mpmath.workdps(60):
        yield


def exact(value: Any) -> Any:
    """An extended-precision number as mpmath's, without rounding."""
    high = float(value)
    return mpf(high) + mpf(float(value - np.longdouble(high)))


class Feature:
    """One train step on one feature in sixty digits, each definition written as words would."""

    def __init__(self, s: Situation, index: int) -> None:
        self.dialect, self.k = s.dialect, s.trained + 1
        self.decay, self.epsilon = mpf(s.configuration.decay), mpf(s.configuration.epsilon)
        self.x = [exact(value) for value in s.x[:, index]]
        self.g = [exact(value) for value in s.upstream[:, index]] if s.upstream is not None else []
        self.gamma, self.beta, self.old_mean, self.old_variance = (
            exact(s.state[name][index]) for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )

    def statistics(self, x: list[Any]) -> tuple[Any, Any]:
        mean = mpmath.fsum(x) / len(x)
        return mean, mpmath.fsum([(value - mean) ** 2 for value in x]) / len(x)

    def moved(self, old: Any, batch: Any) -> Any:
        a, k = self.decay, self.k
        match self.dialect.update:
            case "exponential":
                return a * old + (1 - a) * batch
            case "zero_debiased":
                hidden = a * old * (1 - a ** (k - 1)) + (1 - a) * batch
                return hidden / (1 - a**k)
            case "first_batch":
                return batch if k == 1 else a * old + (1 - a) * batch
            case "cumulative" | "merge":
                return (old * (k - 1) + batch) / k
            case "none":
                return old

    def moving(self, x: list[Any]) -> tuple[Any, Any]:
        mean, variance = self.statistics(x)
        count = len(x)
        if self.dialect.moving_correction:
            variance = variance * count / (count - 1)
        after = self.moved(self.old_mean, mean)
        if self.dialect.update == "merge":
            old = (self.k - 1) * count * (self.old_variance + (self.old_mean - after) ** 2)
            return after, (old + count * (variance + (mean - after) ** 2)) / (self.k * count)
        return after, self.moved(self.old_variance, variance)

    def normalizer(self, x: list[Any]) -> tuple[Any, Any]:
        match self.dialect.normalizes_with:
            case "batch":
                mean, variance = self.statistics(x)
                correction = self.dialect.normalizing_correction
                return mean, variance * len(x) / (len(x) - correction)
            case "moving_before":
                return self.old_mean, self.old_variance
            case "moving_after":
                return self.moving(x)

    def output(self, x: list[Any], gamma: Any, beta: Any) -> list[Any]:
        center, variance = self.normalizer(x)
        return [gamma * (value - center) / mpmath.sqrt(variance + self.epsilon) + beta for value in x]

    def loss(self, x: list[Any], gamma: Any, beta: Any) -> Any:
        return mpmath.fsum([g * y for g, y in zip(self.g, self.output(x, gamma, beta), strict=True)])

    def quantities(self) -> dict[str, list[Any]]:
        mean, variance = self.statistics(self.x)
        after = self.moving(self.x)
        found = {"batch_mean": mean, "batch_variance": variance, "moving_mean": after[0], "moving_variance": after[1]}
        result = {name: [value] for name, value in found.items()}
        result["output"] = self.output(self.x, self.gamma, self.beta)
        if self.g:
            result["grad_gamma"] = [slope(lambda h: self.loss(self.x, self.gamma + h, self.beta))]
            result["grad_beta"] = [slope(lambda h: self.loss(self.x, self.gamma, self.beta + h))]
            result["grad_input"] = [
                slope(lambda h, i=i: self.loss(self.nudged(i, h), self.gamma, self.beta)) for i in range(len(self.x))
            ]
        return result

    def nudged(self, index: int, h: Any) -> list[Any]:
        return [value + h if place == index else value for place, value in enumerate(self.x)]


def slope(function: Any) -> Any:
    """The derivative at 0 by a central difference, whose error is about h²: 40 digits."""
    h = mpf(10) ** -20
    return (function(h) - function(-h)) / (2 * h)


def batch(count: int, seed: int) -> tuple[Any, Any, dict[str, Any]]:
    """Values of four features, at 0, 1, 10^4 and 10^8 standard deviations from zero, and a state for each."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 4)) * [1, 1e-3, 1, 2] + np.array([0, 1e-3, 1e4, 2e8])
    state = {
        "gamma": random.normal(size=4),
        "beta": random.normal(size=4),
        "moving_mean": x[0] + random.normal(size=4),
        "moving_variance": random.uniform(0.5, 2, size=4),
    }
    return x, random.normal(size=(count, 4)), state


def tight(found: dict[str, Expected]) -> dict[str, Any]:
    """The narrowest bounds of an implementation: pairwise sums, two passes."""
    return {name: each.narrower["A"] for name, each in found.items()}


def worst(found: dict[str, Expected], bounds: dict[str, Any], s: Situation) -> dict[str, float]:
    """The largest error of each quantity over its bound."""
    result: dict[str, float] = {}
    for feature in range(s.x.shape[1]):
        for name, values in Feature(s, feature).quantities().items():
            if name not in found:
                continue
            column = found[name].value[..., feature].reshape(-1)
            allowed = np.broadcast_to(bounds[name], found[name].value.shape)[..., feature].reshape(-1)
            for given, right, bound in zip(column, values, allowed, strict=True):
                error = abs(exact(given) - right)
                score = float(error / mpf(float(bound))) if error else 0.0
                result[name] = max(result.get(name, 0.0), score)
    return result


DIALECTS = [
    (Dialect(), 0),
    (Dialect(normalizing_correction=1), 0),
    (Dialect(moving_correction=1), 0),
    (Dialect(normalizing_correction=1, moving_correction=1), 4),
    (Dialect(update="zero_debiased"), 0),
    (Dialect(update="zero_debiased"), 2),
    (Dialect(update="first_batch"), 0),
    (Dialect(update="first_batch"), 1),
    (Dialect(update="cumulative"), 0),
    (Dialect(update="cumulative"), 3),
    (Dialect(update="merge", moving_correction=0), 2),
    (Dialect(update="none"), 1),
    (Dialect(normalizes_with="moving_before"), 0),
    (Dialect(normalizes_with="moving_after"), 0),
    (Dialect(normalizes_with="moving_after", moving_correction=1), 0),
    (Dialect(normalizes_with="moving_after", update="cumulative", moving_correction=1), 2),
    (Dialect(normalizes_with="moving_after", update="zero_debiased"), 1),
]


def _named(value: object) -> str:
    fields = (
        [
            f"{name}-{getattr(value, name)}"
            for name in Dialect.__slots__
            if getattr(value, name) != getattr(Dialect(), name)
        ]
        if isinstance(value, Dialect)
        else [str(value)]
    )
    return "-".join(fields) or "canonical"


@pytest.mark.parametrize(("dialect", "trained"), DIALECTS, ids=_named)
@pytest.mark.parametrize("count", [2, 3, 8])
def test_training_is_a_thousand_times_closer_than_the_float64_bound(dialect: Dialect, trained: int, count: int) -> None:
    x, g, state = batch(count, seed=count)
    s = situation(x, g, state=state, dialect=dialect, trained=trained, epsilon=1e-3, graded=True)
    found = batch_norm.train(s, DOUBLE)
    scores = worst(found, tight(found), s)
    assert set(scores) == {*found}
    assert max(scores.values()) <= UNIT, scores


@pytest.mark.parametrize(("dialect", "trained"), DIALECTS, ids=_named)
@pytest.mark.parametrize("count", [2, 8, 33])
def test_what_judges_float32_is_a_hundred_million_times_closer_than_its_bound(
    dialect: Dialect, trained: int, count: int
) -> None:
    x, g, state = batch(count, seed=count)
    held = {name: value.astype(np.float32) for name, value in state.items()}
    narrow: dict[str, Any] = {
        "state": held,
        "dialect": dialect,
        "trained": trained,
        "epsilon": 1e-3,
        "wide": np.float64,
        "graded": True,
    }
    s = situation(x.astype(np.float32), g.astype(np.float32), **narrow)
    found = batch_norm.train(s, SINGLE)
    scores = worst(found, tight(found), s)
    assert set(scores) == {*found}
    assert max(scores.values()) <= 1e-8, scores


@pytest.mark.parametrize("count", [2, 5, 16])
def test_inference_is_a_thousand_times_closer_than_the_float64_bound(count: int) -> None:
    x, g, state = batch(count, seed=40 + count)
    s = situation(x, g, state=state, dialect=Dialect(normalizes_with="moving_before"), epsilon=1e-3, graded=True)
    found = batch_norm.infer(s, DOUBLE)
    scores = worst(found, tight(found), s)
    assert set(scores) == {"output", "grad_input", "grad_gamma", "grad_beta"}
    assert max(scores.values()) <= UNIT, scores


def test_a_wrong_reference_would_show_here() -> None:
    x, g, state = batch(8, seed=3)
    s = situation(x, g, state=state, epsilon=1e-3)
    wrong = batch_norm.train(situation(x, g, state=state, epsilon=1e-3 * (1 + 1e-12), graded=True), DOUBLE)
    assert max(worst(wrong, tight(wrong), s).values()) > 1


def test_the_dyadic_step_is_exact_in_fractions() -> None:
    gamma, beta, mean = Fraction(2), Fraction(-1), Fraction(3)
    g = [Fraction((3 * i) % 7 - 3) for i in range(16)]
    x_hat = [Fraction(d, 2) for d in D]  # variance 15/4 and epsilon 1/4 have the root 2
    grad_beta = sum(g, Fraction())
    grad_gamma = sum((a * b for a, b in zip(g, x_hat, strict=True)), Fraction())
    right = {
        "output": [gamma * each + beta for each in x_hat],
        "grad_beta": [grad_beta],
        "grad_gamma": [grad_gamma],
        "grad_input": [gamma / 2 * (a - grad_beta / 16 - b * grad_gamma / 16) for a, b in zip(g, x_hat, strict=True)],
        "batch_mean": [mean],
        "batch_variance": [Fraction(15, 4)],
        "moving_mean": [Fraction(3, 4) * 5 + Fraction(1, 4) * 3],
        "moving_variance": [Fraction(3, 4) * 2 + Fraction(1, 4) * Fraction(15, 4)],
    }
    state = {"gamma": 2.0, "beta": -1.0, "moving_mean": 5.0, "moving_variance": 2.0}
    x, upstream = [[d + 3.0] for d in D], [[float(each)] for each in g]
    found = batch_norm.train(situation(x, upstream, state=state, epsilon=0.25), SINGLE)
    assert {name: [Fraction(float(value)) for value in each.value.flat] for name, each in found.items()} == right


def test_one_and_five_have_mean_three_and_variance_four() -> None:
    found = batch_norm.train(situation([[1.0], [5.0]], state={"gamma": 1.0, "beta": 0.0}, epsilon=0.0), DOUBLE)
    assert [found[name].value.ravel().tolist() for name in ("batch_mean", "batch_variance", "output")] == [
        [3.0],
        [4.0],
        [-1.0, 1.0],
    ]


# Scenario S2a: means over the rows, not [277.75, 555.5, 833.25], those over the columns.
def test_the_statistics_of_a_table_are_those_of_its_columns() -> None:
    x = [[1.0, 10.0, 100.0, 1000.0], [2.0, 20.0, 200.0, 2000.0], [3.0, 30.0, 300.0, 3000.0]]
    assert batch_norm.train(situation(x), DOUBLE)["batch_mean"].value.tolist() == [2, 20, 200, 2000]


# Scenario S3b: the 24 positions of the first three axes hold 1 to 24, each five times.
@pytest.mark.parametrize(("axes", "means"), [([-1], [12.5] * 5), ([1], [8.5, 12.5, 16.5])])
def test_the_means_of_the_published_nchw_example(axes: list[int], means: list[float]) -> None:
    x = np.repeat(np.arange(1.0, 25.0), 5).reshape(2, 3, 4, 5)
    flat = flatten(x, case(shape=[2, 3, 4, 5], feature_axes=axes).configuration)
    assert batch_norm.train(situation(flat), DOUBLE)["batch_mean"].value.tolist() == means


def test_an_empty_batch_gives_nothing_and_moves_nothing() -> None:
    empty = np.zeros((0, 2))
    found = batch_norm.train(situation(empty, empty), DOUBLE)
    assert {name: each.value.tolist() for name, each in found.items()} == {
        "output": [],
        "grad_input": [],
        "grad_gamma": [0, 0],
        "grad_beta": [0, 0],
        "moving_mean": [0.75, 0.75],
        "moving_variance": [2.5, 2.5],
    }


def test_one_value_has_no_variance_and_gives_beta() -> None:
    found = batch_norm.train(situation([[7.0]], [[3.0]]), DOUBLE)
    assert {name: each.value.ravel().tolist() for name, each in found.items()} == {
        "output": [-0.25],
        "grad_input": [0.0],
        "grad_gamma": [0.0],
        "grad_beta": [3.0],
        "batch_mean": [7.0],
        "batch_variance": [0.0],
        "moving_mean": [0.75 * 0.75 + 0.25 * 7],
        "moving_variance": [0.75 * 2.5],
    }


def test_one_value_with_correction_1_enters_the_variance_zero() -> None:
    """Clause 8.2: V = 0.9 · 2.5 + 0.1 · 0, and beta comes out."""
    dialect = Dialect(normalizing_correction=1, moving_correction=1)
    found = batch_norm.train(situation([[7.0]], [[3.0]], dialect=dialect, decay=0.9), DOUBLE)
    assert float(found["moving_variance"].value[0]) == pytest.approx(2.25, rel=1e-15)
    assert float(found["output"].value[0, 0]) == -0.25


def test_one_value_passes_as_it_is_where_the_dialect_says_so() -> None:
    found = batch_norm.train(situation([[7.0]], [[3.0]], dialect=Dialect(single_value="identity")), DOUBLE)
    assert (found["output"].value.item(), found["grad_input"].value.item()) == (7, 3)
    assert found["moving_mean"].value.tolist() == [0.75]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_spoils_its_feature_alone(bad: float) -> None:
    x, g, state = batch(8, seed=9)
    clean = batch_norm.train(situation(x, g, state=state), DOUBLE)
    x[3, 1] = bad
    found = batch_norm.train(situation(x, g, state=state), DOUBLE)
    others = [0, 2, 3]
    for name, each in found.items():
        assert name == "grad_beta" or not np.isfinite(each.value[..., 1]).any(), name
        assert (each.value[..., others] == clean[name].value[..., others]).all(), name
    assert np.isfinite(found["grad_beta"].value).all()


#: By quantity, the first powers of two that are out of the range of float32: by the cube of the root, the sum of squares
#: or the sum.
RANGES = {"grad_input": 42, "grad_gamma": 42, "output": 62, "batch_variance": 62, "moving_mean": 126}


@pytest.mark.parametrize(("name", "power"), RANGES.items())
def test_beyond_the_range_of_float32_a_feature_is_outside_the_domain(name: str, power: int) -> None:
    """Of that feature alone, and not half as far."""
    for scale, inside in ((2.0**power, False), (2.0 ** (power // 2), True)):
        x, g = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]]) * [scale, 1.0], np.ones((3, 2))
        found = batch_norm.train(situation(x, g), SINGLE)
        assert found[name].in_domain.tolist() == [inside, True]


def test_upstream_gradients_beyond_the_range_of_float32_leave_the_gradients_outside_the_domain() -> None:
    x, g = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]]), np.full((3, 2), [2.0**127, 1.0])
    found = batch_norm.train(situation(x, g), SINGLE)
    for name in ("grad_input", "grad_gamma", "grad_beta"):
        assert found[name].in_domain.tolist() == [False, True]
    assert found["output"].in_domain.all()


def test_in_inference_no_square_is_taken_of_the_input() -> None:
    x = np.array([[1.0, 1.0], [2.0, 2.0]]) * [2.0**100, 1.0]
    assert batch_norm.infer(situation(x), SINGLE)["output"].in_domain.all()


def test_a_root_below_the_range_of_float32_is_outside_the_domain_of_the_gradients() -> None:
    x = np.array([[1.0, 1.0], [1.0, 2.0]])
    found = batch_norm.train(situation(x, np.ones((2, 2)), epsilon=2.0**-90), SINGLE)
    assert found["grad_input"].in_domain.tolist() == [False, True]
    assert found["output"].in_domain.all()


def test_by_an_infinite_moving_variance_nothing_is_normalized() -> None:
    """In its feature alone; the gradient of beta has no part in it."""
    x, g, state = batch(8, seed=9)
    clean = batch_norm.infer(situation(x, g, state=state), DOUBLE)
    state["moving_variance"] = np.array(state["moving_variance"])
    state["moving_variance"][1] = math.inf
    found = batch_norm.infer(situation(x, g, state=state), DOUBLE)
    for name in ("output", "grad_input", "grad_gamma"):
        assert not np.isfinite(found[name].value[..., 1]).any(), name
        assert (found[name].value[..., [0, 2, 3]] == clean[name].value[..., [0, 2, 3]]).all(), name
    assert (found["grad_beta"].value == clean["grad_beta"].value).all()


@pytest.mark.parametrize("normalizes_with", ["batch", "moving_before", "moving_after"])
@pytest.mark.parametrize("ratio", [0.0, 2.0**12])
def test_no_gradient_of_the_input_is_larger_than_the_terms_it_is_made_of(normalizes_with: Any, ratio: float) -> None:
    """A bound below the size of the terms says something; one above it would call a plain deviation undecided."""
    x = ratio + np.array([[1.0], [-1.0], [0.5], [-0.5]])
    given = situation(x, dialect=Dialect(normalizes_with=normalizes_with), upstream=x[::-1] ** 3)
    found = batch_norm.train(given, SINGLE)["grad_input"]
    assert (np.abs(found.value) <= found.magnitude * (1 + 1e-12)).all()

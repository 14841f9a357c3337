"""The second reference of batch normalization, by identities that hold exactly and in sixty digits."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath
import pytest
from mpmath import mpf

from conformance.operations import rational
from conformance.operations.batch_norm import rational as batch_norm
from conformance.operations.batch_norm.rational import Moments, entered
from conformance.operations.rational import Feature, Numbers
from tests.operations.exact_features import NOTHING, F, drawn, of, rule, total


@pytest.mark.parametrize("seed", range(5))
def test_the_gradients_of_the_input_sum_to_zero(seed: int) -> None:
    """A shift of the batch changes no output."""
    found = batch_norm.train(drawn(seed, 7), rule(F(1, 1000)))
    assert abs(total(of(found, "grad_input"))) < NOTHING


@pytest.mark.parametrize("epsilon", [0, F(1, 1000), 1])
def test_the_moment_of_the_input_gradient_is_gamma_epsilon_r_squared_times_that_of_gamma(epsilon: Fraction) -> None:
    """Σ(x - μ)dx = γ ε r² dγ: Euler's identity for a scaling of the batch; zero for ε = 0 alone."""
    given = drawn(11, 6)
    found = batch_norm.train(given, rule(epsilon))
    moment = total((x - rational.mean(given.x)) * dx for x, dx in zip(given.x, of(found, "grad_input"), strict=True))
    share = given.state["gamma"] * epsilon / (of(found, "batch_variance")[0] + epsilon)
    assert abs(moment - share * of(found, "grad_gamma")[0]) < NOTHING


def test_outputs_sum_to_beta_times_their_count() -> None:
    """Exactly, whatever the root."""
    given = drawn(12, 9)
    assert total(of(batch_norm.train(given, rule(1)), "output")) == 9 * given.state["beta"]


def test_gamma_times_its_gradient_is_that_of_the_output_without_beta() -> None:
    """γ dγ = Σg(y - β), exactly."""
    given = drawn(13, 5)
    found = batch_norm.train(given, rule(1))
    assert given.upstream is not None
    pairs = zip(given.upstream, of(found, "output"), strict=True)
    assert given.state["gamma"] * of(found, "grad_gamma")[0] == total(g * (y - given.state["beta"]) for g, y in pairs)


@pytest.mark.parametrize("normalizes_with", ["moving_before", "batch"])
def test_training_is_inference_where_the_moving_values_are_those_of_the_batch(normalizes_with: str) -> None:
    """Output, dγ and dβ are the same numbers."""
    given = drawn(14, 8)
    moving = Moments(mean=rational.mean(given.x), variance=rational.variance(given.x))
    trained = batch_norm.train(entered(given, moving), rule(1, normalizes_with=normalizes_with))
    inferred = batch_norm.infer(entered(given, moving), rule(1))
    assert all(trained[name] == inferred[name] for name in ("output", "grad_gamma", "grad_beta"))


def test_the_moving_values_after_a_first_batch_normalize_as_the_batch_does() -> None:
    """Gradients too: the whole of them depends on the batch."""
    given = drawn(15, 6)
    after = batch_norm.train(given, rule(1, normalizes_with="moving_after", update="first_batch"))
    assert after == batch_norm.train(given, rule(1, update="first_batch"))


def test_moving_values_that_keep_none_of_the_batch_give_the_gradient_of_inference() -> None:
    """With a decay of 1 the batch has no share in what normalizes."""
    given = drawn(16, 6)
    after = batch_norm.train(given, rule(1, decay=1, normalizes_with="moving_after"))
    assert after["grad_input"] == batch_norm.infer(given, rule(1))["grad_input"]


@pytest.mark.parametrize("update", ["exponential", "zero_debiased", "first_batch", "cumulative", "merge", "none"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"normalizing_correction": 1},
        {"normalizes_with": "moving_before"},
        {"normalizes_with": "moving_after"},
        {"normalizes_with": "moving_after", "moving_correction": 1},
    ],
)
def test_the_input_gradient_is_the_slope_of_the_output(update: str, fields: dict[str, Any]) -> None:
    """A central difference of Σg·y with h = 2^-60, whose own error is of h²: 30 digits."""
    given, by, h = drawn(17, 4), rule(F(1, 10), decay=F(3, 5), trained=2, update=update, **fields), F(1, 2**60)

    def loss(x: Numbers) -> Fraction:
        assert given.upstream is not None
        outputs = of(batch_norm.train(replace(given, x=x, upstream=None), by), "output")
        return total(g * y for g, y in zip(given.upstream, outputs, strict=True))

    found = of(batch_norm.train(given, by), "grad_input")
    for index, slope in enumerate(found):
        up, down = ([*given.x[:index], given.x[index] + step, *given.x[index + 1 :]] for step in (h, -h))
        assert abs((loss(up) - loss(down)) / (2 * h) - slope) < F(1, 10**30)


def _high(value: Fraction) -> Any:
    return mpf(value.numerator) / value.denominator


def _sixty_digits(given: Feature, epsilon: Fraction) -> dict[str, list[Any]]:
    """The closed form of a canonical train step in mpmath."""
    assert given.upstream is not None
    x, g = [_high(value) for value in given.x], [_high(slope) for slope in given.upstream]
    count, gamma, beta = len(x), _high(given.state["gamma"]), _high(given.state["beta"])
    mean = mpmath.fsum(x) / count
    variance = mpmath.fsum([(value - mean) ** 2 for value in x]) / count
    root = mpmath.sqrt(variance + _high(epsilon))
    normal = [(value - mean) / root for value in x]
    to_gamma, to_beta = mpmath.fdot(g, normal), mpmath.fsum(g)
    pairs = list(zip(g, normal, strict=True))
    return {
        "batch_mean": [mean],
        "batch_variance": [variance],
        "output": [gamma * value + beta for value in normal],
        "grad_gamma": [to_gamma],
        "grad_beta": [to_beta],
        "grad_input": [gamma / root * (a - to_beta / count - b * to_gamma / count) for a, b in pairs],
    }


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [2, 3, 17])
def test_a_train_step_agrees_with_sixty_digits(seed: int, count: int) -> None:
    """Random data, the closed form in mpmath: fifty digits of every number."""
    given, epsilon = drawn(100 + seed, count), F(1, 1000)
    found = batch_norm.train(given, rule(epsilon))
    with mpmath.workdps(60):
        for name, right in _sixty_digits(given, epsilon).items():
            for exact, value in zip(of(found, name), right, strict=True):
                assert abs(_high(exact) - value) < mpf(10) ** -50 * max(1, abs(value)), name

"""No healthy implementation leaves its bound, and every planted fault does."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance.dialect import Dialect
from conformance.operations import batch_norm
from conformance.operations.expected import Expected
from conformance.operations.score import fit
from conformance.operations.situation import Situation
from conformance.precision import precision, working
from tests.operations.batch_norm.arithmetic import HEALTHY, Array, F, Healthy, one_pass, sequential, two_pass
from tests.operations.batch_norm.trials import trials
from tests.situations import situation

SINGLE = working("float32")


@functools.cache
def prepared() -> list[tuple[str, Situation, Array, Array, dict[str, Expected]]]:
    """The trials of training with their expectations, which every implementation shares."""
    drawn = trials(900, seed=2024, epsilons=(1.0, 1e-3, 1e-5, 2.0**-16, 1e-12))
    return [(data, s, x, g, batch_norm.train(replace(s, graded=True), SINGLE)) for data, s, x, g in drawn]


def scores(found: dict[str, Array], expected: dict[str, Expected], dtype: str = "float32") -> dict[str, float]:
    """The score of each quantity, of the features within the domain."""
    result = {}
    for name, value in found.items():
        target = expected[name]
        inside = np.where(target.in_domain, value, target.value).astype(value.dtype)
        judged = fit(inside, target, working(dtype))
        result[name] = 0.0 if judged.outside_domain else judged.score
    return result


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_float32_implementation_never_leaves_the_bound(name: str) -> None:
    for data, s, x, g, expected in prepared():
        with np.errstate(all="ignore"):
            found = HEALTHY[name].train(s, x, g)
        over = {quantity: score for quantity, score in scores(found, expected).items() if score > 1}
        assert not over, (data, len(x), s.configuration, over)


def largest(name: str, grade: str) -> float:
    """The largest score by the bounds of a narrower class, of the cases within the domain."""
    result = 0.0
    for _, s, x, g, expected in prepared():
        if not expected["grad_input"].in_domain.all():
            continue
        with np.errstate(all="ignore"):
            found = HEALTHY[name].train(s, x, g)
        result = max(
            result, *(fit(value, expected[quantity], SINGLE).narrower[grade] for quantity, value in found.items())
        )
    return result


@pytest.mark.parametrize(
    ("name", "grade"),
    [
        ("two-pass-pairwise", "A"),
        ("two-pass-pairwise-folded", "A"),
        ("two-pass-sequential", "D"),
        ("two-pass-sequential-folded", "D"),
    ],
)
def test_an_implementation_keeps_the_bounds_of_its_own_class(name: str, grade: str) -> None:
    assert largest(name, grade) <= 1


@pytest.mark.parametrize(("name", "grade"), [("two-pass-sequential", "A"), ("welford", "D")])
def test_an_implementation_of_a_wider_class_leaves_the_bounds_of_the_narrower(name: str, grade: str) -> None:
    assert largest(name, grade) > 1


@pytest.mark.parametrize("name", ["two-pass-sequential", "two-pass-sequential-folded", "two-pass-pairwise"])
def test_healthy_float32_inference_never_leaves_the_bound(name: str) -> None:
    for data, s, x, g in trials(540, seed=77, epsilons=(1.0, 1e-3, 1e-5, 1e-12)):
        expected = batch_norm.infer(s, SINGLE)
        with np.errstate(all="ignore"):
            found = HEALTHY[name].infer(s, x, g)
        over = {quantity: score for quantity, score in scores(found, expected).items() if score > 1}
        assert not over, (data, len(x), s.configuration, over)


def test_most_of_the_random_cases_are_decided() -> None:
    decided: dict[str, list[bool]] = {}
    for _, s, x, g, expected in prepared():
        with np.errstate(all="ignore"):
            found = HEALTHY["two-pass-numpy"].train(s, x, g)
        for name, target in expected.items():
            judged = fit(found[name], target, SINGLE)
            decided.setdefault(name, []).append(judged.decidable and bool(target.in_domain.all()))
    assert {name: sum(cases) / len(cases) > 0.8 for name, cases in decided.items()} == dict.fromkeys(decided, True)


@pytest.mark.parametrize(
    ("quantity", "attained"),
    [("output", 0.1), ("batch_mean", 0.1), ("batch_variance", 0.1), ("grad_beta", 0.1), ("moving_mean", 0.1)],
)
def test_the_two_pass_bound_is_not_far_from_what_is_attained(quantity: str, attained: float) -> None:
    largest = 0.0
    for _, s, x, g, expected in prepared():
        with np.errstate(all="ignore"):
            found = HEALTHY["two-pass-sequential-folded"].train(s, x, g)
        largest = max(largest, fit(found[quantity], expected[quantity], SINGLE).narrower["D"])
    assert attained < largest <= 1


def plain(seed: int, count: int = 8, mean: float = 0.0, **configured: Any) -> tuple[Situation, Array, Array]:
    """Values of standard deviation 1 in float32, whose faults no bound should hide."""
    random = np.random.default_rng(seed)
    x, g = (random.normal(size=(count, 8)) + mean).astype(F), random.normal(size=(count, 8)).astype(F)
    chosen = {"decay": 0.9, "epsilon": 1e-3, "dtype": "float32", "parameter_dtype": "float32", **configured}
    return situation(x, g, **chosen), x, g


@pytest.mark.parametrize("quantity", ["batch_variance", "moving_variance", "output"])
def test_a_difference_of_squares_leaves_the_bound_at_a_ratio_of_2_to_the_12(quantity: str) -> None:
    s, x, g = plain(seed=1, mean=2.0**12, decay=0.0)
    expected = batch_norm.train(s, SINGLE)
    with np.errstate(all="ignore"):
        found = Healthy(statistics=one_pass).train(s, x, g)
    assert scores(found, expected)[quantity] > 10


@pytest.mark.parametrize(
    ("fault", "quantities"),
    [
        ("outside", ["output", "grad_input", "grad_gamma"]),
        ("dropped", ["output", "grad_input", "grad_gamma"]),
        ("correction", ["output", "grad_input", "grad_gamma"]),
        ("gradient", ["grad_input"]),
        ("inverted", ["moving_mean", "moving_variance"]),
    ],
)
def test_a_planted_fault_leaves_the_bound_where_it_acts_and_nowhere_else(fault: str, quantities: list[str]) -> None:
    s, x, g = plain(seed=2)
    found = scores(Healthy(fault=fault).train(s, x, g), batch_norm.train(s, SINGLE))
    assert sorted(name for name, score in found.items() if score > 10) == sorted(quantities)
    assert all(score <= 1 for name, score in found.items() if name not in quantities)


@pytest.mark.parametrize(("fault", "caught"), [("", False), ("outside", True), ("dropped", True)])
def test_a_planted_fault_leaves_the_bound_in_inference(fault: str, caught: bool) -> None:
    s, x, g = plain(seed=3)
    found = scores(Healthy(fault=fault).infer(s, x, g), batch_norm.infer(s, SINGLE))
    assert (found["output"] > 10) is caught


# numerics 1.9: on the dyadic probe an epsilon raised by a thousandth shows.
@pytest.mark.parametrize(("factor", "caught"), [(1.0, False), (1.001, True)])
def test_a_slightly_wrong_epsilon_leaves_the_bound_on_dyadic_data(factor: float, caught: bool) -> None:
    deviations = np.array([3, -3, *(2, -2) * 5, 1, -1, 0, 0], F)
    x = np.tile(deviations[:, None] * F(2.0**-5), (1, 8))
    s = situation(x, x, epsilon=0.25 * 2.0**-10, dtype="float32", parameter_dtype="float32")
    wrong = situation(x, x, epsilon=0.25 * 2.0**-10 * factor, dtype="float32", parameter_dtype="float32")
    found = Healthy().train(wrong, x, x)
    assert (scores(found, batch_norm.train(s, SINGLE))["output"] > 1) is caught


def by_means(old: Array, mean: Array, k: Any) -> Array:
    return np.asarray((old - mean) ** 2 * (k - 1) / k)


def by_sums(old: Array, mean: Array, k: Any) -> Array:
    """The distance between the means of sums, for batches of seven values: each sum is rounded."""
    return np.asarray((old * (k - 1) * F(7) / ((k - 1) * F(7)) - mean * F(7) / F(7)) ** 2 * (k - 1) / k)


@pytest.mark.parametrize(
    ("update", "spread"), [("cumulative", lambda old, mean, k: F(0)), ("merge", by_means), ("merge", by_sums)]
)
def test_healthy_cumulative_moving_values_never_leave_the_bound(update: Any, spread: Any) -> None:
    for index, (data, s, x, _) in enumerate(trials(540, seed=31, epsilons=(1e-3,))):
        trained = 1 + index % 5
        near = {
            **s.state,
            "moving_mean": x.astype(np.longdouble).mean(axis=0) * (1 + np.longdouble(2) ** -(index % 30)),
        }
        state = {name: value.astype(F) for name, value in near.items()}
        s = situation(x, state=state, dialect=Dialect(update=update), trained=trained)  # noqa: PLW2901
        k = F(trained + 1)
        with np.errstate(all="ignore"):
            mean, variance = two_pass(x, sequential)
            old, old_variance = state["moving_mean"], state["moving_variance"]
            moved = {
                "moving_mean": old + (mean - old) / k,
                "moving_variance": (old_variance * (k - 1) + variance + spread(old, mean, k)) / k,
            }
        found = scores(moved, batch_norm.train(s, SINGLE))
        assert max(found.values()) <= 1, (data, trained, found)


HALF = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def half(dtype: str, seed: int, count: int, mean: float) -> tuple[Situation, Array, Array]:
    random = np.random.default_rng(seed)
    x = (random.normal(size=(count, 8)) + mean).astype(F).astype(HALF[dtype])
    g = random.normal(size=(count, 8)).astype(F).astype(HALF[dtype])
    return situation(x, g, dtype=dtype, parameter_dtype=dtype, decay=0.9, epsilon=1e-3), x, g


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", ["two-pass-sequential-folded", "two-pass-pairwise", "welford"])
def test_float32_arithmetic_rounded_to_half_stays_within_the_mixed_bound(dtype: str, name: str) -> None:
    for seed in range(60):
        s, x, g = half(dtype, seed, count=(2, 8, 33, 100)[seed % 4], mean=(0.0, 1.0, 16.0)[seed % 3])
        exact = HEALTHY[name].train(s, x.astype(F), g.astype(F))
        found = {quantity: value.astype(HALF[dtype]) for quantity, value in exact.items()}
        assert max(scores(found, batch_norm.train(s, working(dtype)), dtype).values()) <= 1, seed


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("quantity", ["output", "batch_mean", "batch_variance", "grad_input", "grad_gamma"])
def test_arithmetic_in_half_leaves_the_mixed_bound(dtype: str, quantity: str) -> None:
    s, x, g = half(dtype, seed=1, count=33, mean=1.0)
    found = Healthy(sums=sequential).train(s, x, g)
    assert scores(found, batch_norm.train(s, working(dtype)), dtype)[quantity] > 1


@pytest.mark.parametrize("dtype", HALF)
def test_arithmetic_in_half_keeps_the_bound_of_half(dtype: str) -> None:
    for seed in range(60):
        s, x, g = half(dtype, seed, count=(2, 3, 8)[seed % 3], mean=0.0)
        expected = batch_norm.train(s, precision(dtype))
        found = Healthy(sums=sequential).train(s, x, g)
        assert all(fit(value, expected[name], precision(dtype)).within for name, value in found.items()), seed


@pytest.mark.parametrize("form", [False, True])
def test_healthy_float64_never_leaves_its_bound(form: bool) -> None:
    for _, s, x, g in trials(180, seed=8, epsilons=(1e-3, 1e-12)):
        state = {name: value.astype(np.float64) for name, value in s.state.items()}
        wide = situation(x, g, state=state, decay=s.configuration.decay, epsilon=s.configuration.epsilon)
        expected = batch_norm.train(wide, precision("float64"))
        found = Healthy(sums=sequential, folded=form).train(wide, x.astype(np.float64), g.astype(np.float64))
        assert all(fit(value, expected[name], precision("float64")).within for name, value in found.items())


@pytest.mark.parametrize("normalizes_with", ["moving_before", "moving_after"])
def test_healthy_normalization_with_moving_values_never_leaves_the_bound(normalizes_with: Any) -> None:
    dialect = Dialect(normalizes_with=normalizes_with)
    for data, s, x, g in trials(540, seed=13, epsilons=(1e-3, 1e-5)):
        s = situation(  # noqa: PLW2901
            x, g, state=dict(s.state), decay=s.configuration.decay, epsilon=s.configuration.epsilon, dialect=dialect
        )
        with np.errstate(all="ignore"):
            after = Healthy().train(s, x, g)
            state = {name: value.astype(F) for name, value in s.state.items()}
            if normalizes_with == "moving_after":
                state |= {name: after[name] for name in ("moving_mean", "moving_variance")}
            inverse = Healthy().inverse(state["moving_variance"], F(s.configuration.epsilon))
            output = Healthy().output(x, state["moving_mean"], inverse, state)
        found = scores({"output": output}, batch_norm.train(s, SINGLE))
        assert found["output"] <= 1, (data, found)


def test_normalization_with_the_moving_values_before_is_held_to_the_bound_of_inference() -> None:
    s, _, _ = plain(seed=4, mean=100.0)
    before = batch_norm.train(replace(s, dialect=Dialect(normalizes_with="moving_before")), SINGLE)
    assert (before["output"].bound == batch_norm.infer(s, SINGLE)["output"].bound).all()
    assert (before["output"].bound < batch_norm.train(s, SINGLE)["output"].bound.max()).all()


def test_healthy_arithmetic_with_bessel_s_correction_never_leaves_the_bound() -> None:
    dialect = Dialect(normalizing_correction=1, moving_correction=1)
    for data, s, x, g, _ in prepared()[:540]:
        expected = batch_norm.train(replace(s, dialect=dialect), SINGLE)
        with np.errstate(all="ignore"):
            found = Healthy(sums=sequential, fault="correction").train(s, x, g)
            bessel = F(len(x)) / F(len(x) - 1)
            moving = s.state["moving_variance"].astype(F)
            found["moving_variance"] = Healthy().moved(moving, found["batch_variance"] * bessel, s.configuration.decay)
        # The closed form here is that of correction 0, whose dx differs.
        del found["grad_input"]
        over = {quantity: score for quantity, score in scores(found, expected).items() if score > 1}
        assert not over, (data, len(x), s.configuration, over)

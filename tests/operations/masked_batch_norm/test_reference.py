"""Masked batch normalization: right by hand and by identities, and no healthy way to compute it leaves its bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from conformance.operations import batch_norm, masked_batch_norm
from conformance.operations.expected import Expected
from conformance.operations.situation import Situation
from conformance.precision import working
from tests.faults import healthy
from tests.faults.healthy import Statistics, Sums
from tests.situations import situation

Array = np.ndarray[Any, np.dtype[Any]]
F = np.float32
SINGLE, DOUBLE = working("float32"), working("float64")
EVERYTHING = {
    "batch_mean",
    "batch_variance",
    "moving_mean",
    "moving_variance",
    "output",
    "grad_input",
    "grad_gamma",
    "grad_beta",
}


def masked(x: Any, mask: Any, upstream: Any = None, **fields: Any) -> Situation:
    found = situation(x, upstream, op="masked_batch_norm", **fields)
    return replace(found, shape=found.x.shape, arrays={"mask": np.asarray(mask, dtype=np.bool_)})


def trained(s: Situation) -> dict[str, Expected]:
    return masked_batch_norm.train(s, DOUBLE)


def values(found: Mapping[str, Expected], name: str) -> list[Any]:
    return np.asarray(found[name].value, dtype=np.float64).reshape(-1).tolist()


#: 5, 1, 1, 1 count: mean 2, variance 3, and epsilon 1 makes the root 2.
X = [[5.0], [100.0], [1.0], [1.0], [-6.0], [1.0]]
MASK = [1, 0, 1, 1, 0, 1]
PULL = [[4.0], [1.0], [0.0], [-4.0], [2.0], [1.0]]


def test_a_masked_step_is_as_it_is_by_hand() -> None:
    """x̂ is 1.5, 49, -0.5, -0.5, -4, -0.5: dβ 4, dγ 6 + 49 + 0 + 2 - 8 - 0.5 = 48.5."""
    state = {"gamma": 2.0, "beta": 1.0, "moving_mean": 6.0, "moving_variance": 7.0}
    found = trained(masked(X, MASK, PULL, epsilon=1.0, decay=0.75, state=state))
    assert values(found, "batch_mean") == [2.0]
    assert values(found, "batch_variance") == [3.0]
    assert values(found, "moving_mean") == [5.0]
    assert values(found, "moving_variance") == [6.0]
    assert values(found, "output") == [4.0, 99.0, 0.0, 0.0, -7.0, 0.0]
    assert values(found, "grad_beta") == [4.0]
    assert values(found, "grad_gamma") == [48.5]
    share = [4 - (4 + 1.5 * 48.5) / 4, 1.0, *(g - (4 - 0.5 * 48.5) / 4 for g in (0, -4)), 2.0, 1 - (4 - 24.25) / 4]
    assert values(found, "grad_input") == share


def test_a_mask_that_is_true_everywhere_is_none() -> None:
    """Clause 22.4, in values and in bounds of everything but the input gradient."""
    random = np.random.default_rng(1)
    x, g = random.normal(size=(2, 12, 3))
    found, plain = trained(masked(x, [1] * 12, g)), batch_norm.train(situation(x, g), DOUBLE)
    assert found.keys() == plain.keys() == EVERYTHING
    for name in EVERYTHING:
        np.testing.assert_allclose(found[name].value, plain[name].value, rtol=1e-17, atol=1e-17)
        assert name == "grad_input" or np.array_equal(found[name].bound, plain[name].bound)


def test_what_counts_is_normalized_as_if_it_were_alone() -> None:
    """With no upstream gradient elsewhere, the positions that count are a batch of plain batch normalization."""
    random = np.random.default_rng(2)
    x, g = random.normal(size=(2, 12, 3))
    mask = np.arange(12) % 3 > 0
    g[~mask] = 0
    found, plain = trained(masked(x, mask, g)), batch_norm.train(situation(x[mask], g[mask]), DOUBLE)
    for name in EVERYTHING:
        of = found[name].value
        of = of[mask] if of.shape[0] == 12 else of
        np.testing.assert_allclose(of, plain[name].value, rtol=1e-17, atol=1e-17)


def test_the_input_gradient_is_the_derivative() -> None:
    """By central differences of Σg·y."""
    random = np.random.default_rng(3)
    x, g = random.normal(size=(2, 7, 1))
    mask = [1, 0, 1, 1, 0, 0, 1]
    found = trained(masked(x, mask, g))["grad_input"].value[:, 0]
    step = np.longdouble(2.0**-16)
    for row in range(7):
        losses = []
        for sign in (1, -1):
            moved = x.astype(np.longdouble)
            moved[row] += sign * step
            losses.append((trained(masked(moved, mask))["output"].value * g).sum())
        assert abs((losses[0] - losses[1]) / (2 * step) - found[row]) < 1e-8


@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e300])
def test_padding_leaves_no_trace_in_the_statistics(padding: float) -> None:
    """Its own element of the output alone may be no number."""
    x = np.where(np.asarray(MASK)[:, np.newaxis], X, padding)
    found, plain = trained(masked(x, MASK)), trained(masked(X, MASK))
    for name in ("batch_mean", "batch_variance", "moving_mean", "moving_variance"):
        assert values(found, name) == values(plain, name)
        assert np.array_equal(found[name].bound, plain[name].bound)
    counted = np.asarray(MASK, dtype=np.bool_)
    assert np.array_equal(found["output"].value[counted], plain["output"].value[counted])
    assert np.isfinite(found["output"].bound[counted]).all()


def test_where_nothing_counts_the_state_alone_is_known() -> None:
    """Clause 22.8: as it was, to the bit."""
    found = trained(masked(X, [0] * 6, PULL))
    assert found.keys() == {"moving_mean", "moving_variance"}
    assert values(found, "moving_mean") == [0.75]
    assert values(found, "moving_variance") == [2.5]
    assert not found["moving_mean"].bound.any()


def test_where_one_counts_every_position_is_normalized_by_it() -> None:
    """Clause 22.9: the variance is 0, and the root is that of epsilon."""
    found = trained(masked(X, [1, 0, 0, 0, 0, 0], epsilon=0.25, state={"gamma": 1.0, "beta": 0.0}))
    assert values(found, "batch_variance") == [0.0]
    assert values(found, "output") == [2 * (x - 5) for (x,) in X]


# Healthy ways to compute it.


@dataclass(frozen=True)
class Way:
    """One way to compute a masked step in the dtype of its input."""

    statistics: Statistics = healthy.two_pass
    sums: Sums = healthy.by_numpy
    output: Callable[..., Array] = healthy.normalized_first
    gradients: str = "chosen"
    #: Whether what does not count is multiplied by 0 and added, or left out.
    multiplied: bool = False

    def train(self, s: Situation, x: Array, g: Array, mask: Array) -> dict[str, Array]:
        t, state = x.dtype.type, {name: each.astype(x.dtype) for name, each in s.state.items()}
        decay, epsilon = t(s.configuration.decay), t(s.configuration.epsilon)
        mean, variance = self.weighed(x, mask) if self.multiplied else self.statistics(x[mask], self.sums)
        inverse = np.asarray(1 / np.sqrt(variance + epsilon))
        differentiated = {"chosen": self.closed, "branches": self.branches, "folded": self.folded}[self.gradients]
        grad_gamma, grad_beta, grad_input = differentiated(x, g, mask, mean, inverse, state["gamma"])
        return {
            "batch_mean": mean,
            "batch_variance": variance,
            "output": self.output(x, mean, inverse, state["gamma"], state["beta"]),
            "grad_gamma": grad_gamma,
            "grad_beta": grad_beta,
            "grad_input": grad_input,
            "moving_mean": decay * state["moving_mean"] + (1 - decay) * mean,
            "moving_variance": decay * state["moving_variance"] + (1 - decay) * variance,
        }

    def weighed(self, x: Array, mask: Array) -> tuple[Array, Array]:
        """Sums over all positions, multiplied by a rounded reciprocal of the count."""
        w = mask[:, np.newaxis].astype(x.dtype)
        share = x.dtype.type(1) / w.sum()
        mean = self.sums(x * w) * share
        return mean, self.sums(np.square(x - mean) * w) * share

    def closed(self, x: Array, g: Array, mask: Array, mean: Array, inverse: Array, gamma: Array) -> tuple[Array, ...]:
        count, normalized = x.dtype.type(mask.sum()), (x - mean) * inverse
        grad_beta, grad_gamma = self.sums(g), self.sums(g * normalized)
        through = np.where(mask[:, np.newaxis], grad_beta / count + normalized * (grad_gamma / count), 0)
        return grad_gamma, grad_beta, gamma * inverse * (g - through.astype(x.dtype))

    def branches(self, x: Array, g: Array, mask: Array, mean: Array, inverse: Array, gamma: Array) -> tuple[Array, ...]:
        """Automatic differentiation, the variance's own dependence on the mean among its branches."""
        t, w = x.dtype.type, mask[:, np.newaxis]
        count, deviation = t(mask.sum()), x - mean
        pulled = g * gamma
        to_variance = self.sums(pulled * deviation) * t(-0.5) * (inverse * inverse * inverse)
        spread = np.where(w, t(2) * deviation * (to_variance / count), t(0))
        to_mean = -self.sums(pulled * inverse) - self.sums(spread)
        there = np.where(w, to_mean / count, t(0))
        return self.sums(g * (deviation * inverse)), self.sums(g), pulled * inverse + spread + there

    def folded(self, x: Array, g: Array, mask: Array, mean: Array, inverse: Array, gamma: Array) -> tuple[Array, ...]:
        """Automatic differentiation of x·s + (β - μ·s), s = γ r."""
        t, w = x.dtype.type, mask[:, np.newaxis]
        count, grad_beta = t(mask.sum()), self.sums(g)
        grad_scale = self.sums(g * x) - mean * grad_beta
        to_variance = t(-0.5) * gamma * grad_scale * (inverse * inverse * inverse)
        scale = gamma * inverse
        spread = np.where(w, to_variance * (t(2) * (x - mean) / count), t(0))
        to_mean = -(grad_beta * scale) - self.sums(spread)
        return grad_scale * inverse, grad_beta, g * scale + spread + np.where(w, to_mean / count, t(0))


WAYS: dict[str, Way] = {
    "left out": Way(),
    "left out, sequential": Way(sums=healthy.sequential, gradients="branches"),
    "left out, largest first": Way(sums=healthy.by_size),
    "multiplied": Way(multiplied=True, gradients="branches"),
    "multiplied, sequential": Way(multiplied=True, sums=healthy.sequential, gradients="branches"),
    "multiplied, pairwise": Way(multiplied=True, sums=healthy.pairwise, gradients="branches"),
    "folded": Way(output=healthy.folded, gradients="folded"),
    "folded, sequential": Way(output=healthy.folded, gradients="folded", sums=healthy.sequential),
    "welford": Way(statistics=healthy.welford),
    "chan": Way(statistics=healthy.chan_as_a_tree, gradients="branches"),
    "reciprocal": Way(statistics=healthy.by_reciprocal, sums=healthy.shuffled),
}
COLUMNS = 60


@dataclass(frozen=True)
class Batch:
    """Cases of one mask, one in each column."""

    situation: Situation
    x: Array
    g: Array
    mask: Array


def batches() -> Iterator[Batch]:
    random = np.random.default_rng(22)
    for count in (2, 3, 5, 8, 33, 100, 257):
        for counted in sorted({1, 2, (count + 1) // 2, count}):
            for epsilon in (1.0, 1e-3, 1e-12):
                mask = random.permutation(np.arange(count) < counted)
                kind = np.arange(COLUMNS) % 4
                x = random.normal(size=(count, COLUMNS)) + np.where(kind == 1, 10.0 ** random.uniform(0, 4, COLUMNS), 0)
                x = np.where(kind == 2, random.standard_cauchy(size=x.shape), x)
                # Values that do not count are often far away, and so are their upstream gradients.
                away = 10.0 ** random.uniform(-3, 6, size=COLUMNS)
                x = np.where(mask[:, np.newaxis], x, x * away).astype(F)
                g = random.normal(size=x.shape) * 10.0 ** random.uniform(-6, 6, size=COLUMNS)
                g = np.where(mask[:, np.newaxis], g, g * 10.0 ** random.uniform(-6, 3, size=COLUMNS)).astype(F)
                state = dict(
                    zip(("gamma", "beta", "moving_mean"), random.normal(size=(3, COLUMNS)).astype(F), strict=True)
                )
                state["moving_variance"] = np.abs(random.normal(size=COLUMNS)).astype(F)
                held = {"dtype": "float32", "parameter_dtype": "float32", "epsilon": epsilon, "decay": 0.9}
                s = masked(x, mask, g, state=state, wide=np.float64, **held)
                yield Batch(situation=s, x=x, g=g, mask=mask)


@pytest.fixture(name="drawn", scope="module")
def _drawn() -> list[tuple[Batch, dict[str, Expected]]]:
    return [(batch, masked_batch_norm.train(batch.situation, SINGLE)) for batch in batches()]


def worst(way: Way, drawn: list[tuple[Batch, dict[str, Expected]]]) -> dict[str, tuple[float, str]]:
    """Return the largest score of each quantity, where its bound says something, and the case that has it."""
    found: dict[str, tuple[float, str]] = {}
    for batch, expected in drawn:
        with np.errstate(all="ignore"):
            got = way.train(batch.situation, batch.x, batch.g, batch.mask)
        for name, each in expected.items():
            assert got[name].dtype == F
            with np.errstate(all="ignore"):
                error = np.abs(got[name] - each.value)
                score = np.where(error == 0, 0.0, error / each.bound)
                said = (each.bound < each.magnitude) & each.in_domain
            score = np.where(said, np.where(np.isnan(score), np.inf, score), 0.0)
            place = f"m {len(batch.x)}, k {batch.mask.sum()}, column {score.reshape(-1, COLUMNS).max(axis=0).argmax()}"
            found[name] = max(found.get(name, (0.0, "")), (float(score.max()), place))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_no_healthy_way_leaves_its_bound(way: str, drawn: list[tuple[Batch, dict[str, Expected]]]) -> None:
    """Some four thousand cases each, down to one value that counts."""
    found = worst(WAYS[way], drawn)
    assert found.keys() == EVERYTHING
    assert {name: each for name, each in found.items() if each[0] > 1} == {}


def test_the_bounds_are_not_loose(drawn: list[tuple[Batch, dict[str, Expected]]]) -> None:
    """Sequential sums come within a tenth of the bounds on the statistics' means, and of those on most quantities."""
    found = worst(WAYS["multiplied, sequential"], drawn)
    assert {name for name, (score, _) in found.items() if score > 0.1} >= {"batch_mean", "output", "grad_beta"}


def test_the_bounds_say_something_of_most_cases(drawn: list[tuple[Batch, dict[str, Expected]]]) -> None:
    """Otherwise no way could leave them."""
    for name in EVERYTHING:
        said = [float((each[name].bound < each[name].magnitude).mean()) for _, each in drawn]
        assert np.mean(said) > 0.8, name

"""Further derivatives: identities of the reference, its bounds against healthy ways to compute them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from conformance.operations.differentiated_batch_norm import DIFFERENTIATED_BATCH_NORM
from conformance.operations.expected import Expected
from conformance.operations.situation import Situation
from conformance.precision import working
from tests.faults.healthy import by_numpy, by_size, pairwise, sequential, two_pass, welford
from tests.operations.batch_norm.test_healthy import KINDS
from tests.situations import situation

Array = np.ndarray[Any, np.dtype[Any]]
Sums = Callable[[Array], Array]
F = np.float32
SINGLE, DOUBLE = working("float32"), working("float64")
COUNTS = (2, 3, 5, 8, 16, 64, 200)
COLUMNS = 450


def directed(x: Any, upstream: Any, tangent: Any, **fields: Any) -> Situation:
    found = situation(x, upstream, op="differentiated_batch_norm", **fields)
    return replace(found, arrays={"tangent": np.asarray(tangent).astype(found.x.dtype)})


@pytest.fixture(name="drawn")
def _drawn() -> Any:
    return np.random.default_rng(26).normal(size=(3, 8, 4))


def trained(*given: Any) -> dict[str, Array]:
    return {name: each.value for name, each in DIFFERENTIATED_BATCH_NORM.train(directed(*given), DOUBLE).items()}


def test_the_derivatives_are_the_limits_of_differences(drawn: Any) -> None:
    """Central differences of output and input gradient, to the square of their step."""
    x, g, v = drawn
    step = np.longdouble(2.0**-20)
    ahead, behind = (trained(x + sign * step * v, g, v) for sign in (1, -1))
    found = trained(x, g, v)
    derivatives = {
        "output": "tangent_output",
        "grad_input": "forward_over_reverse",
        "tangent_output": "forward_over_forward",
    }
    for given, derivative in derivatives.items():
        assert np.allclose((ahead[given] - behind[given]) / (2 * step), found[derivative], rtol=0, atol=1e-9)


def test_along_the_upstream_gradient_lies_the_input_gradient(drawn: Any) -> None:
    x, g, _ = drawn
    found = trained(x, g, g)
    assert np.allclose(found["tangent_output"], found["grad_input"], rtol=0, atol=1e-15)


def test_the_orders_that_are_one_second_derivative_agree(drawn: Any) -> None:
    found = trained(*drawn)
    for order in ("forward_over_reverse", "reverse_over_forward"):
        assert np.array_equal(found[order], found["second_grad_input"])


def test_along_the_upstream_gradient_every_order_agrees(drawn: Any) -> None:
    x, g, _ = drawn
    found = trained(x, g, g)
    assert np.allclose(found["forward_over_forward"], found["second_grad_input"], rtol=0, atol=1e-15)


def test_the_second_gradient_of_gamma_is_linear_in_gamma(drawn: Any) -> None:
    """⟨v, dx⟩ = γ d⟨v, dx⟩/dγ."""
    x, g, v = drawn
    found = trained(x, g, v)
    assert np.allclose(1.5 * found["second_grad_gamma"], (v * found["grad_input"]).sum(axis=0), rtol=0, atol=1e-15)


def test_the_same_shift_of_every_value_changes_no_output(drawn: Any) -> None:
    x, g, _ = drawn
    assert np.abs(trained(x, g, np.ones_like(x))["tangent_output"]).max() < 1e-17


def test_inference_has_no_second_gradient_of_its_input(drawn: Any) -> None:
    found = DIFFERENTIATED_BATCH_NORM.infer(directed(*drawn), DOUBLE)
    for order in ("second_grad_input", "forward_over_forward", "forward_over_reverse", "reverse_over_forward"):
        assert not found[order].value.any()
        assert not found[order].bound.any()


# Healthy ways in float32: formulas on dual numbers, whose slopes are the derivatives, and the closed form.


@dataclass(frozen=True)
class Dual:
    """A value and its slope along v, each operation rounded."""

    value: Any
    slope: Any

    def __add__(self, other: Any) -> Dual:
        other = lifted(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __sub__(self, other: Any) -> Dual:
        other = lifted(other)
        return Dual(self.value - other.value, self.slope - other.slope)

    def __mul__(self, other: Any) -> Dual:
        other = lifted(other)
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)


def lifted(value: Any) -> Dual:
    return value if isinstance(value, Dual) else Dual(value, F(0))


def summed(values: Dual, sums: Sums) -> Dual:
    slopes = np.broadcast_to(values.slope, values.value.shape)
    return Dual(sums(values.value), sums(np.ascontiguousarray(slopes)))


def rooted(total: Dual) -> Dual:
    root = 1 / np.sqrt(total.value)
    return Dual(root, F(-0.5) * root * root * root * total.slope)


Found = dict[str, Array]


def forward_of(folded: bool, x: Array, g: Array, v: Array, state: Any, epsilon: float, sums: Sums) -> Found:
    """Dual numbers through the output, and through its backward pass as automatic differentiation writes it."""
    gamma, beta, share = state["gamma"], state["beta"], 1 / F(len(x))
    given = Dual(x, v)
    mean = summed(given, sums) * share
    deviation = given - mean
    root = rooted(summed(deviation * deviation, sums) * share + F(epsilon))
    scale = root * gamma
    total = summed(lifted(g) * (given - given) + g, sums)
    if folded:
        output = given * scale + (lifted(beta) - mean * scale)
        grad_scale = summed(given * g, sums) - mean * total
        spread = root * root * root * grad_scale * gamma * F(-0.5)
        back = scale * g + spread * (deviation * (2 * share)) - total * scale * share
        by_gamma = (
            root * g + root * root * root * grad_scale * F(-0.5) * (deviation * (2 * share)) - total * root * share
        )
    else:
        normalized = deviation * root
        output = normalized * gamma + beta
        along = summed(normalized * g, sums)
        back = scale * (lifted(g) - total * share - normalized * (along * share))
        by_gamma = root * (lifted(g) - total * share - normalized * (along * share))
    return {
        "tangent_output": output.slope,
        "second_grad_input": back.slope,
        "second_grad_gamma": sums(v * by_gamma.value),
    }


@dataclass(frozen=True)
class Jet:
    """p + q·t + s·t² with t³ = 0, each operation rounded: 2s is the second derivative along v."""

    value: Any
    slope: Any
    bend: Any

    def __sub__(self, other: Jet) -> Jet:
        return Jet(self.value - other.value, self.slope - other.slope, self.bend - other.bend)

    def __mul__(self, other: Jet) -> Jet:
        bend = self.value * other.bend + self.slope * other.slope + self.bend * other.value
        return Jet(self.value * other.value, self.value * other.slope + self.slope * other.value, bend)


def twice_forward(x: Array, g: Array, v: Array, state: Any, epsilon: float, sums: Sums) -> Found:
    """The centred form on jets: forward differentiation over itself."""
    del g
    m, none = F(len(x)), np.zeros_like(x)

    def mean(jet: Jet) -> Jet:
        return Jet(*(sums(np.ascontiguousarray(part)) / m for part in (jet.value, jet.slope, jet.bend)))

    given = Jet(x, v, none)
    deviation = given - mean(given)
    variance = mean(deviation * deviation)
    spread = variance.value + F(epsilon)
    root = 1 / np.sqrt(spread)
    slope, bend = variance.slope / spread, variance.bend / spread
    inverse = Jet(root, -root * slope / 2, root * (F(0.375) * slope * slope - bend / 2))
    return {"forward_over_forward": 2 * state["gamma"] * (deviation * inverse).bend}


def closed(statistics: Any, x: Array, g: Array, v: Array, state: Any, epsilon: float, sums: Sums) -> Found:
    """The closed form, every sum by itself."""
    m, gamma = F(len(x)), state["gamma"]
    mean, variance = statistics(x, sums)
    root = 1 / np.sqrt(variance + F(epsilon))
    n = (x - mean) * root
    a, b = sums(v * n) / m, sums(g * n) / m
    along, back = v - sums(v) / m - n * a, g - sums(g) / m - n * b
    product = sums(v * g) / m - (sums(v) / m) * (sums(g) / m) - a * b
    return {
        "tangent_output": gamma * root * along,
        "second_grad_upstream": gamma * root * along,
        "second_grad_input": -gamma * root * root * (n * product + b * along + a * back),
        "second_grad_gamma": root * m * product,
        "forward_over_forward": -gamma * root * root * (n * (sums(v * along) / m) + 2 * a * along),
    }


def forward(folded: bool) -> Any:
    return lambda *given: forward_of(folded, *given)


VARIANTS: dict[str, tuple[Any, Sums]] = {
    "dual-centred-sequential": (forward(False), sequential),
    "dual-centred-largest-first": (forward(False), by_size),
    "dual-centred-pairwise": (forward(False), pairwise),
    "dual-folded-sequential": (forward(True), sequential),
    "dual-folded-largest-first": (forward(True), by_size),
    "dual-folded-numpy": (forward(True), by_numpy),
    "jets-sequential": (twice_forward, sequential),
    "jets-largest-first": (twice_forward, by_size),
    "jets-pairwise": (twice_forward, pairwise),
    "closed-two-pass": (lambda *given: closed(two_pass, *given), sequential),
    "closed-welford": (lambda *given: closed(welford, *given), by_size),
}


@pytest.fixture(name="batches", scope="module")
def _batches() -> Any:
    """Return 3,150 random cases with what their steps must give: a column of each batch is a case."""
    random = np.random.default_rng(27)
    found = []
    for count in COUNTS:
        kinds = [tuple(KINDS)[column % len(KINDS)] for column in range(COLUMNS)]
        drawn = {kind: make(random, count, COLUMNS) for kind, make in KINDS.items()}
        scale = np.where(np.arange(COLUMNS) % 3, 10.0 ** random.uniform(-6, 6, size=COLUMNS), 1.0)
        x = (np.stack([drawn[kind][:, column] for column, kind in enumerate(kinds)], axis=1) * scale).astype(F)
        g, v = (random.normal(size=(2, *x.shape)) * 10.0 ** random.uniform(-3, 3, size=(2, 1, COLUMNS))).astype(F)
        # Directions that are lost: the same for all values, and the input itself.
        v[:, 1::5], v[:, 2::5] = 1, x[:, 2::5]
        state = dict(zip(("gamma", "beta"), random.normal(size=(2, COLUMNS)).astype(F), strict=True))
        epsilon = float(random.choice([1.0, 1e-3, 1e-5]))
        held: dict[str, Any] = {"epsilon": epsilon, "dtype": "float32", "parameter_dtype": "float32"}
        given = directed(x, g, v, state=state, wide=np.float64, **held)
        found.append((x, g, v, state, epsilon, DIFFERENTIATED_BATCH_NORM.train(given, SINGLE)))
    return found


def score(found: Array, expected: Expected) -> tuple[float, float]:
    """Return the largest error in units of the bound, and the share of the elements about which that says something."""
    with np.errstate(all="ignore"):
        error = np.abs(found - expected.value)
        said = (expected.bound < expected.magnitude) & expected.in_domain & np.isfinite(expected.value)
        ratio = np.where(error == 0, 0.0, error / expected.bound)
        return float(np.where(said, np.where(np.isnan(ratio), np.inf, ratio), 0.0).max()), float(said.mean())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_healthy_variant_never_leaves_the_bound(name: str, batches: Any) -> None:
    """Not in one quantity of one case; the largest scores are printed."""
    compute, sums = VARIANTS[name]
    largest: dict[str, float] = {}
    decided: dict[str, list[float]] = {}
    for x, g, v, state, epsilon, expected in batches:
        with np.errstate(all="ignore"):
            found = compute(x, g, v, state, epsilon, sums)
        for quantity, value in found.items():
            assert value.dtype == F
            ratio, share = score(value, expected[quantity])
            largest[quantity] = max(largest.get(quantity, 0.0), ratio)
            decided.setdefault(quantity, []).append(share)
    print(
        name,
        {
            quantity: (round(value, 3), round(float(np.mean(decided[quantity])), 2))
            for quantity, value in largest.items()
        },
    )
    assert {quantity for quantity, value in largest.items() if not 0 < value <= 1} == set()
    assert all(np.mean(each) > 0.6 for each in decided.values())

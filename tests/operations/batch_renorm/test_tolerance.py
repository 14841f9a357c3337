"""No healthy way to compute a step of batch renormalization leaves its bound: thousands of random cases.

The ways are those of batch normalization, each with every way to form deviation, correction and composition.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from conformance.operations import batch_renorm
from conformance.operations.batch_renorm.options import clipping
from conformance.operations.expected import Expected
from conformance.precision import working
from conformance.protocol import Configuration
from tests.faults.healthy import VARIANTS, Variant, two_pass, welford
from tests.operations.batch_norm.test_healthy import DECAYS, EPSILONS, KINDS
from tests.situations import situation

Array = np.ndarray[Any, np.dtype[Any]]
F = np.float32
SINGLE = working("float32")
COUNTS = (2, 5, 8, 33, 256)
COLUMNS = 270
LIMITS: tuple[dict[str, float], ...] = (
    {},
    {"rmin": 1.0, "rmax": 1.0, "dmax": 0.0},
    {"rmin": 0.3, "rmax": 3.0, "dmax": 5.0},
    {"rmax": 1.1},
    {"dmax": 0.1},
)


# The ways of the correction.


def root_of_sum(total: Array, inverse: Array) -> Array:
    del inverse
    return np.asarray(np.sqrt(total))


def reciprocal(total: Array, inverse: Array) -> Array:
    del total
    return np.asarray(1 / inverse)


def product(total: Array, inverse: Array) -> Array:
    return np.asarray(total * inverse)


def divided(deviation: Array, mean: Array, old: Array, divisor: Array) -> tuple[Array, Array]:
    return deviation / divisor, (mean - old) / divisor


def by_reciprocal(deviation: Array, mean: Array, old: Array, divisor: Array) -> tuple[Array, Array]:
    scale = 1 / divisor
    return deviation * scale, (mean - old) * scale


@dataclass(frozen=True)
class Way:
    """How a variant of batch normalization is made one of batch renormalization."""

    deviation: Callable[[Array, Array], Array]
    correction: Callable[..., tuple[Array, Array]]
    #: γ·r and γ·d + β through the variant, or x̂·r + d before γ and β.
    composed: bool
    #: Whether r and d are of statistics that another algorithm took.
    apart: bool


WAYS = tuple(
    Way(deviation, correction, composed, apart)
    for (deviation, correction), composed, apart in itertools.product(
        ((root_of_sum, divided), (reciprocal, by_reciprocal), (product, divided)), (True, False), (False, True)
    )
)


def trained(variant: Variant, way: Way, batch: Batch) -> dict[str, Array]:
    """Return what one train step gives, in float32 throughout."""
    x, g, state, configuration = batch.x, batch.g, batch.state, batch.configuration
    epsilon, decay = F(configuration.epsilon), F(configuration.decay)
    mean, variance = variant.statistics(x, variant.sums)
    inverse = variant.root(variance + epsilon)
    other = (
        (welford if variant.statistics is two_pass else two_pass)(x, variant.sums) if way.apart else (mean, variance)
    )
    deviation = way.deviation(other[1] + epsilon, variant.root(other[1] + epsilon))
    r, d = corrected(way, configuration, state, other[0], deviation)
    gamma, beta = state["gamma"], state["beta"]
    plain = variant.gradients(x, g, mean, inverse, gamma * r, variant.sums)
    normalized = (x - mean) * inverse
    output = variant.output(x, mean, inverse, gamma * r, gamma * d + beta)
    grad_gamma = r * plain[0] + d * plain[1]
    if not way.composed:
        output = gamma * (normalized * r + d) + beta
        grad_gamma = variant.sums(g * (normalized * r + d))
    slow = F(configuration.options["renorm_decay"])
    moving = variant.moved(state["moving_deviation"], deviation, decay)
    return {
        "batch_mean": mean,
        "batch_variance": variance,
        "output": output,
        "grad_gamma": grad_gamma,
        "grad_beta": plain[1],
        "grad_input": plain[2],
        "moving_mean": variant.moved(state["moving_mean"], mean, decay),
        "moving_deviation": moving,
        "moving_variance": np.maximum(moving * moving - epsilon, F(0)),
        "renorm_mean": variant.moved(state["renorm_mean"], mean, slow),
        "renorm_deviation": variant.moved(state["renorm_deviation"], deviation, slow),
    }


def corrected(
    way: Way, configuration: Configuration, state: Mapping[str, Array], mean: Array, deviation: Array
) -> tuple[Array, Array]:
    limits = clipping(configuration, 0)
    divisor = np.maximum(state["renorm_deviation"], np.sqrt(F(configuration.epsilon)))
    r, d = way.correction(deviation, mean, state["renorm_mean"], divisor)
    return np.clip(r, F(limits.rmin), F(limits.rmax)), np.clip(d, -F(limits.dmax), F(limits.dmax))


# The cases.


@dataclass(frozen=True)
class Batch:
    """Cases of one count, epsilon and set of limits, one in each column, with what their step must give."""

    x: Array
    g: Array
    state: dict[str, Array]
    configuration: Configuration
    expected: Mapping[str, Expected]


def draw(random: np.random.Generator, count: int, epsilon: float, limits: Mapping[str, float]) -> Batch:
    kinds = [tuple(KINDS)[column % len(KINDS)] for column in range(COLUMNS)]
    scale = np.where(np.arange(COLUMNS) % 3, 10.0 ** random.uniform(-8, 8, size=COLUMNS), 1.0)
    shapes = {kind: make(random, count, COLUMNS) for kind, make in KINDS.items()}
    x = np.stack([shapes[kind][:, column] for column, kind in enumerate(kinds)], axis=1) * scale
    g = random.normal(size=(count, COLUMNS)) * 10.0 ** random.uniform(-6, 6, size=COLUMNS)
    state = {
        name: random.normal(size=COLUMNS) * 10.0 ** random.uniform(-3, 3, size=COLUMNS) for name in ("gamma", "beta")
    }
    # Averages at every distance from the batch's own statistics, from none to far more than their own size.
    mean, deviation = x.mean(axis=0), np.sqrt(x.var(axis=0) + epsilon)
    for pair in ("moving", "renorm"):
        state[f"{pair}_mean"] = mean + deviation * random.normal(size=COLUMNS) * 10.0 ** random.uniform(
            -6, 3, size=COLUMNS
        )
        state[f"{pair}_deviation"] = deviation * 10.0 ** random.uniform(-3, 3, size=COLUMNS)
    state["moving_variance"] = np.abs(random.normal(size=COLUMNS))
    stored = {name: value.astype(F) for name, value in state.items()}
    held: dict[str, Any] = {"decay": float(random.choice(DECAYS)), "epsilon": epsilon, "dtype": "float32"}
    options = {"renorm_decay": float(random.choice(DECAYS)), **limits}
    s = situation(
        x.astype(F),
        g.astype(F),
        state=stored,
        wide=np.float64,
        op="batch_renorm",
        parameter_dtype="float32",
        options=options,
        **held,
    )
    expected = batch_renorm.train(s, SINGLE)
    return Batch(x=x.astype(F), g=g.astype(F), state=stored, configuration=s.configuration, expected=expected)


def batches(*, every: bool) -> Iterator[Batch]:
    """Yield a batch of each count with every epsilon, or with one after another."""
    random = np.random.default_rng(23_000)
    for number, (count, epsilon) in enumerate(itertools.product(COUNTS, EPSILONS)):
        if every or number % len(EPSILONS) == number // len(EPSILONS) % len(EPSILONS):
            yield draw(random, count, epsilon, LIMITS[(number + number // len(EPSILONS)) % len(LIMITS)])


def scores(found: Array, expected: Expected) -> tuple[float, float]:
    """Return the largest score and the share of the elements about which the bound says something."""
    with np.errstate(all="ignore"):
        error = np.abs(found - expected.value)
        score = np.where(error == 0, 0.0, error / expected.bound)
        said = (expected.bound < expected.magnitude) & expected.in_domain & np.isfinite(expected.value)
        score = np.where(said, np.where(np.isnan(score), np.inf, score), 0.0)
    return float(score.max()), float(said.mean())


Findings = Mapping[str, Mapping[str, tuple[float, float]]]


@pytest.fixture(
    name="findings",
    scope="module",
    params=[pytest.param(False, id="an epsilon a count"), pytest.param(True, id="every", marks=pytest.mark.search)],
)
def _findings(request: pytest.FixtureRequest) -> Findings:
    """Return, by variant and quantity, the largest score over all ways and batches, and the smallest share decided."""
    result: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in VARIANTS}
    for number, batch in enumerate(batches(every=request.param)):
        for place, (name, variant) in enumerate(VARIANTS.items()):
            with np.errstate(all="ignore"):
                given = trained(variant, WAYS[(number + place) % len(WAYS)], batch)
            for quantity, value in given.items():
                assert value.dtype == F
                score, said = scores(value, batch.expected[quantity])
                before = result[name].get(quantity, (0.0, 1.0))
                result[name][quantity] = max(before[0], score), min(before[1], said)
    return result


def test_the_random_cases_are_five_thousand() -> None:
    """Each column of each batch is a case."""
    assert len(COUNTS) * len(EPSILONS) * COLUMNS >= 5000


@pytest.mark.parametrize("name", VARIANTS)
def test_a_healthy_variant_never_leaves_the_bound(name: str, findings: Findings) -> None:
    """Not in one quantity of one case."""
    assert not {quantity: score for quantity, (score, _) in findings[name].items() if score > 1}


def test_most_of_the_elements_are_decided(findings: Findings) -> None:
    """A bound that said nothing would never be left."""
    assert {each: said for each, (_, said) in findings["welford"].items() if said < 0.5} == {}


def test_the_largest_scores_are_printed(findings: Findings) -> None:
    """By quantity, with the variant that came closest to its bound."""
    for quantity in findings["welford"]:
        name = max(VARIANTS, key=lambda each: findings[each][quantity][0])
        print(f"{quantity:18} {findings[name][quantity][0]:.2f}  {name}")
        assert findings[name][quantity][0] > 0

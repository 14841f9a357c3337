"""No healthy way to compute a step leaves its bound: random cases, every order of summation.

After numerics 1.6: nine kinds of data, scales from 1e-12 to 1e12, 2 to 1000 values, epsilon from 1e-12 to 1, gamma,
beta and upstream gradients of many sizes. A case is one feature; those of one size are computed together. Every count
meets one epsilon always, four thousand cases, and every other in a search, which makes them twenty thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from conformance.operations import batch_norm
from conformance.operations.expected import Expected
from conformance.precision import working
from tests.faults.healthy import UNHEALTHY, VARIANTS, Variant
from tests.situations import situation

Array = np.ndarray[Any, np.dtype[Any]]
F = np.float32
SINGLE = working("float32")

COUNTS = (2, 3, 5, 8, 16, 33, 100, 257, 1000)
EPSILONS = (1.0, 1e-3, 1e-5, 2.0**-16, 1e-12)
DECAYS = (0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
COLUMNS = 450

KINDS: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    "normal": lambda random, m, n: random.normal(size=(m, n)),
    "uniform": lambda random, m, n: random.uniform(-1, 1, size=(m, n)),
    "lognormal": lambda random, m, n: random.lognormal(sigma=2, size=(m, n)),
    "cauchy": lambda random, m, n: random.standard_cauchy(size=(m, n)),
    "constant": lambda random, m, n: np.broadcast_to(random.normal(size=n), (m, n)),
    "one-ulp": lambda random, m, n: 1 + random.integers(-1, 2, size=(m, n)) * 2.0**-23,
    "outlier": lambda random, m, n: random.normal(size=(m, n)) * np.where(np.arange(m)[:, None] == m - 1, 1e6, 1),
    "offset": lambda random, m, n: random.normal(size=(m, n)) + 10.0 ** random.uniform(0, 7, size=n),
    "bimodal": lambda random, m, n: random.choice([-1.0, 1.0], size=(m, n)) * random.normal(1, 1e-3, size=(m, n)),
}


@dataclass(frozen=True)
class Batch:
    """Cases of one count, epsilon and decay, one in each column, with what their steps must give."""

    x: Array
    g: Array
    state: dict[str, Array]
    decay: float
    epsilon: float
    kinds: tuple[str, ...]
    training: Mapping[str, Expected]
    inference: Mapping[str, Expected]


@dataclass(frozen=True)
class Finding:
    """The case with the largest score of one quantity."""

    score: float
    case: str
    #: The share of the elements about which the bound says something.
    decided: float


def draw(random: np.random.Generator, count: int, epsilon: float) -> Batch:
    kinds = [tuple(KINDS)[column % len(KINDS)] for column in range(COLUMNS)]
    scale = np.where(np.arange(COLUMNS) % 3, 10.0 ** random.uniform(-12, 12, size=COLUMNS), 1.0)
    shapes = {kind: make(random, count, COLUMNS) for kind, make in KINDS.items()}
    x = np.stack([shapes[kind][:, column] for column, kind in enumerate(kinds)], axis=1) * scale
    g = random.normal(size=(count, COLUMNS)) * 10.0 ** random.uniform(-6, 6, size=COLUMNS)
    drawn = random.normal(size=(4, COLUMNS)) * 10.0 ** random.uniform(-3, 3, size=(4, COLUMNS))
    drawn[2] *= scale
    drawn[3] = np.abs(drawn[3]) * scale**2
    state = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), drawn.astype(F), strict=True))
    decay = float(random.choice(DECAYS))
    held: dict[str, Any] = {"decay": decay, "epsilon": epsilon, "dtype": "float32", "parameter_dtype": "float32"}
    s = situation(x.astype(F), g.astype(F), state=state, wide=np.float64, **held)
    return Batch(
        x=x.astype(F),
        g=g.astype(F),
        state=state,
        decay=decay,
        epsilon=epsilon,
        kinds=tuple(kinds),
        training=batch_norm.train(s, SINGLE),
        inference=batch_norm.infer(s, SINGLE),
    )


def batches(*, every: bool) -> Iterator[Batch]:
    """Yield a batch of each count with every epsilon, or with one after another."""
    random = np.random.default_rng(20_000)
    for number, count in enumerate(COUNTS):
        for epsilon in EPSILONS if every else (EPSILONS[number % len(EPSILONS)],):
            yield draw(random, count, epsilon)


def worst(batch: Batch, found: Array, expected: Expected) -> Finding:
    """Return the largest error in units of the bound, where the bound says something and nothing overflows."""
    with np.errstate(all="ignore"):
        error = np.abs(found - expected.value)
        score = np.where(error == 0, 0.0, error / expected.bound)
        said = (expected.bound < expected.magnitude) & expected.in_domain & np.isfinite(expected.value)
        score = np.where(said, np.where(np.isnan(score), np.inf, score), 0.0)
    row, column = divmod(int(score.argmax()), batch.x.shape[1])
    case = f"{batch.kinds[column]}, m {len(batch.x)}, ε {batch.epsilon:g}, column {column}, row {row}"
    return Finding(score=float(score.max()), case=case, decided=float(said.mean()))


def judged(variant: Variant, batch: Batch) -> dict[str, Finding]:
    """Return the findings of a train step, and those of an inference step under `inferred_...`."""
    with np.errstate(all="ignore"):
        trained = variant.train(batch.x, batch.g, batch.state, batch.decay, batch.epsilon)
        inferred = variant.infer(batch.x, batch.g, batch.state, batch.epsilon)
    assert all(value.dtype == F for value in (*trained.values(), *inferred.values()))
    return {
        **{name: worst(batch, value, batch.training[name]) for name, value in trained.items()},
        **{f"inferred_{name}": worst(batch, value, batch.inference[name]) for name, value in inferred.items()},
    }


Findings = Mapping[str, Mapping[str, list[Finding]]]


@pytest.fixture(
    name="findings",
    scope="module",
    params=[pytest.param(False, id="an epsilon a count"), pytest.param(True, id="every", marks=pytest.mark.search)],
)
def _findings(request: pytest.FixtureRequest) -> Findings:
    """Return, by variant and quantity, the findings of each batch."""
    variants = {**VARIANTS, **{name: variant for name, (variant, _) in UNHEALTHY.items()}}
    result: dict[str, dict[str, list[Finding]]] = {name: {} for name in variants}
    for batch in batches(every=request.param):
        for name, variant in variants.items():
            for quantity, finding in judged(variant, batch).items():
                result[name].setdefault(quantity, []).append(finding)
    return result


def largest(found: list[Finding]) -> Finding:
    return max(found, key=lambda each: each.score)


def test_the_random_cases_are_twenty_thousand() -> None:
    """Each column of each batch is a case."""
    assert len(COUNTS) * len(EPSILONS) * COLUMNS >= 20_000


@pytest.mark.parametrize("name", VARIANTS)
def test_a_healthy_variant_never_leaves_the_bound(name: str, findings: Findings) -> None:
    """Not in one quantity of one case."""
    over = {quantity: largest(found) for quantity, found in findings[name].items() if largest(found).score > 1}
    assert not over


def test_most_of_the_elements_are_decided(findings: Findings) -> None:
    """A bound that said nothing would never be left."""
    decided = {name: np.mean([each.decided for each in found]) for name, found in findings["welford"].items()}
    assert {name: share > 0.7 for name, share in decided.items()} == dict.fromkeys(decided, True)


def test_the_largest_scores_are_printed(findings: Findings) -> None:
    """The table of quantities, with the variant and the case that came closest to its bound."""
    for quantity in findings["welford"]:
        name = max(VARIANTS, key=lambda each: largest(findings[each][quantity]).score)
        found = largest(findings[name][quantity])
        print(f"{quantity:24} {found.score:5.2f}  {name}: {found.case}")
        assert found.score > 0


@pytest.mark.parametrize(("name", "quantities"), [(name, shown) for name, (_, shown) in UNHEALTHY.items()])
def test_an_unhealthy_variant_leaves_the_bound(name: str, quantities: tuple[str, ...], findings: Findings) -> None:
    """By far, in the quantities that it spoils."""
    assert all(largest(findings[name][quantity]).score > 100 for quantity in quantities)

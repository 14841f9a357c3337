"""No healthy way to normalize samples leaves its bound: random cases, every order of summation.

A case is one group of values with a mean and a variance of its own, in a step of 450 of them, of nine kinds of data, at scales
from 1e-12 to 1e12, 2 to 1000 values, with gamma, beta and upstream gradients of many sizes, which vary within a group.
A search meets more than fifty thousand, every count with every epsilon and every way of the operation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.precision import working
from conformance.protocol import Configuration
from tests.faults.healthy import VARIANTS, Array, over_one_less
from tests.faults.healthy_samples import Groups, train
from tests.operations.batch_norm.test_healthy import COUNTS, EPSILONS, KINDS
from tests.situations import situation

F = np.float32
SINGLE = working("float32")
GROUPS = 450
#: The operations, each in the ways that differ in their arithmetic, and how many groups a sample has.
WAYS: Mapping[str, tuple[tuple[dict[str, Any], int], ...]] = {
    "layer_norm": (({}, 1),),
    "rms_norm": (({}, 1), ({"unit_offset": True}, 1), ({"epsilon": "outside"}, 1)),
    "group_norm": (({"groups": 15}, 15),),
    "instance_norm": (({}, 45), ({"tracked": True}, 45)),
}
#: Those of every run.
FEW = (2, 5, 33)


@dataclass(frozen=True)
class Step:
    """A step of many groups, with what it must give."""

    op: str
    configuration: Configuration
    groups: Groups
    kinds: tuple[str, ...]
    x: Array
    g: Array
    state: dict[str, Array]
    expected: Mapping[str, Expected]


def layout(op: str, count: int, per_sample: int) -> tuple[Groups, tuple[int, ...]]:
    """Return where 450 groups of so many values are, and the shape of the input: features last."""
    samples = GROUPS // per_sample
    if op in ("layer_norm", "rms_norm"):
        members = np.arange(GROUPS * count).reshape(GROUPS, count)
        return Groups(members, (GROUPS, 1, count), folds=False), (GROUPS, count)
    together = 1 if op == "instance_norm" else next(size for size in range(2, count + 1) if count % size == 0)
    length, features = count // together, per_sample * together
    places = np.arange(samples * length * features).reshape(samples, length, per_sample, together)
    members = places.transpose(0, 2, 1, 3).reshape(GROUPS, count)
    return Groups(members, (samples, length, features), folds=True), (samples, length, features)


def drawn(random: np.random.Generator, op: str, way: tuple[dict[str, Any], int], count: int, epsilon: float) -> Step:
    options, per_sample = way
    groups, shape = layout(op, count, per_sample)
    features = shape[-1]
    kinds = tuple(tuple(KINDS)[number % len(KINDS)] for number in range(GROUPS))
    shapes = {kind: make(random, count, GROUPS) for kind, make in KINDS.items()}
    scale = np.where(np.arange(GROUPS) % 3, 10.0 ** random.uniform(-12, 12, size=GROUPS), 1.0)
    x = np.stack([shapes[kind][:, number] for number, kind in enumerate(kinds)], axis=1) * scale
    g = random.normal(size=(count, GROUPS)) * 10.0 ** random.uniform(-6, 6, size=GROUPS)
    own = random.normal(size=(4, features)) * 10.0 ** random.uniform(-3, 3, size=(4, features))
    own[3] = np.abs(own[3])
    state = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), own.astype(F), strict=True))
    rows, pull = (groups.in_rows(array.astype(F)) for array in (x, g))
    held: dict[str, Any] = {"decay": 0.9, "epsilon": epsilon, "dtype": "float32", "parameter_dtype": "float32"}
    made = situation(rows, pull, op=op, options=options, state=state, wide=np.float64, **held)
    placed = replace(made, shape=shape)
    expected = OPERATIONS[op].train(placed, SINGLE)
    return Step(op, made.configuration, groups, kinds, rows, pull, state, expected)


def steps(op: str, *, every: bool) -> Iterator[Step]:
    """Yield a step of each count with every epsilon in every way, or of some counts with one after another."""
    for number, count in enumerate(COUNTS if every else FEW):
        yield from steps_of(op, count, EPSILONS if every else (EPSILONS[(2 * number) % len(EPSILONS)],))


def steps_of(op: str, count: int, epsilons: Iterable[float]) -> Iterator[Step]:
    """Yield a step of groups of so many values with each epsilon in every way."""
    random = np.random.default_rng([50_000, count])
    for epsilon in epsilons:
        for way in WAYS[op]:
            yield drawn(random, op, way, count, epsilon)


def score(step: Step, name: str, value: Array) -> tuple[float, str, float]:
    """Return the largest error in units of the bound where that says something, its place, and where that is so."""
    expected = step.expected[name]
    with np.errstate(all="ignore"):
        error = np.abs(value - expected.value)
        said = (expected.bound < expected.magnitude) & expected.in_domain & np.isfinite(expected.value)
        scores = np.where(said, np.where(error == 0, 0.0, error / expected.bound), 0.0)
    scores = np.where(np.isnan(scores), np.inf, scores)
    place = int(scores.argmax())
    kind = ""
    if scores.shape == step.x.shape:
        kind = step.kinds[int(np.argwhere(step.groups.members == place)[0][0])]
    options = step.configuration.options
    return float(scores.max()), f"{name} {options} ε {step.configuration.epsilon:g} {kind} {place}", float(said.mean())


@pytest.fixture(
    name="judged",
    scope="module",
    params=[
        *(pytest.param((op, False), id=op) for op in WAYS),
        *(pytest.param((op, True), id=f"{op} at length", marks=pytest.mark.search) for op in WAYS),
    ],
)
def _judged(request: pytest.FixtureRequest) -> Mapping[str, list[tuple[float, str, float]]]:
    """Return the scores of every variant."""
    op, every = request.param
    return scores_of(steps(op, every=every))


def scores_of(drawn_steps: Iterable[Step]) -> dict[str, list[tuple[float, str, float]]]:
    scores: dict[str, list[tuple[float, str, float]]] = {name: [] for name in VARIANTS}
    for step in drawn_steps:
        for name, variant in VARIANTS.items():
            with np.errstate(all="ignore"):
                given = train(variant, step.op, step.groups, step.x, step.g, step.state, step.configuration)
            scores[name] += [score(step, quantity, value) for quantity, value in given.items()]
    return scores


def test_the_random_cases_are_fifty_thousand() -> None:
    """Each group of each step is a case."""
    assert GROUPS * len(COUNTS) * len(EPSILONS) * sum(map(len, WAYS.values())) >= 50_000


def test_no_healthy_variant_leaves_a_bound(judged: Mapping[str, list[tuple[float, str, float]]]) -> None:
    worst = {name: max(scores) for name, scores in judged.items()}
    print(max(worst.values()))
    assert {name: found for name, found in worst.items() if found[0] > 1} == {}


def test_most_numbers_are_decided(judged: Mapping[str, list[tuple[float, str, float]]]) -> None:
    """A bound that said nothing would never be left."""
    assert np.mean([decided for *_, decided in judged["welford"]]) > 0.6


@pytest.mark.parametrize("op", ["layer_norm", "group_norm", "instance_norm"])
def test_a_variance_over_one_less_leaves_its_bound(op: str) -> None:
    """What is wrong stands out of the same cases by far."""
    wrong = replace(VARIANTS["two-pass-numpy"], statistics=over_one_less)
    step = next(steps(op, every=False))
    with np.errstate(all="ignore"):
        given = train(wrong, op, step.groups, step.x, step.g, step.state, step.configuration)
    assert score(step, "output", given["output"])[0] > 100

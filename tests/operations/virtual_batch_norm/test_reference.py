"""Virtual batches: the reference against hand-worked numbers, its bounds against healthy ways to compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.errors import SpecErrors
from conformance.operations import batch_norm
from conformance.operations.expected import Expected
from conformance.operations.situation import Situation
from conformance.operations.virtual_batch_norm import VIRTUAL_BATCH_NORM
from conformance.precision import working
from conformance.spec.loader import load_file
from tests.faults.healthy import VARIANTS, Variant
from tests.operations.batch_norm.test_healthy import KINDS
from tests.situations import situation

Array = np.ndarray[Any, np.dtype[Any]]
F = np.float32
SINGLE, DOUBLE = working("float32"), working("float64")
#: Samples and samples in a part; features are cases.
DIVISIONS = ((4, 2), (6, 2), (9, 3), (32, 8), (60, 20), (200, 50))
COLUMNS = 450


def divided(x: Any, upstream: Any, size: int, **fields: Any) -> Situation:
    found = situation(x, upstream, op="virtual_batch_norm", options={"virtual_batch": size}, **fields)
    return replace(found, shape=found.x.shape)


def test_a_part_is_normalized_by_its_own_statistics() -> None:
    """(1, 3) and (10, 30): deviations of one from the mean of each."""
    found = VIRTUAL_BATCH_NORM.train(divided([[1.0], [3.0], [10.0], [30.0]], None, 2, epsilon=0.0), DOUBLE)
    assert found["output"].value.ravel().tolist() == [-1.75, 1.25, -1.75, 1.25]


def test_the_moving_values_follow_one_part_after_another() -> None:
    """0.75 old and 0.25 new, twice: 0.75 * (0.75 * 0.75 + 0.25 * 2) + 0.25 * 20."""
    found = VIRTUAL_BATCH_NORM.train(divided([[1.0], [3.0], [10.0], [30.0]], None, 2), DOUBLE)
    assert found["moving_mean"].value.tolist() == [0.75 * (0.75 * 0.75 + 0.25 * 2) + 0.25 * 20]
    assert found["moving_variance"].value.tolist() == [0.75 * (0.75 * 2.5 + 0.25 * 1) + 0.25 * 100]


def test_one_part_is_batch_normalization() -> None:
    """Bit for bit."""
    x, g = np.random.default_rng(1).normal(size=(2, 6, 3))
    whole = batch_norm.train(situation(x, g), DOUBLE)
    found = VIRTUAL_BATCH_NORM.train(divided(x, g, 6), DOUBLE)
    assert {name: np.array_equal(each.value, whole[name].value) for name, each in found.items()} == {
        name: True for name in whole if not name.startswith("batch_")
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shape: [5, 3]\n  feature_axes: [1]\n  options: {virtual_batch: 2}", "its 5 samples are no multiple"),
        ("shape: [3, 4]\n  feature_axes: [0]\n  options: {virtual_batch: 3}", "divide the first axis"),
        ("shape: [4, 3]\n  feature_axes: [1]\n  options: {virtual_batch: 0}", "options.virtual_batch"),
        ("shape: [4, 3]\n  feature_axes: [1]\n  options: {virtual_bach: 2}", "did you mean virtual_batch?"),
    ],
)
def test_samples_that_cannot_be_divided_are_an_error_of_the_spec(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "fam.yaml"
    file.write_text(
        "- id: fam.one\n  title: A case made for a test.\n  source: a test\n  clauses: ['1.1']\n"
        f"  op: virtual_batch_norm\n  {text}\n"
        "  steps:\n    - {step: train, input: {kind: normal, seed: 1}, upstream: {kind: normal, seed: 2}}\n"
    )
    with pytest.raises(SpecErrors) as caught:
        load_file(file, {"1.1": "Scope"})
    assert any(said in str(each) for each in caught.value.errors)


Step = Callable[[Array, Array, dict[str, Array], float, int], dict[str, Array]]


def in_parts(variant: Variant, x: Array, g: Array, state: dict[str, Array], epsilon: float, size: int) -> Any:
    """Return what a variant gives part by part, gradients added up one after another."""
    joined: dict[str, list[Array]] = {"output": [], "grad_input": []}
    sums: dict[str, Any] = {"grad_gamma": 0, "grad_beta": 0}
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        found = variant.train(x[rows], g[rows], state, 0.9, epsilon)
        state = {**state, "moving_mean": found["moving_mean"], "moving_variance": found["moving_variance"]}
        for name, parts in joined.items():
            parts.append(found[name])
        sums = {name: (value + found[name]).astype(F) for name, value in sums.items()}
    moved = {name: state[name] for name in ("moving_mean", "moving_variance")}
    return {**{name: np.concatenate(parts) for name, parts in joined.items()}, **sums, **moved}


def score(found: Array, expected: Expected) -> float:
    """Return the largest error in units of the bound, where that says something and nothing overflows."""
    with np.errstate(all="ignore"):
        error = np.abs(found - expected.value)
        said = (expected.bound < expected.magnitude) & expected.in_domain & np.isfinite(expected.value)
        ratio = np.where(error == 0, 0.0, error / expected.bound)
        return float(np.where(said, np.where(np.isnan(ratio), np.inf, ratio), 0.0).max())


@pytest.fixture(name="batches", scope="module")
def _batches() -> Any:
    """Return 2,700 random cases with what their steps must give: a column of each batch is a case."""
    random = np.random.default_rng(25)
    found = []
    for samples, size in DIVISIONS:
        kinds = [tuple(KINDS)[column % len(KINDS)] for column in range(COLUMNS)]
        drawn = {kind: make(random, samples, COLUMNS) for kind, make in KINDS.items()}
        scale = np.where(np.arange(COLUMNS) % 3, 10.0 ** random.uniform(-9, 9, size=COLUMNS), 1.0)
        x = (np.stack([drawn[kind][:, column] for column, kind in enumerate(kinds)], axis=1) * scale).astype(F)
        g = (random.normal(size=x.shape) * 10.0 ** random.uniform(-3, 3, size=COLUMNS)).astype(F)
        values = random.normal(size=(4, COLUMNS))
        values[2], values[3] = values[2] * scale, np.abs(values[3]) * scale**2
        state = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), values.astype(F), strict=True))
        epsilon = float(random.choice([1.0, 1e-3, 1e-5]))
        held: dict[str, Any] = {"decay": 0.9, "epsilon": epsilon, "dtype": "float32", "parameter_dtype": "float32"}
        given = divided(x, g, size, state=state, wide=np.float64, **held)
        found.append((x, g, state, epsilon, size, VIRTUAL_BATCH_NORM.train(given, SINGLE)))
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_a_healthy_variant_in_parts_never_leaves_the_bound(name: str, batches: Any) -> None:
    """Not in one quantity of one case; the largest scores are printed."""
    largest: dict[str, float] = {}
    for x, g, state, epsilon, size, expected in batches:
        with np.errstate(all="ignore"):
            found = in_parts(VARIANTS[name], x, g, state, epsilon, size)
        for quantity, value in found.items():
            largest[quantity] = max(largest.get(quantity, 0.0), score(value, expected[quantity]))
    print(name, {quantity: round(value, 3) for quantity, value in largest.items()})
    assert {quantity for quantity, value in largest.items() if not 0 < value <= 1} == set()

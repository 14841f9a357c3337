"""Replicas: what each holds, what they give together, and bounds that no sound way of joining them exceeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.dialect import Dialect
from conformance.errors import SpecErrors
from conformance.operations import OPERATIONS, batch_norm
from conformance.operations.expected import Expected
from conformance.operations.replicas import shards
from conformance.operations.situation import Situation
from conformance.precision import precision
from conformance.spec.loader import load_file
from tests.situations import situation

Array = np.ndarray[Any, np.dtype[Any]]
F = np.float32
COLUMNS = 250
DOUBLE, SINGLE = precision("float64"), precision("float32")


def drawn(op: str, sizes: Sequence[int], seed: int, dialect: Dialect | None = None) -> Situation:
    """A step of float32 numbers of many scales; the shards' means lie apart, the moving values of replicas too."""
    random = np.random.default_rng(seed)
    scale = 10.0 ** random.uniform(-6, 6, size=COLUMNS)
    apart = np.repeat(random.normal(size=(len(sizes), COLUMNS)) * 10.0 ** random.uniform(-2, 3, COLUMNS), sizes, axis=0)
    x = (random.normal(size=(sum(sizes), COLUMNS)) + apart) * scale
    g = random.normal(size=x.shape) * 10.0 ** random.uniform(-6, 6, size=COLUMNS)
    state = {"gamma": random.normal(size=COLUMNS), "beta": random.normal(size=COLUMNS)}
    for replica in range(len(sizes)):
        state[shards.named("moving_mean", replica)] = random.normal(size=COLUMNS) * scale
        state[shards.named("moving_variance", replica)] = random.uniform(0.1, 2, size=COLUMNS) * scale**2
    held = {name: value.astype(F) for name, value in state.items()}
    configured: dict[str, Any] = {"dtype": "float32", "parameter_dtype": "float32", "options": {"shards": tuple(sizes)}}
    found = situation(x.astype(F), g.astype(F), op=op, state=held, dialect=dialect, **configured)
    own = OPERATIONS[op].state(found.configuration)
    return replace(found, state={name: found.state[name] for name in own})


def worst(found: Mapping[str, Array], expected: Mapping[str, Expected]) -> float:
    """The largest error in units of the bound, where nothing leaves the range."""
    scores = []
    for name, value in found.items():
        assert value.dtype == F
        right = expected[name]
        error = np.abs(value - right.value)
        score = np.where(error == 0, 0.0, error / np.where(right.bound > 0, right.bound, 1e-300))
        scores.append(float(np.where(right.in_domain, score, 0.0).max(initial=0.0)))
    return max(scores)


# Sound ways to join statistics in float32; a shard is (m_k, C).


def added(parts: Sequence[Array]) -> tuple[Array, Array]:
    """Sums and counts are added, then again of the squared deviations."""
    count = F(sum(len(each) for each in parts))
    mean = sum((each.sum(0) for each in parts), F(0)) / count
    return np.asarray(mean), np.asarray(sum((np.square(each - mean).sum(0) for each in parts), F(0)) / count)


def averaged(parts: Sequence[Array]) -> tuple[Array, Array]:
    """Means of equal shards are averaged, as pmean does."""
    replicas = F(len(parts))
    mean = sum((each.mean(0) for each in parts), F(0)) / replicas
    return np.asarray(mean), np.asarray(sum((np.square(each - mean).mean(0) for each in parts), F(0)) / replicas)


def merged(parts: Sequence[Array]) -> tuple[Array, Array]:
    """Means and variances of the shards are merged one after another: Chan, Golub and LeVeque 1983, equation 2.1."""
    count, mean, squares = F(0), np.zeros(parts[0].shape[1], F), np.zeros(parts[0].shape[1], F)
    for each in (part for part in parts if len(part)):
        own, here = each.mean(0), F(len(each))
        distance, total = own - mean, count + here
        mean = mean + distance * (here / total)
        squares = squares + np.square(each - own).sum(0) + distance * distance * (count * here / total)
        count = total
    return mean, squares / count


def synchronized(situation: Situation, join: Callable[[Sequence[Array]], tuple[Array, Array]]) -> dict[str, Array]:
    s, sizes = situation, shards.of(situation.configuration)
    ends = np.cumsum(sizes)[:-1]
    x, g = s.x.astype(F), np.asarray(s.upstream).astype(F)
    state = {name: value.astype(F) for name, value in s.state.items()}
    mean, variance = join(np.split(x, ends))
    root = 1 / np.sqrt(variance + F(s.configuration.epsilon))
    n, a = (x - mean) * root, F(s.configuration.decay)

    def total(values: Array) -> Array:
        return np.asarray(sum((each.sum(0) for each in np.split(values, ends)), F(0)))

    grad_beta, grad_gamma, count = total(g), total(g * n), F(len(x))
    found = {
        "output": state["gamma"] * n + state["beta"],
        "grad_beta": grad_beta,
        "grad_gamma": grad_gamma,
        "grad_input": state["gamma"] * root * (g - grad_beta / count - n * (grad_gamma / count)),
    }
    for replica in range(len(sizes)):
        for name, batch in (("moving_mean", mean), ("moving_variance", variance)):
            held = shards.named(name, replica)
            found[held] = a * state[held] + (1 - a) * batch
    return found


EQUAL, UNEQUAL = ((4, 4), (2, 2, 2, 2), (32, 32), (1, 1, 1, 1)), ((3, 5), (0, 8), (1, 4, 2, 1), (7, 0, 50))


@pytest.mark.parametrize("join", [added, averaged, merged], ids=lambda join: join.__name__)
def test_no_sound_way_of_joining_statistics_exceeds_the_bound(join: Callable[..., Any]) -> None:
    """A thousand random features and more each, of equal shards, of unequal and empty ones where it takes them."""
    for seed, sizes in enumerate((*EQUAL, *(UNEQUAL if join is not averaged else ()))):
        s = drawn("synchronized_batch_norm", sizes, seed)
        score = worst(synchronized(s, join), OPERATIONS[s.configuration.op].train(s, SINGLE))
        assert score <= 1, (join.__name__, sizes, score)


@pytest.mark.parametrize("before", [False, True])
def test_averaging_before_or_after_the_update_keeps_the_bound(before: bool) -> None:
    """A thousand random features; R averages and one update, or R updates and one average."""
    for seed, sizes in enumerate((*EQUAL, *UNEQUAL)):
        if 0 in sizes or 1 in sizes:
            continue
        s = drawn("replicated_batch_norm", sizes, 100 + seed, Dialect(replica_moving="mean"))
        # The same moving values on all replicas, as averaging leaves them.
        alike = {name: s.state[shards.plain(name)] for name in s.state}
        s = replace(s, state=alike)
        expected = OPERATIONS[s.configuration.op].train(s, SINGLE)
        parts = np.split(s.x.astype(F), np.cumsum(sizes)[:-1])
        a, replicas, found = F(s.configuration.decay), F(len(sizes)), {}
        for name, take in (("moving_mean", np.mean), ("moving_variance", np.var)):
            old, batches = s.state[name].astype(F), [take(each, axis=0) for each in parts]
            found[name] = np.asarray(
                a * old + (1 - a) * (sum(batches, F(0)) / replicas)
                if before
                else sum((a * old + (1 - a) * each for each in batches), F(0)) / replicas
            )
        assert worst(found, expected) <= 1, sizes


def test_a_mean_of_unequal_shards_means_exceeds_the_bound() -> None:
    """The bound is not so wide that it hides the fault."""
    s = drawn("synchronized_batch_norm", (3, 5), 7)
    assert worst(synchronized(s, averaged), OPERATIONS[s.configuration.op].train(s, SINGLE)) > 1000


@pytest.mark.parametrize("sizes", UNEQUAL)
def test_synchronized_replicas_give_what_one_layer_gives(sizes: tuple[int, ...]) -> None:
    """Output and gradients are batch normalization's on the whole batch, to the bit."""
    s = drawn("synchronized_batch_norm", sizes, 3)
    found = OPERATIONS[s.configuration.op].train(s, DOUBLE)
    whole = batch_norm.train(replace(s, state=shards.held(s.state, 0)), DOUBLE)
    for name in ("output", "grad_input", "grad_gamma", "grad_beta", "moving_mean", "moving_variance"):
        np.testing.assert_array_equal(found[name].value, whole[name].value)


def test_a_replica_with_an_empty_shard_keeps_its_moving_values() -> None:
    """With statistics of its own."""
    s = drawn("replicated_batch_norm", (8, 0), 4)
    found = OPERATIONS[s.configuration.op].train(s, DOUBLE)
    np.testing.assert_array_equal(found["moving_mean_2"].value, s.state["moving_mean_2"])
    assert not np.array_equal(found["moving_mean"].value, s.state["moving_mean"])


def test_each_replica_infers_by_its_own_moving_values() -> None:
    """Rows of the second shard follow the second replica's."""
    s = drawn("replicated_batch_norm", (3, 5), 5)
    infer = OPERATIONS[s.configuration.op].infer
    moved = replace(s, state={**s.state, "moving_mean_2": s.state["moving_mean_2"] + 1})
    one, other = infer(s, DOUBLE)["output"].value, infer(moved, DOUBLE)["output"].value
    np.testing.assert_array_equal(one[:3], other[:3])
    assert (one[3:] != other[3:]).all()


def test_first_replaces_all_moving_values_before_a_pass() -> None:
    """In inference too, which leaves them so."""
    s = drawn("replicated_batch_norm", (3, 5), 6, Dialect(replica_moving="first"))
    found = OPERATIONS[s.configuration.op].infer(s, DOUBLE)
    np.testing.assert_array_equal(found["moving_variance_2"].value, s.state["moving_variance"])


CASE = """
- id: replicated.one
  title: A title that is long enough.
  source: "nobody"
  clauses: ["24.1"]
  op: replicated_batch_norm
  shape: [8, 3]
  feature_axes: [-1]
  options: OPTIONS
  steps: [{step: infer, input: {kind: constant, value: 1.0}}]
"""


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("{shards: [4, 3]}", "the shards [4, 3] are 7 samples together, and axis 0 has 8"),
        ("{shards: [8]}", "options.shards"),
        ("{shards: [9, -1]}", "options.shards"),
        ("{}", "shards"),
        ("{shard: [4, 4]}", "did you mean shards"),
    ],
)
def test_shards_that_cannot_be_are_refused_in_one_line(tmp_path: Path, options: str, complaint: str) -> None:
    """With the place of the mistake."""
    file = tmp_path / "replicated.yaml"
    file.write_text(CASE.replace("OPTIONS", options))
    with pytest.raises(SpecErrors, match=r"replicated\.yaml") as caught:
        load_file(file, {"24.1": "Shards."})
    assert complaint in str(caught.value), str(caught.value)

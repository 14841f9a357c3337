"""Hypotheses about replicas: what is joined, how, and what is not."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis, StateStep
from conformance.operations.moving import moved, weights
from conformance.operations.replicas import shards
from conformance.operations.replicas.shards import MOVING, named, plain
from conformance.operations.situation import Situation
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]
Change = Callable[[Situation, Results], Results]


def every_moving(configuration: Configuration) -> frozenset[str]:
    """Return the names of all replicas' moving values."""
    return frozenset(named(name, replica) for replica in range(len(shards.of(configuration))) for name in MOVING)


def shared(configuration: Configuration, plain: Iterable[Hypothesis]) -> Iterator[Hypothesis]:
    """Yield those hypotheses of the plain operation that are a change of configuration, dialect or algorithm alone.

    The others look at one layer's batch and state, which replicas do not have.
    """
    moving = every_moving(configuration)
    for hypothesis in plain:
        if hypothesis.change_situation is None and hypothesis.change_results is None:
            yield replace(
                hypothesis, only=hypothesis.only | moving if hypothesis.only & set(MOVING) else hypothesis.only
            )


def joining(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses about how the moving values of replicas with own statistics come together."""
    base = Hypothesis(configuration=configuration, dialect=dialect, only=every_moving(configuration))
    other: dict[Any, str] = {
        "apart": "replica-moving-apart",
        "mean": "replica-moving-averaged",
        "first": "replica-moving-of-first",
    }
    for value, id_ in other.items():
        if value != dialect.replica_moving:
            # Under `first` inference is by other values too.
            only = frozenset[str]() if "first" in (value, dialect.replica_moving) else base.only
            yield replace(base, cause=because(id_), dialect=replace(dialect, replica_moving=value), only=only)
    changes: dict[str, Change] = {
        "replica-moving-taken-from-first": functools.partial(_every, lambda _, values: values[0]),
        "replica-moving-taken-from-last": functools.partial(_every, lambda _, values: values[-1]),
        "replica-moving-added": functools.partial(_every, lambda _, values: sum(values)),
        "replica-moving-averaged-by-size": functools.partial(_every, _by_size),
        "replica-moving-of-whole-batch": _of_the_whole,
        "first-replica-alone-updated": _first_alone,
    }
    yield from (replace(base, cause=because(id_), change_results=change) for id_, change in changes.items())
    empty = base.only | {"grad_gamma"}
    yield replace(base, cause=because("empty-batch-averaged"), change_results=_nothing_averaged, only=empty)
    for id_, joined in (("reload-takes-first-replica", _first), ("reload-averages", _average)):
        change_state = functools.partial(_joined_on_reload, joined, len(shards.of(configuration)))
        yield replace(base, cause=because(id_), change_state=change_state)


def _nothing_averaged(situation: Situation, results: Results) -> Results:
    """Return NaN, 0/0, in the moving values of replicas without values, in all where their mean is kept, and in dγ."""
    empty = {replica for replica, part in enumerate(shards.parts(situation)) if not part.x.size}
    if not empty:
        return {}
    spread = situation.dialect.replica_moving == "mean"
    spoiled = {named(name, replica) for name in MOVING for replica in empty}
    names = (every_moving(situation.configuration) if spread else spoiled) | {"grad_gamma"}
    return {
        name: replace(results[name], value=np.full_like(results[name].value, np.nan)) for name in names & results.keys()
    }


def _first(values: Array) -> Array:
    return np.asarray(values[0])


def _average(values: Array) -> Array:
    return np.asarray(values.mean(axis=0))


def _joined_on_reload(joined: Callable[[Array], Array], replicas: int, step: StateStep, results: Results) -> Results:
    """Return one replica's moving values, or their mean, as what every replica has after loading."""
    if step.kind != "reload":
        return {}
    by_name = {
        name: [step.before[named(name, replica)] for replica in range(replicas)] for name in MOVING if name in results
    }
    return {
        named(name, replica): changed_to(results[named(name, replica)], joined(np.stack(values)))
        for name, values in by_name.items()
        for replica in range(replicas)
    }


def gradients(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses about the gradients of gamma and beta, which replicas share."""
    base = Hypothesis(configuration=configuration, dialect=dialect)
    learned = frozenset({"grad_gamma", "grad_beta"})
    value: Any = "sum" if dialect.replica_gradients == "mean" else "mean"
    cause = because("replica-gradients-added" if value == "sum" else "replica-gradients-averaged")
    yield replace(base, cause=cause, dialect=replace(dialect, replica_gradients=value), only=learned)
    replicas = len(shards.of(configuration))
    again = functools.partial(_multiplied, learned, replicas)
    yield replace(base, cause=because("replica-gradients-counted-again"), change_results=again, only=learned)


def misjoined(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield the hypotheses about how shards' statistics become those of the whole batch, and what follows of them."""
    yield from misjoined_statistics(base)
    only = frozenset({"grad_input"})
    yield replace(base, cause=because("gradients-within-replica"), change_results=_within, only=only)
    again = functools.partial(_through, len(shards.of(base.configuration)))
    yield replace(base, cause=because("statistics-gradients-counted-again"), change_results=again, only=only)
    none = functools.partial(_through, 0)
    yield replace(base, cause=because("no-gradients-through-statistics"), change_results=none, only=only)
    yield from moving_of_few(base)


def misjoined_statistics(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield the hypotheses about how shards' means and variances become those of the whole batch."""
    changes: dict[str, Change] = {
        "shard-variances-averaged": functools.partial(_joined, False, True),
        "shards-of-one-size": functools.partial(_joined, True, False),
        "shards-of-one-size-variances-averaged": functools.partial(_joined, True, True),
    }
    yield from (replace(base, cause=because(id_), change_results=change) for id_, change in changes.items())


def moving_of_few(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield the hypotheses about which replicas' moving values move, and how often."""
    moving = every_moving(base.configuration)
    yield replace(base, cause=because("first-replica-alone-updated"), change_results=_first_alone, only=moving)
    decay = base.configuration.decay ** len(shards.of(base.configuration))
    repeated = replace(base.configuration, decay=decay)
    yield replace(base, cause=because("moving-updated-per-replica"), configuration=repeated, only=moving)


def _every(choose: Callable[[Situation, Sequence[Array]], Any], situation: Situation, results: Results) -> Results:
    """Return the same moving values for every replica, chosen from those of all."""
    replicas = range(len(shards.of(situation.configuration)))
    result: Results = {}
    for name in (name for name in MOVING if name in results):
        every = [results[named(name, replica)] for replica in replicas]
        value = np.asarray(choose(situation, [expected.value for expected in every]))
        result |= {named(name, replica): changed_to(every[replica], value, len(every)) for replica in replicas}
    return result


def _by_size(situation: Situation, values: Sequence[Array]) -> Array:
    sizes = shards.of(situation.configuration)
    return np.asarray(sum(size * value for size, value in zip(sizes, values, strict=True)) / sum(sizes))


def _of_the_whole(situation: Situation, results: Results) -> Results:
    if not situation.x.size:
        return {}
    statistics = reference.batch_statistics(situation.x)
    entering = {"moving_mean": statistics.mean, "moving_variance": statistics.variance}
    if "moving_variance" in situation.state:
        entering["moving_variance"] = reference.moving_variance_batch(situation, statistics)
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    return {
        name: changed_to(results[name], moved(situation.state[name], entering[plain(name)], weight))
        for name in every_moving(situation.configuration) & results.keys()
    }


def _first_alone(situation: Situation, results: Results) -> Results:
    first = set(MOVING)
    return {
        name: results[name] if name in first else changed_to(results[name], situation.state[name])
        for name in every_moving(situation.configuration) & results.keys()
    }


def _multiplied(names: frozenset[str], factor: int, situation: Situation, results: Results) -> Results:
    return {name: changed_to(results[name], factor * results[name].value) for name in names & results.keys()}


def _rows(situation: Situation) -> list[slice]:
    """Return the rows of each shard that has any."""
    sizes = np.array(shards.of(situation.configuration)) * (len(situation.x) // sum(shards.of(situation.configuration)))
    return [slice(start, end) for start, end in itertools.pairwise(np.cumsum([0, *sizes])) if end > start]


def _joined(one_size: bool, without_spread: bool, situation: Situation, results: Results) -> Results:
    """Return the step by c = Σωx, v = Σω(x - c')², c' the shard's own mean or c; ω is 1/m or 1/(R·n_k), n_k a shard's.

    dc/dx = ω and dv/dx = 2ω(x - c'), so that dx = γ r (g - ω Σg - ω (x - c') r dγ). Where a mask leaves a value out, ω
    is 0, and m and n_k count the others.
    """
    x, upstream, mask = situation.x, situation.upstream, situation.arrays.get("mask")
    counted = np.ones(len(x), np.bool_) if mask is None else mask
    slices = _rows(situation) if x.size else []
    if not slices or not all(counted[rows].any() for rows in slices):
        return {}
    weight = np.zeros((len(x), 1), x.dtype)
    for rows in slices:
        count = counted[rows].sum() * len(slices) if one_size else counted.sum()
        weight[rows, 0] = counted[rows] / x.dtype.type(count)
    center = _weighted(weight, x)
    about = np.broadcast_to(center, x.shape).copy()
    if without_spread:
        for rows in slices:
            about[rows] = reference.batch_mean(x[rows][counted[rows]])
    variance = _weighted(weight, np.square(x - about))
    normalization = reference.normalize(situation, center, variance, 1.0)
    values = {"output": normalization.output}
    if upstream is not None:
        grad_beta, grad_gamma = upstream.sum(axis=0), (upstream * normalization.normalized).sum(axis=0)
        root = normalization.inverse_root
        through = np.where(weight > 0, weight * grad_beta + weight * (x - about) * root * grad_gamma, 0)
        values |= {
            "grad_beta": grad_beta,
            "grad_gamma": grad_gamma,
            "grad_input": normalization.gamma * root * (upstream - through),
        }
    step = weights(situation.dialect, situation.configuration.decay, situation.trained, x.dtype.type)
    for name in every_moving(situation.configuration) & situation.state.keys():
        batch = variance if name.startswith("moving_variance") else center
        values[name] = moved(situation.state[name], batch, step)
    return {name: changed_to(results[name], value, len(x)) for name, value in values.items() if name in results}


def _weighted(weight: Array, values: Array) -> Array:
    """Return Σωv, to which what has no weight adds nothing, number or not."""
    return np.asarray(np.where(weight > 0, weight * values, 0).sum(axis=0))


def _within(situation: Situation, results: Results) -> Results:
    """Return dx = γ r (g - Σ'g/m - x̂ Σ'(g x̂)/m), Σ' over the value's own shard."""
    return _with_through(situation, results, lambda values: _over_shards(situation, values))


def _through(times: int, situation: Situation, results: Results) -> Results:
    """Return dx with what goes through the statistics taken so many times."""
    return _with_through(situation, results, lambda values: times * values.sum(axis=0))


def _with_through(situation: Situation, results: Results, total: Callable[[Array], Array]) -> Results:
    x, upstream = situation.x, situation.upstream
    if upstream is None or not x.size or "grad_input" not in results:
        return {}
    _, _, n = reference.training(situation)
    through = (total(upstream) + n.normalized * total(upstream * n.normalized)) / len(x)
    value = n.gamma * n.inverse_root * (upstream - through)
    return {"grad_input": changed_to(results["grad_input"], value, len(x))}


def _over_shards(situation: Situation, values: Array) -> Array:
    result = np.empty_like(values)
    for rows in _rows(situation):
        result[rows] = values[rows].sum(axis=0)
    return result

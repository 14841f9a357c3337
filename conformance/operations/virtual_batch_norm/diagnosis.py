"""The single changes that virtual batches have been got wrong by, before those of batch normalization itself."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations import batch_norm
from conformance.operations.batch_norm.diagnosis import hypotheses as of_batch_norm
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.situation import Situation
from conformance.operations.virtual_batch_norm.reference import (
    MOVING,
    Grouping,
    averaged,
    consecutive,
    parts_of,
    train_in,
)
from conformance.precision import working
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

_MOVING = frozenset(MOVING)


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses about the parts, then those that speak of any batch normalization."""
    base = Hypothesis(configuration=configuration, dialect=dialect)

    def hypothesis(id_: str, change: Any, only: frozenset[str] = frozenset()) -> Hypothesis:
        return replace(base, cause=because(id_), only=only, change_results=functools.partial(_in_training, change))

    yield hypothesis("virtual-moving-updated-once", functools.partial(_once, consecutive), _MOVING)
    yield hypothesis("virtual-batches-interleaved", functools.partial(_grouped, interleaved))
    yield hypothesis("virtual-batches-interleaved-moving-updated-once", functools.partial(_once_of, interleaved))
    yield hypothesis("batch-not-divided", _undivided)
    yield hypothesis("moving-by-first-virtual-batch", functools.partial(_by_one, 0), _MOVING)
    yield hypothesis("moving-by-last-virtual-batch", functools.partial(_by_one, -1), _MOVING)
    yield hypothesis("moving-by-virtual-batches-reversed", _reversed, _MOVING)
    yield hypothesis("moving-by-whole-batch", _by_the_whole, _MOVING)
    learned = frozenset({"grad_gamma", "grad_beta"})
    yield hypothesis("virtual-gradients-averaged", _mean_gradients, learned)
    yield hypothesis("virtual-gradients-of-last", _last_gradients, learned)
    yield from of_batch_norm(configuration, dialect)


def interleaved(rows: int, parts: int) -> Array:
    """Return the rows of parts that take every n-th row, n the number of parts."""
    return np.arange(rows).reshape(-1, parts).T


def _in_training(change: Any, situation: Situation, results: Results) -> Results:
    """Return what the change gives of a train step; of another step it says nothing."""
    if "moving_mean" not in results or not situation.x.size:
        return {}
    # Whole samples stay together: a row is one position of a sample.
    altered: Results = change(situation, results)
    return {name: expected for name, expected in altered.items() if name in results}


def _by_sample(grouping: Grouping, samples: int) -> Grouping:
    """Return the grouping of samples as one of rows."""

    def of_rows(rows: int, parts: int) -> Array:
        by_sample = np.arange(rows).reshape(samples, -1)
        return np.asarray(by_sample[grouping(samples, parts)].reshape(parts, -1))

    return of_rows


def _grouped(grouping: Grouping, situation: Situation, results: Results) -> Results:
    del results
    return train_in(situation, working(situation.configuration.dtype), _by_sample(grouping, situation.shape[0]))


def _once(grouping: Grouping, situation: Situation, results: Results) -> Results:
    rows = _by_sample(grouping, situation.shape[0])
    return averaged(situation, results, rows, working(situation.configuration.dtype))


def _once_of(grouping: Grouping, situation: Situation, results: Results) -> Results:
    return _once(grouping, situation, _grouped(grouping, situation, results))


def _undivided(situation: Situation, results: Results) -> Results:
    del results
    return batch_norm.train(situation, working(situation.configuration.dtype))


def _by_one(which: int, situation: Situation, results: Results) -> Results:
    part = consecutive(len(situation.x), parts_of(situation))[which]
    upstream = None if situation.upstream is None else situation.upstream[part]
    alone = batch_norm.train(
        replace(situation, x=situation.x[part], upstream=upstream), working(situation.configuration.dtype)
    )
    return {**results, **{name: alone[name] for name in MOVING}}


def _reversed(situation: Situation, results: Results) -> Results:
    backwards = train_in(
        situation, working(situation.configuration.dtype), lambda rows, parts: consecutive(rows, parts)[::-1]
    )
    return {**results, **{name: backwards[name] for name in MOVING}}


def _by_the_whole(situation: Situation, results: Results) -> Results:
    whole = _undivided(situation, results)
    return {**results, **{name: whole[name] for name in MOVING}}


def _mean_gradients(situation: Situation, results: Results) -> Results:
    parts = parts_of(situation)
    learned = ("grad_gamma", "grad_beta")
    return {
        **results,
        **{name: replace(results[name], value=results[name].value / parts) for name in learned if name in results},
    }


def _last_gradients(situation: Situation, results: Results) -> Results:
    part = consecutive(len(situation.x), parts_of(situation))[-1]
    if situation.upstream is None:
        return {}
    last = batch_norm.train(
        replace(situation, x=situation.x[part], upstream=situation.upstream[part]),
        working(situation.configuration.dtype),
    )
    return {**results, **{name: last[name] for name in ("grad_gamma", "grad_beta") if name in last}}

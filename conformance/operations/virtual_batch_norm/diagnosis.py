"""The single changes that virtual batches have been got wrong by, before those of batch normalization itself."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations import batch_norm
from conformance.operations.batch_norm.diagnosis import hypotheses as of_batch_norm
from conformance.operations.operation import Expected, Hypothesis, Situation
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
Found = dict[str, Expected]

_MOVING = frozenset(MOVING)


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses about the parts, then those that speak of any batch normalization."""
    base = Hypothesis(configuration=configuration, dialect=dialect)

    def changed(id_: str, change: Any, only: frozenset[str] = frozenset()) -> Hypothesis:
        return replace(base, cause=because(id_), only=only, changed=functools.partial(_in_training, change))

    yield changed("virtual-moving-updated-once", functools.partial(_once, consecutive), _MOVING)
    yield changed("virtual-batches-interleaved", functools.partial(_grouped, interleaved))
    yield changed("virtual-batches-interleaved-moving-updated-once", functools.partial(_once_of, interleaved))
    yield changed("batch-not-divided", _undivided)
    yield changed("moving-by-first-virtual-batch", functools.partial(_by_one, 0), _MOVING)
    yield changed("moving-by-last-virtual-batch", functools.partial(_by_one, -1), _MOVING)
    yield changed("moving-by-virtual-batches-reversed", _reversed, _MOVING)
    yield changed("moving-by-whole-batch", _by_the_whole, _MOVING)
    learned = frozenset({"grad_gamma", "grad_beta"})
    yield changed("virtual-gradients-averaged", _mean_gradients, learned)
    yield changed("virtual-gradients-of-last", _last_gradients, learned)
    yield from of_batch_norm(configuration, dialect)


def interleaved(rows: int, parts: int) -> Array:
    """Return the rows of parts that take every n-th row, n the number of parts."""
    return np.arange(rows).reshape(-1, parts).T


def _in_training(change: Any, situation: Situation, found: Found) -> Found:
    """Return what the change gives of a train step; of another step it says nothing."""
    if "moving_mean" not in found or not situation.x.size:
        return {}
    # Whole samples stay together: a row is one position of a sample.
    given: Found = change(situation, found)
    return {name: each for name, each in given.items() if name in found}


def _by_sample(grouping: Grouping, samples: int) -> Grouping:
    """Return the grouping of samples as one of rows."""

    def of_rows(rows: int, parts: int) -> Array:
        each = np.arange(rows).reshape(samples, -1)
        return np.asarray(each[grouping(samples, parts)].reshape(parts, -1))

    return of_rows


def _grouped(grouping: Grouping, situation: Situation, found: Found) -> Found:
    del found
    return train_in(situation, working(situation.configuration.dtype), _by_sample(grouping, situation.shape[0]))


def _once(grouping: Grouping, situation: Situation, found: Found) -> Found:
    rows = _by_sample(grouping, situation.shape[0])
    return averaged(situation, found, rows, working(situation.configuration.dtype))


def _once_of(grouping: Grouping, situation: Situation, found: Found) -> Found:
    return _once(grouping, situation, _grouped(grouping, situation, found))


def _undivided(situation: Situation, found: Found) -> Found:
    del found
    return batch_norm.train(situation, working(situation.configuration.dtype))


def _by_one(which: int, situation: Situation, found: Found) -> Found:
    part = consecutive(len(situation.x), parts_of(situation))[which]
    upstream = None if situation.upstream is None else situation.upstream[part]
    alone = batch_norm.train(
        replace(situation, x=situation.x[part], upstream=upstream), working(situation.configuration.dtype)
    )
    return {**found, **{name: alone[name] for name in MOVING}}


def _reversed(situation: Situation, found: Found) -> Found:
    backwards = train_in(
        situation, working(situation.configuration.dtype), lambda rows, parts: consecutive(rows, parts)[::-1]
    )
    return {**found, **{name: backwards[name] for name in MOVING}}


def _by_the_whole(situation: Situation, found: Found) -> Found:
    whole = _undivided(situation, found)
    return {**found, **{name: whole[name] for name in MOVING}}


def _mean_gradients(situation: Situation, found: Found) -> Found:
    parts = parts_of(situation)
    learned = ("grad_gamma", "grad_beta")
    return {
        **found,
        **{name: replace(found[name], value=found[name].value / parts) for name in learned if name in found},
    }


def _last_gradients(situation: Situation, found: Found) -> Found:
    part = consecutive(len(situation.x), parts_of(situation))[-1]
    if situation.upstream is None:
        return {}
    last = batch_norm.train(
        replace(situation, x=situation.x[part], upstream=situation.upstream[part]),
        working(situation.configuration.dtype),
    )
    return {**found, **{name: last[name] for name in ("grad_gamma", "grad_beta") if name in last}}

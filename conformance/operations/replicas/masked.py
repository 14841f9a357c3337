"""Hypotheses about replicas that share the statistics of what a mask counts: each replica counts positions of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations import batch_norm, masked_batch_norm
from conformance.operations.batch_norm.overflow import overflows
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.masked_batch_norm import diagnosis as masks
from conformance.operations.masked_batch_norm import reference
from conformance.operations.replicas import diagnosis, shards
from conformance.operations.replicas.replicated import Replicated
from conformance.operations.replicas.shards import MOVING, named
from conformance.operations.situation import Situation
from conformance.precision import Precision, working
from conformance.protocol import Configuration

Results = dict[str, Expected]

_Change = Callable[[Situation, Results], Results]
#: How the divisors begin that are the right one and a little more.
_LITTLE_MORE = "the positions that count, and"


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses: how shards are joined, what the mask is taken for, and what plain batch normalization has."""
    base = Hypothesis(configuration=configuration, dialect=dialect)
    yield from diagnosis.misjoined_statistics(base)
    yield from diagnosis.moving_of_few(base)
    apart, averaged = replace(dialect, replica_moving="apart"), replace(dialect, replica_moving="mean")
    for id_, own in (("own-statistics", apart), ("own-statistics-moving-averaged", averaged)):
        yield replace(base, cause=because(id_), change_results=functools.partial(_apart, own, None))
    moving = diagnosis.every_moving(configuration)
    for hypothesis in masks.about_the_mask(base):
        change, told = hypothesis.change_results, dict(hypothesis.cause.parameters)
        if hypothesis.cause.id == "wrong-divisor" and str(told["divisor"]).startswith(_LITTLE_MORE):
            cause = because("own-statistics-by-wrong-divisor", **told)
            yield replace(base, cause=cause, change_results=functools.partial(_apart, apart, change))
        yield replace(
            hypothesis,
            change_results=None if change is None else functools.partial(_on_every_replica, change),
            only=hypothesis.only | moving if hypothesis.only & set(MOVING) else hypothesis.only,
        )
    yield from diagnosis.gradients(configuration, dialect)
    yield from diagnosis.shared(configuration, batch_norm.BATCH_NORM.hypotheses(configuration, dialect))
    yield from overflows(base)


def _apart(dialect: Dialect, change: _Change | None, situation: Situation, results: Results) -> Results:
    """Return the step by each shard's own statistics, changed as well or not, where each has positions that count."""
    if not results or not all(reference.counts(part).any() for part in shards.parts(situation)):
        return {}

    def train(part: Situation, worked: Precision) -> Results:
        plain = masked_batch_norm.train(part, worked)
        return plain if change is None else {**plain, **change(part, plain)}

    replicated = Replicated(one_train=train, one_infer=batch_norm.infer)
    return replicated.train(replace(situation, dialect=dialect), working(situation.configuration.dtype))


def _on_every_replica(change: _Change, situation: Situation, results: Results) -> Results:
    """Return what the change of one layer's step makes of the whole batch, and of every replica's moving values."""
    changed = dict(change(replace(situation, state=shards.held(situation.state, 0)), results))
    for replica in range(1, len(shards.of(situation.configuration)) if changed else 0):
        held = {name: results[named(name, replica)] for name in MOVING if name in results}
        own = change(replace(situation, state=shards.held(situation.state, replica)), {**results, **held})
        changed |= {named(name, replica): own[name] for name in MOVING if name in own}
    return changed

"""Batch normalization and centering over replicas, each of which has a part of the batch.

Synchronized, they take the statistics of the whole batch; replicated, each takes its own part's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.batch_norm.overflow import overflows
from conformance.operations.centering import CENTERING
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.masked_batch_norm import MASKED_BATCH_NORM
from conformance.operations.operation import Operation
from conformance.operations.replicas import diagnosis, masked, rational, shards
from conformance.operations.replicas.replicated import Replicated
from conformance.operations.replicas.synchronized import Synchronized
from conformance.operations.situation import Situation
from conformance.precision import working
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

_BATCH_NORM = Replicated(one_train=BATCH_NORM.train, one_infer=BATCH_NORM.infer)
_SYNCHRONIZED = Synchronized(one_train=BATCH_NORM.train, one_infer=BATCH_NORM.infer)
_MASKED = Synchronized(one_train=MASKED_BATCH_NORM.train, one_infer=MASKED_BATCH_NORM.infer)
_CENTERING = Replicated(one_train=CENTERING.train, one_infer=CENTERING.infer)


def _synchronized_hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    base = Hypothesis(configuration=configuration, dialect=dialect)
    own: dict[str, Any] = {
        "own-statistics": "apart",
        "own-statistics-moving-averaged": "mean",
    }
    for id_, joined in own.items():
        change_results = functools.partial(_replicated, replace(dialect, replica_moving=joined))
        yield replace(base, cause=because(id_), change_results=change_results)
    yield from diagnosis.misjoined(base)
    yield from diagnosis.gradients(configuration, dialect)
    yield from diagnosis.shared(configuration, BATCH_NORM.hypotheses(configuration, dialect))
    yield from overflows(base)


def _replicated(dialect: Dialect, situation: Situation, quantities: Results) -> Results:  # noqa: ARG001 - all is different
    return _BATCH_NORM.train(replace(situation, dialect=dialect), working(situation.configuration.dtype))


def _replicated_hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    yield from diagnosis.joining(configuration, dialect)
    base = Hypothesis(configuration=configuration, dialect=dialect)
    yield replace(base, cause=because("statistics-of-whole-batch"), change_results=_whole)
    yield from diagnosis.gradients(configuration, dialect)
    yield from diagnosis.shared(configuration, BATCH_NORM.hypotheses(configuration, dialect))
    yield from overflows(base)


def _whole(situation: Situation, quantities: Results) -> Results:  # noqa: ARG001 - all is different
    return _SYNCHRONIZED.train(situation, working(situation.configuration.dtype))


def _centering_hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    yield from diagnosis.joining(configuration, dialect)
    yield from diagnosis.shared(configuration, CENTERING.hypotheses(configuration, dialect))


def _rows_terms(operation: Operation, kind: str, situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    """Return the terms of each replica's rows, joined, and of its own moving values."""
    by_quantity: dict[str, dict[str, Array]] = {}
    every = []
    for replica, part in enumerate(shards.parts(situation)):
        terms = operation.train_terms(part) if kind == "train" else operation.infer_terms(part)
        if not terms:  # an empty shard
            continue
        every.append((part, terms))
        moving = (name for name in shards.MOVING if name in terms)
        by_quantity |= {shards.named(name, replica): dict(terms[name]) for name in moving}
    for name in ("output", "grad_input"):
        rows = [(part.x.shape, terms[name]) for part, terms in every if name in terms]
        if rows:
            by_quantity[name] = {
                term: np.concatenate([np.broadcast_to(row_terms[term], shape) for shape, row_terms in rows])
                for term in rows[0][1]
            }
    return by_quantity


_FORMULAS = {
    "reload": "the state after loading = the state before saving, bit for bit, of every replica",
    "freeze": "the state stays as it is",
    "unfreeze": "the state stays as it is",
    "sgd": "γ ← γ - η·dγ,  β ← β - η·dβ",
}

SYNCHRONIZED_BATCH_NORM = replace(
    BATCH_NORM,
    name="synchronized_batch_norm",
    ladder="",
    quantities=shards.quantities(BATCH_NORM.quantities),
    begins_as=shards.begins_as(shards.MOVING),
    options=shards.Options,
    misfit=shards.misfit,
    formulas={
        **_FORMULAS,
        "train": "batch normalization of the whole batch, Σ over all shards; each replica's M and V move by its μ and σ²",
        "infer": "x̂ = (x-M_k)/√(V_k+ε),  y = γ·x̂ + β,  M_k and V_k of the replica whose shard x is in",
    },
    train=_SYNCHRONIZED.train,
    infer=_SYNCHRONIZED.infer,
    rational=rational.SYNCHRONIZED,
    observers={},
    hypotheses=_synchronized_hypotheses,
    infer_terms=functools.partial(_rows_terms, BATCH_NORM, "infer"),
    equations=None,
    implied=None,
)

MASKED_SYNCHRONIZED_BATCH_NORM = replace(
    SYNCHRONIZED_BATCH_NORM,
    name="masked_synchronized_batch_norm",
    formulas={
        **_FORMULAS,
        "train": f"{MASKED_BATCH_NORM.formulas['train']};  Σ over all shards, each replica's M and V move by its μ and σ²",
        "infer": SYNCHRONIZED_BATCH_NORM.formulas["infer"],
    },
    train=_MASKED.train,
    infer=_MASKED.infer,
    rational=rational.MASKED_SYNCHRONIZED,
    hypotheses=masked.hypotheses,
    train_terms=MASKED_BATCH_NORM.train_terms,
    arrays=MASKED_BATCH_NORM.arrays,
)

REPLICATED_BATCH_NORM = replace(
    SYNCHRONIZED_BATCH_NORM,
    name="replicated_batch_norm",
    formulas={
        **_FORMULAS,
        "train": (
            "of replica k:  μ_k = Σx/m_k,  σ²_k = Σ(x-μ_k)²/m_k,  x̂ = (x-μ_k)/√(σ²_k+ε),  y = γ·x̂ + β;  "
            "M_k ← a·M_k + (1-a)·μ_k,  V_k ← a·V_k + (1-a)·σ²_k;  dβ and dγ are sums over all shards"
        ),
        "infer": SYNCHRONIZED_BATCH_NORM.formulas["infer"],
    },
    train=_BATCH_NORM.train,
    infer=_BATCH_NORM.infer,
    rational=rational.BATCH_NORM,
    hypotheses=_replicated_hypotheses,
    train_terms=functools.partial(_rows_terms, BATCH_NORM, "train"),
)

REPLICATED_CENTERING = replace(
    CENTERING,
    name="replicated_centering",
    # The published layer's own words: the replicas' moving means are averaged.
    dialect=replace(CENTERING.dialect, replica_moving="mean"),
    quantities=shards.quantities(CENTERING.quantities),
    begins_as=shards.begins_as(("moving_mean",)),
    options=shards.Options,
    misfit=shards.misfit,
    formulas={
        **_FORMULAS,
        "train": "of replica k:  μ_k = Σx/m_k,  y = x - μ_k,  dx = g - Σg/m_k;  M ← the mean over k of a·M + (1-a)·μ_k",
        "infer": "y = x - M;  dx = g",
        "freeze": "the state stays as it is; a frozen layer infers",
    },
    train=_CENTERING.train,
    infer=_CENTERING.infer,
    rational=rational.CENTERING,
    observers={},
    hypotheses=_centering_hypotheses,
    train_terms=functools.partial(_rows_terms, CENTERING, "train"),
    infer_terms=functools.partial(_rows_terms, CENTERING, "infer"),
    equations=None,
    implied=None,
)

REPLICAS = (SYNCHRONIZED_BATCH_NORM, MASKED_SYNCHRONIZED_BATCH_NORM, REPLICATED_BATCH_NORM, REPLICATED_CENTERING)

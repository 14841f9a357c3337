"""Replicas without synchronization: each normalizes its shard by the shard's own statistics.

What becomes of the moving values is the question, and a field of the dialect: `replica_moving`. Each replica's numbers
are the plain operation's on its shard; this module joins them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations.expected import Expected
from conformance.operations.moving import weights
from conformance.operations.operation import Reference
from conformance.operations.replicas import shards
from conformance.operations.replicas.shards import MOVING, joined, named, summed
from conformance.operations.situation import Situation
from conformance.precision import Precision, theta

Array = np.ndarray[Any, np.dtype[Any]]

_SHAPED = ("output", "grad_input")
_LEARNED = ("grad_gamma", "grad_beta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    """The passes of an operation on several replicas, from its passes on one."""

    one_train: Reference
    one_infer: Reference

    def train(self, situation: Situation, worked: Precision) -> dict[str, Expected]:
        """Return what one train step must give.

        `mean`: every replica's moving values become the mean of all replicas', in any order of averaging and updating.
        """
        situations = _entered(situation)
        by_replica = [self.one_train(part, worked) for part in situations]
        results = _together(situation, by_replica, worked)
        for name in (name for name in MOVING if name in by_replica[0]):
            moved = [replica_results[name] for replica_results in by_replica]
            if situation.dialect.replica_moving == "mean":
                moved = [_averaged(name, situations, by_replica, worked)] * len(by_replica)
            results |= {named(name, replica): value for replica, value in enumerate(moved)}
        return results

    def infer(self, situation: Situation, worked: Precision) -> dict[str, Expected]:
        """Return what one inference step must give: each replica's shard by its own moving values."""
        situations = _entered(situation)
        results = _together(situation, [self.one_infer(part, worked) for part in situations], worked)
        if situation.dialect.replica_moving == "first":
            for replica, part in enumerate(situations):
                results |= {named(name, replica): _kept(part.state[name]) for name in MOVING if name in part.state}
        return results


def _entered(situation: Situation) -> list[Situation]:
    """Return each replica's step; under `first` all enter it with the first replica's moving values."""
    situations = list(shards.parts(situation))
    if situation.dialect.replica_moving == "first":
        return [replace(part, state=situations[0].state) for part in situations]
    return situations


def _together(
    situation: Situation, by_replica: Sequence[Mapping[str, Expected]], worked: Precision
) -> dict[str, Expected]:
    """Return the rows joined, and the gradients of the parameters that the replicas share added or averaged."""
    divisor = len(by_replica) if situation.dialect.replica_gradients == "mean" else 1
    # A lone value that passes as it is has no gradients of gamma and beta.
    names = [name for name in by_replica[0] if all(name in replica_results for replica_results in by_replica)]
    shaped = {
        name: joined([replica_results[name] for replica_results in by_replica]) for name in _SHAPED if name in names
    }
    # An empty shard adds nothing, even where its replica's moving values are NaN.
    adding = [replica_results for replica_results in by_replica if replica_results["output"].value.size] or by_replica
    learned = {
        name: summed([replica_results[name] for replica_results in adding], worked, divisor)
        for name in _LEARNED
        if name in names
    }
    return shaped | learned


def _averaged(
    name: str, situations: Sequence[Situation], by_replica: Sequence[Mapping[str, Expected]], worked: Precision
) -> Expected:
    """Return the mean of the replicas' moving values after the step.

    Averaged before the update instead of after it, the batch's values s_k round apart from the old M_k:
    θ(R)·Σ(w|M_k| + v(|s_k| + e_k))/R more than `summed` has, whose |w·M_k + v·s_k| may be less.
    """
    mean = summed([replica_results[name] for replica_results in by_replica], worked, len(by_replica))
    first = situations[0]
    kept, added = (abs(float(weight)) for weight in weights(first.dialect, first.configuration.decay, first.trained))
    extra = np.zeros(mean.bound.shape)
    for part, replica_results in zip(situations, by_replica, strict=True):
        batch = replica_results.get(name.replace("moving", "batch"))
        # Bessel's factor is at most 2.
        entering = 0.0 if batch is None else 2 * (np.abs(batch.value) + batch.bound)
        extra += np.asarray(kept * np.abs(part.state[name]) + added * entering, dtype=np.float64)
    extra *= theta(len(by_replica), worked.unit) / len(by_replica)
    narrower = {grade: bound + extra for grade, bound in mean.narrower.items()}
    return replace(mean, bound=mean.bound + extra, narrower=narrower)


def _kept(value: Array) -> Expected:
    none = np.zeros(value.shape)
    return Expected(
        value=value, bound=none, magnitude=np.full(value.shape, np.inf), in_domain=np.ones(value.shape, dtype=bool)
    )

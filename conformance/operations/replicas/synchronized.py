"""Replicas with synchronized statistics: all together give what one layer gives on the whole batch.

The reference is batch normalization's own. Its bounds hold as they are: R partial sums of m/R values, joined and divided
twice, m/R and R, are at most m + 1 roundings of a value, as many as a sequential sum and its division have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations.expected import Expected
from conformance.operations.operation import Reference
from conformance.operations.replicas import shards
from conformance.operations.replicas.shards import MOVING, joined, named, summed
from conformance.operations.situation import Situation
from conformance.precision import Precision

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synchronized:
    """The passes of an operation on several replicas that share its statistics, from its passes on one layer."""

    one_train: Reference
    one_infer: Reference

    def train(self, situation: Situation, worked: Precision) -> dict[str, Expected]:
        """Return what one train step must give: the whole batch's numbers, and every replica's moving values moved by them."""
        results = self.one_train(replace(situation, state=shards.held(situation.state, 0)), worked)
        for replica in range(1, len(shards.of(situation.configuration))):
            own = shards.held(situation.state, replica)
            alike = all(np.array_equal(own[name], situation.state[name], equal_nan=True) for name in MOVING)
            replica_results = results if alike else self.one_train(replace(situation, state=own, upstream=None), worked)
            results |= {named(name, replica): replica_results[name] for name in MOVING}
        return _divided(results, situation, worked)

    def infer(self, situation: Situation, worked: Precision) -> dict[str, Expected]:
        """Return what one inference step must give: each shard by its replica's moving values, which are all alike."""
        by_replica = [self.one_infer(part, worked) for part in shards.parts(situation)]
        rows = {
            name: joined([replica_results[name] for replica_results in by_replica])
            for name in ("output", "grad_input")
            if name in by_replica[0]
        }
        learned = [name for name in ("grad_gamma", "grad_beta") if name in by_replica[0]]
        # An empty shard adds nothing, even where its replica's moving values are NaN.
        adding = [
            replica_results for replica_results in by_replica if replica_results["output"].value.size
        ] or by_replica
        return _divided(
            rows | {name: summed([replica_results[name] for replica_results in adding], worked) for name in learned},
            situation,
            worked,
        )


def _divided(results: Mapping[str, Expected], situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return the gradients of gamma and beta divided by the number of replicas where the dialect averages them."""
    if situation.dialect.replica_gradients == "sum":
        return dict(results)
    replicas = len(shards.of(situation.configuration))
    return {
        name: summed([expected], worked, replicas) if name in ("grad_gamma", "grad_beta") else expected
        for name, expected in results.items()
    }

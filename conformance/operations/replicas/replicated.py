"""Replicas without synchronization: each normalizes its shard by the shard's own statistics.

What becomes of the moving values is the question, and a field of the dialect: `replica_moving`. Each replica's numbers
are the plain operation's on its shard; this module joins them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations.moving import weights
from conformance.operations.operation import Expected, Reference, Situation
from conformance.operations.replicas import shards
from conformance.operations.replicas.shards import MOVING, joined, named, summed
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
        each = [self.one_train(part, worked) for part in situations]
        found = _together(situation, each, worked)
        for name in (name for name in MOVING if name in each[0]):
            moved = [one[name] for one in each]
            if situation.dialect.replica_moving == "mean":
                moved = [_averaged(name, situations, each, worked)] * len(each)
            found |= {named(name, replica): value for replica, value in enumerate(moved)}
        return found

    def infer(self, situation: Situation, worked: Precision) -> dict[str, Expected]:
        """Return what one inference step must give: each replica's shard by its own moving values."""
        situations = _entered(situation)
        found = _together(situation, [self.one_infer(part, worked) for part in situations], worked)
        if situation.dialect.replica_moving == "first":
            for replica, part in enumerate(situations):
                found |= {named(name, replica): _kept(part.state[name]) for name in MOVING if name in part.state}
        return found


def _entered(situation: Situation) -> list[Situation]:
    """Return each replica's step; under `first` all enter it with the first replica's moving values."""
    situations = list(shards.parts(situation))
    if situation.dialect.replica_moving == "first":
        return [replace(part, state=situations[0].state) for part in situations]
    return situations


def _together(situation: Situation, each: Sequence[Mapping[str, Expected]], worked: Precision) -> dict[str, Expected]:
    """Return the rows joined, and the gradients of the parameters that the replicas share added or averaged."""
    divisor = len(each) if situation.dialect.replica_gradients == "mean" else 1
    # A lone value that passes as it is has no gradients of gamma and beta.
    given = [name for name in each[0] if all(name in one for one in each)]
    shaped = {name: joined([one[name] for one in each]) for name in _SHAPED if name in given}
    # An empty shard adds nothing, even where its replica's moving values are NaN.
    adding = [one for one in each if one["output"].value.size] or each
    learned = {name: summed([one[name] for one in adding], worked, divisor) for name in _LEARNED if name in given}
    return shaped | learned


def _averaged(
    name: str, situations: Sequence[Situation], each: Sequence[Mapping[str, Expected]], worked: Precision
) -> Expected:
    """Return the mean of the replicas' moving values after the step.

    Averaged before the update instead of after it, the batch's values s_k round apart from the old M_k:
    θ(R)·Σ(w|M_k| + v(|s_k| + e_k))/R more than `summed` has, whose |w·M_k + v·s_k| may be less.
    """
    found = summed([one[name] for one in each], worked, len(each))
    first = situations[0]
    kept, taken = (abs(float(one)) for one in weights(first.dialect, first.configuration.decay, first.trained))
    extra = np.zeros(found.bound.shape)
    for part, one in zip(situations, each, strict=True):
        batch = one.get(name.replace("moving", "batch"))
        # Bessel's factor is at most 2.
        entering = 0.0 if batch is None else 2 * (np.abs(batch.value) + batch.bound)
        extra += np.asarray(kept * np.abs(part.state[name]) + taken * entering, dtype=np.float64)
    extra *= theta(len(each), worked.unit) / len(each)
    narrower = {grade: bound + extra for grade, bound in found.narrower.items()}
    return replace(found, bound=found.bound + extra, narrower=narrower)


def _kept(value: Array) -> Expected:
    none = np.zeros(value.shape)
    return Expected(
        value=value, bound=none, magnitude=np.full(value.shape, np.inf), in_domain=np.ones(value.shape, dtype=bool)
    )

"""Shards: how a batch is split among replicas, and what each of them holds.

Every replica has moving values of its own. Those of the first have the plain names, those of replica k > 1 the
suffix `_k`: `moving_mean`, `moving_mean_2`, …; gamma and beta are one for all.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from conformance.operations.expected import Expected
from conformance.operations.operation import Quantity
from conformance.operations.situation import Situation
from conformance.precision import Precision, theta
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]

#: The most replicas that a case may have.
MOST = 8
MOVING = ("moving_mean", "moving_variance")


class Options(BaseModel):
    """What a case says of its replicas."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    shards: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...],
        Field(strict=False, min_length=2, max_length=MOST, description="Samples of each replica, in order."),
    ]


def of(configuration: Configuration) -> tuple[int, ...]:
    """Return how many samples each replica has."""
    return tuple(configuration.options["shards"])


def misfit(configuration: Configuration, _kind: str, shape: Sequence[int]) -> str:
    """Return why a step of that shape cannot be split so; empty where it can."""
    if 0 in configuration.feature_axes:
        return "axis 0, along which the shards lie, is a feature axis"
    sizes = of(configuration)
    if sum(sizes) == shape[0]:
        return ""
    return f"the shards {list(sizes)} are {sum(sizes)} samples together, and axis 0 has {shape[0]}"


def named(name: str, replica: int) -> str:
    """Return the name of a replica's moving value; replicas count from 0."""
    return f"{name}_{replica + 1}" if replica else name


def plain(name: str) -> str:
    """Return the name that a replica's moving value has on the first one; any other name as it is."""
    stem, _, number = name.rpartition("_")
    return stem if number.isdecimal() else name


def quantities(own: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Return the quantities of several replicas, given those of one: its moving values once for each."""
    moving = [name for name in own if name in MOVING]
    further = {
        named(name, replica): Quantity(role="state", present=functools.partial(_has, replica))
        for replica in range(1, MOST)
        for name in moving
    }
    return {**own, **further}


def _has(replica: int, configuration: Configuration) -> bool:
    return replica < len(of(configuration))


def begins_as(own: Sequence[str]) -> dict[str, str]:
    """Return, by the name of every further replica's moving value, the first one's: all begin alike."""
    return {named(name, replica): name for replica in range(1, MOST) for name in own if name in MOVING}


def held(state: Mapping[str, Array], replica: int) -> dict[str, Array]:
    """Return the state as that replica has it, under the plain names."""
    learned = {name: value for name, value in state.items() if plain(name) not in MOVING}
    return learned | {name: state[named(name, replica)] for name in MOVING if name in state}


def parts(situation: Situation) -> Iterator[Situation]:
    """Yield each replica's step: its rows, and its own state."""
    sizes = of(situation.configuration)
    rows_per_sample = situation.x.shape[0] // max(1, sum(sizes))
    ends = np.cumsum([0, *sizes]) * rows_per_sample
    for replica, (start, end) in enumerate(itertools.pairwise(ends)):
        upstream = None if situation.upstream is None else situation.upstream[start:end]
        own, arrays = (
            held(situation.state, replica),
            {name: array[start:end] for name, array in situation.arrays.items()},
        )
        yield replace(situation, x=situation.x[start:end], upstream=upstream, state=own, arrays=arrays)


def joined(by_replica: Sequence[Expected]) -> Expected:
    """Return the rows of all replicas one below another, as one quantity of shape (m, C)."""
    rows = [expected.value.shape for expected in by_replica]
    return replace(
        by_replica[0],
        value=np.concatenate([expected.value for expected in by_replica]),
        bound=np.concatenate([expected.bound for expected in by_replica]),
        magnitude=np.concatenate(
            [np.broadcast_to(expected.magnitude, shape) for expected, shape in zip(by_replica, rows, strict=True)]
        ),
        in_domain=np.concatenate(
            [np.broadcast_to(expected.in_domain, shape) for expected, shape in zip(by_replica, rows, strict=True)]
        ),
        narrower={
            grade: np.concatenate([expected.narrower[grade] for expected in by_replica])
            for grade in _grades(by_replica)
        },
    )


def summed(by_replica: Sequence[Expected], worked: Precision, divisor: int = 1) -> Expected:
    """Return Σ s_k / n within Σ(b_k + θ(R)·(|s_k| + b_k)) / n, s_k within b_k.

    R - 1 additions in any order and one division are R roundings of each term.
    """
    roundings = theta(len(by_replica), worked.unit)

    def bound(bounds: Sequence[Array]) -> Array:
        terms = [
            limit + roundings * (np.abs(replica.value).astype(np.float64) + limit)
            for replica, limit in zip(by_replica, bounds, strict=True)
        ]
        return np.asarray(sum(terms) / divisor)

    return replace(
        by_replica[0],
        value=np.asarray(sum(expected.value for expected in by_replica) / by_replica[0].value.dtype.type(divisor)),
        bound=bound([expected.bound for expected in by_replica]),
        magnitude=np.asarray(sum(expected.magnitude for expected in by_replica) / divisor),
        in_domain=np.logical_and.reduce([expected.in_domain for expected in by_replica]),
        narrower={grade: bound([expected.narrower[grade] for expected in by_replica]) for grade in _grades(by_replica)},
    )


def _grades(by_replica: Sequence[Expected]) -> tuple[str, ...]:
    """Return the grades of which every replica has a bound; an empty shard is certain, and has none."""
    return tuple(
        grade for grade in by_replica[0].narrower if all(grade in expected.narrower for expected in by_replica)
    )

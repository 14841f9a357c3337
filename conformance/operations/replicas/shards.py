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

from conformance.operations.operation import Expected, Quantity, Situation
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
    return {named(name, each): name for each in range(1, MOST) for name in own if name in MOVING}


def held(state: Mapping[str, Array], replica: int) -> dict[str, Array]:
    """Return the state as that replica has it, under the plain names."""
    learned = {name: value for name, value in state.items() if plain(name) not in MOVING}
    return learned | {name: state[named(name, replica)] for name in MOVING if name in state}


def parts(situation: Situation) -> Iterator[Situation]:
    """Yield each replica's step: its rows, and its own state."""
    sizes = of(situation.configuration)
    each = situation.x.shape[0] // max(1, sum(sizes))
    ends = np.cumsum([0, *sizes]) * each
    for replica, (start, end) in enumerate(itertools.pairwise(ends)):
        upstream = None if situation.upstream is None else situation.upstream[start:end]
        own = held(situation.state, replica)
        yield replace(situation, x=situation.x[start:end], upstream=upstream, state=own)


def joined(found: Sequence[Expected]) -> Expected:
    """Return the rows of all replicas one below another, as one quantity of shape (m, C)."""
    rows = [each.value.shape for each in found]
    return replace(
        found[0],
        value=np.concatenate([each.value for each in found]),
        bound=np.concatenate([each.bound for each in found]),
        magnitude=np.concatenate(
            [np.broadcast_to(each.magnitude, shape) for each, shape in zip(found, rows, strict=True)]
        ),
        in_domain=np.logical_and.reduce([each.in_domain for each in found]),
        narrower={grade: np.concatenate([each.narrower[grade] for each in found]) for grade in _grades(found)},
    )


def summed(found: Sequence[Expected], worked: Precision, divisor: int = 1) -> Expected:
    """Return Σ s_k / n within Σ(b_k + θ(R)·(|s_k| + b_k)) / n, s_k within b_k.

    R - 1 additions in any order and one division are R roundings of each term.
    """
    roundings = theta(len(found), worked.unit)

    def bound(bounds: Sequence[Array]) -> Array:
        terms = [
            each + roundings * (np.abs(one.value).astype(np.float64) + each)
            for one, each in zip(found, bounds, strict=True)
        ]
        return np.asarray(sum(terms) / divisor)

    return replace(
        found[0],
        value=np.asarray(sum(each.value for each in found) / found[0].value.dtype.type(divisor)),
        bound=bound([each.bound for each in found]),
        magnitude=np.asarray(sum(each.magnitude for each in found) / divisor),
        in_domain=np.logical_and.reduce([each.in_domain for each in found]),
        narrower={grade: bound([each.narrower[grade] for each in found]) for grade in _grades(found)},
    )


def _grades(found: Sequence[Expected]) -> tuple[str, ...]:
    """Return the grades of which every replica has a bound; an empty shard is certain, and has none."""
    return tuple(grade for grade in found[0].narrower if all(grade in each.narrower for each in found))

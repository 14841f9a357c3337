"""A property as a value: the related cases that it performs, and the two sides that must agree, by bits or within bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.search.shapes import Layout

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """One train or infer step; arrays are (m, C), features last."""

    kind: str
    x: Array
    upstream: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arm:
    """One of the related cases."""

    steps: tuple[Pass, ...]
    #: By name, what is put in before the first step.
    state: Mapping[str, Array]
    epsilon: float
    decay: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """The drawn numbers that a property starts from: numbers of the dtype, (m, C) or (C,)."""

    x: Array
    #: Another input of the same shape.
    other: Array
    upstream: Array
    #: Another upstream gradient.
    pull: Array
    state: Mapping[str, Array]
    epsilon: float
    decay: float
    #: An exponent of two.
    power: int
    #: An order of the m positions.
    order: Array
    #: How many samples the positions belong to, those of one sample in a row.
    samples: int
    #: The dtype, by name.
    dtype: str

    def arm(self, *steps: Pass, **changes: Any) -> Arm:
        """Return an arm of those steps, with other values of its fields where they are given."""
        return Arm(**{"steps": steps, "state": self.state, "epsilon": self.epsilon, "decay": self.decay, **changes})

    def with_state(self, **values: Array) -> dict[str, Array]:
        """Return the state with other values."""
        return {**self.state, **values}

    def by_sample(self, array: Array) -> Array:
        """Return an (m, C) array as (samples, positions of a sample, C)."""
        return array.reshape(self.samples, -1, array.shape[1])

    def train(self, x: Array | None = None, upstream: Array | None = None) -> Pass:
        """Return a train step, on this ground's numbers where none are given."""
        own = self.upstream if upstream is None else upstream
        return Pass(kind="train", x=self.x if x is None else x, upstream=own)

    def infer(self, x: Array | None = None) -> Pass:
        """Return an inference step without a gradient."""
        return Pass(kind="infer", x=self.x if x is None else x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What one step of an arm gave, beside what is right: float64 or wider, (m, C) or (C,)."""

    got: Mapping[str, Array]
    right: Mapping[str, Array]
    #: How far each number may be off, rounding to its dtype included.
    bound: Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sides:
    """What must agree: to the bit where nothing is `allowed`."""

    quantity: str
    left: Array
    right: Array
    allowed: Array | None = None


#: By arm, by step.
Evidence = Sequence[Sequence[Seen]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Property:
    """One identity."""

    id: str
    #: A sentence that is a fact.
    title: str
    clauses: tuple[str, ...]
    arms: Callable[[Ground], tuple[Arm, ...]]
    sides: Callable[[Ground, Evidence], Sides]
    #: The quantities that it speaks of.
    needs: tuple[str, ...] = ("output",)
    #: Whether it is about data of which every statistic is exact in any order of summation.
    dyadic: bool = False
    #: Whether it holds in a dialect.
    holds: Callable[[Dialect], bool] = field(default=lambda _dialect: True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Family:
    """The identities of an operation, and the layouts and options that they are checked in."""

    properties: Sequence[Property]
    layouts: Sequence[Layout]
    options: Mapping[str, Any] = field(default_factory=dict)


def same(quantity: str, left: Array, right: Array) -> Sides:
    """Return sides that must have the same bits."""
    return Sides(quantity=quantity, left=left, right=right)


def near(quantity: str, left: Array, right: Array, allowed: Array) -> Sides:
    """Return sides that may be that far apart."""
    return Sides(quantity=quantity, left=np.asarray(left), right=np.asarray(right), allowed=np.asarray(allowed))

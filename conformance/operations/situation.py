"""A situation: everything that the numbers of one step depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from conformance.dialect import Dialect
from conformance.precision import Precision
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
#: Which power of the root (v + ε)^(-1/2) is subnormal.
Power = Literal["root-cubed", "root-squared"]
#: What may leave the range of a precision.
Intermediate = Literal["square", "sum", "one-pass-sum", "clipped", "moving", "root-cubed", "root-squared"]
#: How a variance is computed; a later one has the wider bound.
VarianceAlgorithm = Literal["two_pass", "welford", "one_pass"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Earlier:
    """The last train step before this one, for the hypotheses that look back at it."""

    #: Shape (m, C), extended precision.
    x: Array
    #: The state before that step, flat.
    state: Mapping[str, Array]
    #: The gradients that the implementation gave of its learned parameters, flat, by the parameter's name.
    gradients: Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """An intermediate that leaves the range of a precision, so that a finite number comes out wrong.

    square: the square of a deviation is infinite, and so is the variance.
    sum: the sum of the squares of the deviations is infinite, and so is the variance.
    clipped: the batch variance is cut off at the largest number.
    moving: the moving variance is infinite where it is kept or used, and what is divided by its root is 0.
    root-squared, root-cubed: a power of r = (v + ε)^(-1/2), through which the gradient of the variance goes, is
    subnormal or 0.
    """

    intermediate: Intermediate
    worked: Precision
    #: Whether numbers below the smallest normal one are taken for 0.
    flushed: bool = False
    #: The arithmetic of everything else, where it is narrower than it should be.
    arithmetic: Precision | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Situation:
    """Everything that the numbers of one step depend on, flattened to m values for each of C features."""

    configuration: Configuration
    dialect: Dialect
    #: Shape (m, C), extended precision.
    x: Array
    #: Shape (m, C), or None where the step asks for no gradients.
    upstream: Array | None
    #: The state before the step, flat, extended precision.
    state: Mapping[str, Array]
    #: Train steps before this one that moved the state.
    trained: int = 0
    #: Train steps before this one whose batch was empty, so that they moved nothing.
    empties: int = 0
    #: The widest algorithm for the variance that the bound must admit.
    variance: VarianceAlgorithm = "welford"
    #: How epsilon enters the root: v + ε inside it, √v + ε outside, or as the least that v may be.
    epsilon: Literal["inside", "outside", "floor"] = "inside"
    #: What is taken for out of range, under a hypothesis; None: nothing ever is.
    overflows: tuple[Overflow, ...] = ()
    #: Whether the bounds of narrower classes are asked for too.
    graded: bool = False
    #: Under a hypothesis, the only quantities to compute; empty: all. A pass computes all of them even so where its
    #: operation does not list it under `selecting`.
    wanted: frozenset[str] = frozenset()
    #: The shape of the step's input, in the axes of the configuration.
    shape: tuple[int, ...] = ()
    earlier: Earlier | None = None
    #: What the step has beside input and upstream gradient: (m, C) where it has their shape, (m,) for a mask.
    arrays: Mapping[str, Array] = field(default_factory=dict)
    #: Where each feature stands for another hypothesis, the decay and the epsilon of each; shape (C,).
    decays: Array | None = None
    epsilons: Array | None = None

    @property
    def decay(self) -> float | Array:
        """The weight of the old moving value: the configuration's, or that of each feature."""
        return self.configuration.decay if self.decays is None else self.decays

    @property
    def least(self) -> float | Array:
        """What is added to the variance, ε: the configuration's, or that of each feature."""
        return self.configuration.epsilon if self.epsilons is None else self.epsilons

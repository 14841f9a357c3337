"""An operation: one thing the spec gives a meaning to, as a record of functions.

Each brings its state, formulas, reference with bounds, and hypotheses; nothing else in the core knows one
from another. To add one, write its folder under `operations/` and list it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from conformance.cause import UNCHANGED, Cause
from conformance.dialect import Dialect
from conformance.precision import Precision
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
VarianceAlgorithm = Literal["two_pass", "welford", "one_pass"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Earlier:
    """The train step before this one, where there was one, for the hypotheses that ask for it."""

    #: Shape (m, C), extended precision.
    x: Array
    #: The state before that step, each of shape (C,).
    state: Mapping[str, Array]
    #: The gradients of gamma and beta that the implementation gave, each of shape (C,).
    gradients: Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Situation:
    """All that the numbers of one step depend on, flattened to m values of each of C features."""

    configuration: Configuration
    dialect: Dialect
    #: Shape (m, C), extended precision.
    x: Array
    #: Shape (m, C), or None where the step asks for no gradients.
    upstream: Array | None
    #: The state before the step, each of shape (C,), extended precision.
    state: Mapping[str, Array]
    #: Train steps before this one that moved the state.
    trained: int = 0
    #: The widest algorithm for the variance that the bound must admit.
    variance: VarianceAlgorithm = "welford"
    #: How epsilon enters the root: v + ε inside it, √v + ε outside, or as the least that v may be.
    epsilon: Literal["inside", "outside", "floor"] = "inside"
    #: Whether the bounds of narrower classes are asked for too.
    graded: bool = False
    #: The shape of the step's input, in the axes of the configuration.
    shape: tuple[int, ...] = ()
    earlier: Earlier | None = None
    #: What the step has beside input and upstream gradient: (m, C) where it has their shape, (m,) for a mask.
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """What one quantity must be, and how far from it rounding may lead."""

    #: Extended precision; shape (m, C) or (C,).
    value: Array
    #: Bound that every healthy algorithm keeps (class W), before rounding to storage; same shape.
    bound: Array
    #: Size of the terms the quantity is made of, broadcastable: a bound above it decides nothing.
    magnitude: Array
    #: False where an intermediate could overflow or underflow in the working precision; shape (C,).
    in_domain: Array
    #: What `value` lacks of the number, where its float type is too narrow to hold it; same shape.
    rest: Array | None = None
    #: Where a grade is asked for: the bounds of narrower classes, by grade.
    narrower: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hypothesis:
    """One single change of the formula that might explain deviating numbers."""

    #: What is done instead; `UNCHANGED` of a base that others are made from.
    cause: Cause = UNCHANGED
    configuration: Configuration
    dialect: Dialect
    variance: VarianceAlgorithm = "welford"
    #: What the step starts from instead.
    given: Callable[[Situation], Situation] | None = None
    #: What comes out instead.
    changed: Callable[[Situation, dict[str, Expected]], dict[str, Expected]] | None = None
    #: Which pass is performed instead: "train" or "infer".
    performed: str = ""
    #: The only quantities it speaks of; empty for all.
    only: frozenset[str] = frozenset()
    #: The dtype in which every number it explains can be represented; empty for any.
    representable: str = ""
    #: Whether it explains so much that it is named only where nothing else explains as many steps.
    last: bool = False


Reference = Callable[[Situation, Precision], dict[str, Expected]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """One train or infer step as it was seen: what it began with, what it gave, what it left."""

    situation: Situation
    kind: Literal["train", "infer"] = "train"
    frozen: bool = False
    #: Shape (m, C); None where the step gave none of the input's shape.
    output: Array | None
    #: The state afterwards, in its native shape and dtype; empty where the caller keeps it.
    after: Mapping[str, Array]
    #: The same, whoever keeps it.
    reported: Mapping[str, Array] = field(default_factory=dict)
    #: Of an exception, the names of its class and of that class's bases; empty where the step ran.
    refused: tuple[str, ...] = ()


Observer = Callable[[Sequence[Pass], Precision], dict[str, str]]
#: The shape of a further array of a step: the input's, or that of its reduction axes, where it is one of truth values.
Shaped = Literal["input", "mask"]
#: By quantity, the terms that its formula adds up, by name; each broadcasts to the quantity's shape.
Terms = Callable[[Situation], Mapping[str, Mapping[str, Array]]]


@dataclass(frozen=True, slots=True)
class Traffic:
    """How many tensors of the input's size one pass must move, each read or written once."""

    #: With everything that can be fused kept out of memory.
    compulsory: int
    #: Where the data are too many to be kept and must be read again once their statistics are known.
    streaming: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the spec."""

    name: str
    #: The meaning of freezing and the like where it is not the canonical one.
    dialect: Dialect
    #: Names of the state that a configuration has.
    state: Callable[[Configuration], tuple[str, ...]]
    #: What the state is before the first step unless the case says otherwise.
    initial: Mapping[str, float]
    #: The family of cases over which a grade is taken; empty where there is none.
    ladder: str
    #: By kind of step, in plain text.
    formulas: Mapping[str, str]
    train: Reference
    infer: Reference
    #: Family of cases -> what reads the dialect from the passes of one of them.
    observers: Mapping[str, Observer]
    hypotheses: Callable[[Configuration, Dialect], Iterable[Hypothesis]]
    #: What deviating numbers are weighed by where no hypothesis explains them, in training and in inference.
    train_terms: Terms
    infer_terms: Terms
    #: The model of what its cases may say under `options`; None: nothing.
    options: type[BaseModel] | None = None
    #: Why a step of that kind and shape cannot be had under the configuration; empty where it can.
    misfit: Callable[[Configuration, str, tuple[int, ...]], str] = lambda _configuration, _kind, _shape: ""
    #: State -> the state whose initial values it shares unless a case gives it its own.
    begins_as: Mapping[str, str] = field(default_factory=dict)
    #: What its steps may have beside input and upstream gradient.
    arrays: Mapping[str, Shaped] = field(default_factory=dict)
    #: What every step that is differentiated gives beside its output and the gradients of input, gamma and beta.
    required: frozenset[str] = frozenset()
    #: The quantities that have the input's shape; every other has one value per feature.
    shaped_like_input: frozenset[str] = frozenset({"output", "grad_input"})
    #: Whether every number of a pass depends on its own feature alone, so that a large step may be judged in parts.
    by_feature: bool = False
    #: By pass that throughput times (infer, train_forward, train); empty where none is timed.
    traffic: Mapping[str, Traffic] = field(default_factory=dict)


def flatten(array: Array, configuration: Configuration) -> Array:
    """Return the array of the input's layout as (m, C): features last, everything else collapsed."""
    axes, rank = configuration.feature_axes, array.ndim
    if axes != tuple(range(rank - len(axes), rank)):
        array = np.moveaxis(array, axes, range(-len(axes), 0))
    return array.reshape(-1, configuration.feature_count)


def unflatten(array: Array, configuration: Configuration, shape: tuple[int, ...]) -> Array:
    """Return the inverse of `flatten`, for an input of `shape`."""
    last = tuple(range(-len(configuration.feature_axes), 0))
    kept = [size for axis, size in enumerate(shape) if axis not in configuration.feature_axes]
    return np.moveaxis(array.reshape(*kept, *configuration.features), last, configuration.feature_axes)


def index_of(position: int, like_input: bool, configuration: Configuration, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index, in the quantity's own layout, of a position in its flattened form."""
    row, feature = divmod(position, configuration.feature_count)
    of_feature = _unravel(feature, configuration.features)
    if not like_input:
        return of_feature
    kept = [axis for axis in range(len(shape)) if axis not in configuration.feature_axes]
    of_row = _unravel(row, [shape[axis] for axis in kept])
    found: Mapping[int, int] = dict(zip((*configuration.feature_axes, *kept), (*of_feature, *of_row), strict=True))
    return tuple(found[axis] for axis in range(len(shape)))


def _unravel(position: int, sizes: Sequence[int]) -> tuple[int, ...]:
    index = []
    for size in reversed(sizes):
        position, remainder = divmod(position, size)
        index.append(remainder)
    return tuple(reversed(index))

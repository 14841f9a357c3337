"""An operation: one thing the spec gives a meaning to, as a record of functions.

Each brings its state, formulas, reference with bounds, and hypotheses; nothing else in the core knows one
from another. To add one, write its folder under `operations/` and list it there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel

from conformance.cause import UNCHANGED, Cause
from conformance.dialect import Dialect, PassName
from conformance.operations.frozen import replace
from conformance.operations.rational import Passes
from conformance.precision import Precision
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
#: The power of the root that is subnormal; and whatever else may leave a range.
Power = Literal["root-cubed", "root-squared"]
Intermediate = Literal["square", "sum", "clipped", "moving", "root-cubed", "root-squared"]
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
    overflow: Overflow | None = None
    #: Whether the bounds of narrower classes are asked for too.
    graded: bool = False
    #: Under a hypothesis, the quantities asked for; empty: all. A pass that an operation does not list among those that
    #: select gives all even so.
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """What one quantity should be, and how far from that rounding may take it."""

    #: Extended precision; shape (m, C) where it has the input's, else flat.
    value: Array
    #: Bound that every healthy algorithm keeps (class W), before rounding to storage; same shape.
    bound: Array
    #: Size of the terms the quantity is made of, broadcastable: a bound above it decides nothing.
    magnitude: Array
    #: False where an intermediate could overflow or underflow in the working precision, so that a number that is not
    #: finite is no deviation; shape (C,), or whatever broadcasts to the value's.
    in_domain: Array
    #: What `value` lacks of the number, where its float type is too narrow to hold it; same shape.
    rest: Array | None = None
    #: Where a grade is asked for: the bounds of narrower classes, by grade.
    narrower: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateStep:
    """A step that computes no pass, for the hypotheses about what it does to the state. All arrays are flat."""

    kind: str
    frozen: bool
    #: The state before it, and that before the first step of the case.
    before: Mapping[str, Array]
    initial: Mapping[str, Array]
    #: Of a gradient step: its rate, and the gradients that it takes, by what is learned.
    rate: float = 0.0
    gradients: Mapping[str, Array] = field(default_factory=dict)
    #: The gradients that it would take were the layer not frozen.
    unfrozen_gradients: Mapping[str, Array] = field(default_factory=dict)


class Substitute(Protocol):
    """What a hypothesis puts in place of something that a pass measures: arrays of a value for each feature, or more."""

    def results(self, situation: Situation, results: Mapping[str, Expected]) -> dict[str, Expected]:
        """Return what the pass gives with it, from what it gives without."""

    def in_common(self, situation: Situation, name: str) -> object:
        """Return what substitutes must have in common to be joined for the sake of that quantity; None: they cannot be."""

    def joined(self, others: Sequence[Any], feature: int) -> Substitute:
        """Return this one and others like it, each a feature of one step: what each puts into that feature of its own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hypothesis:
    """One single change of the formula that might explain deviating numbers."""

    #: What is done instead; `UNCHANGED` where the hypothesis is only the start from which others are made.
    cause: Cause = UNCHANGED
    configuration: Configuration
    dialect: Dialect
    variance: VarianceAlgorithm = "welford"
    #: Returns what the step starts from instead; None where the hypothesis makes no difference to it.
    change_situation: Callable[[Situation], Situation | None] | None = None
    #: Returns what the pass gives instead of its results.
    change_results: Callable[[Situation, dict[str, Expected]], dict[str, Expected]] | None = None
    #: Returns from what `change_results` computes what it does, where several can be computed at once: by the input and the
    #: shape of the situation alone. None where it gives nothing of the step.
    substitute: Callable[[Situation], Substitute | None] | None = None
    #: Returns what a step that computes no pass leaves instead of its results. It then says nothing of the others.
    change_state: Callable[[StateStep, dict[str, Expected]], dict[str, Expected]] | None = None
    #: Which pass is performed instead: "train" or "infer".
    performed: str = ""
    #: The only quantities that it can explain; empty where it can explain all.
    only: frozenset[str] = frozenset()
    #: It explains only numbers that this dtype can hold exactly; empty where it explains any.
    representable: str = ""
    #: Whether `change_results` computes what is wanted in the situation alone.
    selects: bool = False
    #: Whether it is a last resort: it explains nearly anything, and is named only where nothing else explains as much.
    last: bool = False

    def configured(self, cause: Cause, **fields: Any) -> Hypothesis:
        """Return this hypothesis with other fields of the configuration."""
        return replace(self, cause=cause, configuration=replace(self.configuration, **fields))

    def in_dialect(self, cause: Cause, **fields: Any) -> Hypothesis:
        """Return this hypothesis with other fields of the dialect."""
        return replace(self, cause=cause, dialect=replace(self.dialect, **fields))


@functools.lru_cache(maxsize=2**13)
def both(first: Hypothesis, second: Hypothesis, base: Hypothesis) -> Hypothesis | None:
    """Return the hypothesis that both changes of `base` were made, `first` before `second`; None where they exclude each other.

    They do where both change the same field, where each performs another pass, where no quantity is both's, where one is
    about a step that computes no pass, and where one explains only numbers that some dtype can hold.
    """
    configuration = _merged(base.configuration, first.configuration, second.configuration)
    dialect = _merged(base.dialect, first.dialect, second.dialect)
    only = first.only & second.only if first.only and second.only else first.only | second.only
    exclusive = (first.performed and second.performed) or (first.only and second.only and not only)
    # One that explains only what a dtype can hold explains nothing beside another change.
    alone = any(one.change_state is not None or one.representable for one in (first, second))
    if first is second or configuration is None or dialect is None or exclusive or alone:
        return None
    changes = [change for change in (first.change_situation, second.change_situation) if change is not None]
    results = [change for change in (first.change_results, second.change_results) if change is not None]
    return Hypothesis(
        cause=second.cause,
        configuration=configuration,
        dialect=dialect,
        variance=next((one.variance for one in (first, second) if one.variance != base.variance), base.variance),
        change_situation=functools.partial(_in_turn, changes) if len(changes) > 1 else next(iter(changes), None),
        change_results=functools.partial(_results_in_turn, results) if results else None,
        performed=first.performed or second.performed,
        only=only,
        # What is given before the results are changed must then be all that there is.
        selects=not changes and not first.performed and not second.performed and _all_select(first, second),
    )


def _all_select(*hypotheses: Hypothesis) -> bool:
    return all(one.selects for one in hypotheses if one.change_results is not None)


def _merged(base: Any, first: Any, second: Any) -> Any:
    """Return `base` with the fields that either changed; None where both changed the same one."""
    if first is base or second is base:
        return second if first is base else first
    changed: dict[str, Any] = {}
    for one in (first, second):
        for name in base.__dataclass_fields__:
            value = getattr(one, name)
            if value != getattr(base, name):
                if name in changed:
                    return None
                changed[name] = value
    return replace(base, **changed)


def _in_turn(changes: Sequence[Callable[[Situation], Situation | None]], situation: Situation) -> Situation | None:
    """Return the situation after every change; None where one does not apply to the step."""
    changed: Situation | None = situation
    for change in changes:
        changed = None if changed is None else change(changed)
    return changed


def _results_in_turn(
    changes: Sequence[Callable[[Situation, dict[str, Expected]], dict[str, Expected]]],
    situation: Situation,
    results: dict[str, Expected],
) -> dict[str, Expected]:
    """Return the results after every change; those that a change does not give stay as they were."""
    for change in changes:
        changed = change(situation, results)
        # A change that gives nothing does not apply to the step.
        results = {**results, **changed} if changed else {}
    return results


Reference = Callable[[Situation, Precision], dict[str, Expected]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """One train or infer step as it was observed: what it started from, what it gave and what it left."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """One equation of a pass with its numbers put in: `symbol` = `numbers` = `value`."""

    symbol: str
    numbers: str
    value: float


#: The equations of a pass for one feature, by its number, in the order in which they are computed.
Equations = Callable[[Situation, PassName, int], tuple[Equation, ...]]
#: What the state of a feature must have been for inference to give slope · x + offset, by name; NaN where nothing does.
Implied = Callable[[Situation, int, float, float], Mapping[str, float]]

#: What a quantity is: what comes out of a pass, what the pass measures of its batch, what is kept from step to step and
#: moved by batches, what is kept and moved by gradients, or a derivative.
Role = Literal["output", "statistic", "state", "learned", "gradient"]
#: Of how many values it is: one for each of the input's, for each feature, or for each index of the input's first axis.
Shape = Literal["input", "features", "samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One quantity of an operation, as the operation declares it."""

    role: Role
    shape: Shape = "features"
    #: Of a gradient: "input", or the name of what is learned, by which it is the loss's; empty for another derivative.
    by: str = ""
    #: Whether a configuration has it.
    present: Callable[[Configuration], bool] = lambda _: True


Observer = Callable[[Sequence[Pass], Precision], dict[str, str]]
#: The shape of a further array of a step: the input's, where they are weights of numbers that are not negative; or that
#: of its reduction axes, where it is one of truth values.
Shaped = Literal["input", "weights", "mask"]
#: By quantity, the terms that its formula adds up, by name; each broadcasts to the quantity's shape.
Terms = Callable[[Situation], Mapping[str, Mapping[str, Array]]]


@dataclass(frozen=True, slots=True)
class Traffic:
    """How many tensors of the input's size one pass must move, each read or written once."""

    #: With everything that can be fused kept out of memory.
    compulsory: int
    #: Where the data are too many to be kept and must be read again once their statistics are known.
    streaming: int


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of the spec."""

    name: str
    #: The meaning of freezing and the like where it is not the canonical one.
    dialect: Dialect
    #: Every quantity that a step may give or keep, by name; those of the state in the order in which they are shown.
    quantities: Mapping[str, Quantity]
    #: What the state is before the first step unless the case says otherwise.
    initial: Mapping[str, float]
    #: The family of cases over which a grade is taken; empty where there is none.
    ladder: str
    #: By kind of step, in plain text.
    formulas: Mapping[str, str]
    train: Reference
    infer: Reference
    #: The same passes by exact arithmetic, written apart from these.
    rational: Passes
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
    #: Whether its input is whole numbers, so that a case must say of which dtype.
    whole: bool = False
    #: What its steps may have beside input and upstream gradient.
    arrays: Mapping[str, Shaped] = field(default_factory=dict)
    #: Which of those, and whether `upstream`, each of its train and infer steps must have.
    needs: frozenset[str] = frozenset()
    #: Whether every number of a pass depends on its own feature alone, so that a large step may be judged in parts.
    by_feature: bool = False
    #: Its passes that give only what is wanted in the situation, and then nothing of the domain.
    selecting: frozenset[Reference] = frozenset()
    #: The equations of a pass with their numbers put in; None where it has none of its own.
    equations: Equations | None = None
    #: What an inference must have started from; None where nobody has written it down.
    implied: Implied | None = None
    #: By pass that throughput times (infer, train_forward, train); empty where none is timed.
    traffic: Mapping[str, Traffic] = field(default_factory=dict)

    def named(self, configuration: Configuration, *roles: Role) -> tuple[str, ...]:
        """Return the names of the quantities of those roles that the configuration has."""
        return tuple(
            name
            for name, quantity in self.quantities.items()
            if quantity.role in roles and quantity.present(configuration)
        )

    def state(self, configuration: Configuration) -> tuple[str, ...]:
        """Return the names of what the configuration keeps from step to step."""
        return self.named(configuration, "learned", "state")

    def learned_gradients(self, configuration: Configuration) -> dict[str, str]:
        """Return the name of the gradient of each quantity that is learned, by that quantity's."""
        learned = self.named(configuration, "learned")
        gradients = {quantity.by: name for name, quantity in self.quantities.items() if quantity.role == "gradient"}
        return {name: gradients[name] for name in learned if name in gradients}

    @functools.cached_property
    def shaped_like_input(self) -> frozenset[str]:
        """The quantities that have the input's shape."""
        return frozenset(name for name, quantity in self.quantities.items() if quantity.shape == "input")

    @functools.cached_property
    def selects(self) -> bool:
        """Whether its passes give only what is wanted in the situation."""
        return {self.train, self.infer} <= self.selecting

    @functools.cached_property
    def costs(self) -> Mapping[str, int]:
        """How much it takes to compute each quantity, as an order: gradients take all that the others do."""
        order = ("statistic", "state", "learned", "output", "gradient")
        return {name: order.index(quantity.role) for name, quantity in self.quantities.items()}

    @functools.cached_property
    def gradients(self) -> frozenset[str]:
        """The quantities that are derivatives."""
        return frozenset(name for name, quantity in self.quantities.items() if quantity.role == "gradient")


def shape_of(shape: Shape, configuration: Configuration, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes of a quantity of that shape, at a step whose input has the shape `input_shape`."""
    match shape:
        case "input":
            return input_shape
        case "features":
            return configuration.features
        case "samples":
            return input_shape[:1]


def flattened(array: Array, shape: Shape, configuration: Configuration) -> Array:
    """Return a quantity as references have it: (m, C) of the input's shape, else one axis."""
    return flatten(array, configuration) if shape == "input" else array.reshape(-1)


def flatten(array: Array, configuration: Configuration) -> Array:
    """Return the array of the input's layout as (m, C): features last, everything else collapsed."""
    return features_last(array, configuration.feature_axes, configuration.feature_count)


def features_last(array: Array, axes: tuple[int, ...], count: int) -> Array:
    """Return the array as (m, C), with the feature axes and the number of features given."""
    rank = array.ndim
    if axes != tuple(range(rank - len(axes), rank)):
        array = np.moveaxis(array, axes, range(-len(axes), 0))
    # Of no features, the number of rows follows from no size.
    return array.reshape(math.prod(array.shape[: rank - len(axes)]), count)


def unflatten(array: Array, configuration: Configuration, shape: tuple[int, ...]) -> Array:
    """Return the inverse of `flatten`, for an input of `shape`."""
    last = tuple(range(-len(configuration.feature_axes), 0))
    kept = [size for axis, size in enumerate(shape) if axis not in configuration.feature_axes]
    return np.moveaxis(array.reshape(*kept, *configuration.features), last, configuration.feature_axes)


def index_of(
    position: int, shape: Shape, configuration: Configuration, input_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the index, in the quantity's own layout, of a position in its flattened form."""
    match shape:
        case "samples":
            return (position,)
        case "features":
            return _unravelled(position, configuration.features)
        case "input":
            row, feature = divmod(position, configuration.feature_count)
            kept = [axis for axis in range(len(input_shape)) if axis not in configuration.feature_axes]
            of_row = _unravelled(row, [input_shape[axis] for axis in kept])
            of_feature = _unravelled(feature, configuration.features)
            axes = zip((*configuration.feature_axes, *kept), (*of_feature, *of_row), strict=True)
            index: Mapping[int, int] = dict(axes)
            return tuple(index[axis] for axis in range(len(input_shape)))


def _unravelled(position: int, sizes: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(position, tuple(sizes)))

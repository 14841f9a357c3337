"""Drawn cases: a Hypothesis strategy for whole cases, made through the models that read spec files.

So a drawn case and one that a person wrote are the same thing. The first alternative of every choice is the simplest.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.operations import OPERATIONS
from conformance.operations.layout import shape_of
from conformance.operations.operation import Operation
from conformance.protocol import Configuration
from conformance.search import values
from conformance.search.clauses import clauses_of
from conformance.search.options import DIVIDING, names, options
from conformance.search.picks import Picks
from conformance.search.shapes import BATCHES, LARGE, SMALL, Layout
from conformance.spec.case import Case, Infer, Train

Raw = dict[str, Any]

ID = "search.case"
#: The most steps of a case.
STEPS = 8
DTYPES = ("float32", "float64", "float16", "bfloat16")

_EPSILONS = (1e-3, 0.25, 1e-5, 1.0, 2.0**-20, 1e-12, 0.0)
_DECAYS = (0.9, 0.5, 0.75, 0.99, 0.25, 0.0, 1.0)
_RATES = (0.5, 0.1, 1.0)
_MEANS = (0.5, 3.0, 100.25)
#: Half of the cases have one or two steps: what takes more to show is rare, and every step costs.
_COUNTS = (1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 5, 6, 7, STEPS)
#: What is switched off.
_SWITCHED: tuple[Raw, ...] = (*[{}] * 5, {"scale": False}, {"center": False}, {"scale": False, "center": False})
_MEMORIES = (*["contiguous"] * 6, "strided", "channels_last")
#: By kind of step, how often it is drawn; the first is the simplest.
_OFTEN = {"train": 6, "infer": 4, "sgd": 2, "reload": 2, "freeze": 2, "unfreeze": 1}
_PASSES = ("train", "infer")
#: What whole numbers are handed over as.
_WHOLE = ("int32", "int8", "uint8", "int64", "bool")
#: Of so many cases one has whole numbers for an input, and of so many one has a step that must be refused.
_WHOLE_ONE_IN, _UNFIT_ONE_IN = 8, 6


@st.composite
def cases(
    draw: Any,
    operations: Sequence[str] = ("batch_norm",),
    dtypes: Sequence[str] = DTYPES,
    steps: Sequence[str] = tuple(_OFTEN),
    *,
    refusable: bool = False,
) -> Case:
    """Draw a case of one of those operations, in one of those dtypes, with steps of those kinds.

    Where it may be `refusable`, its input is seldom of whole numbers, and seldom a step has an input that does not fit.
    """
    picks = Picks(draw)
    operation = OPERATIONS[picks.one(tuple(operations))]
    whole = operation.whole or (refusable and not operation.needs and picks.rarely(_WHOLE_ONE_IN))
    large = picks.rarely(32) and not whole
    layout = picks.one(LARGE if large else _small(operation))
    raw: Raw = {
        "id": ID,
        "title": "A case that was drawn.",
        "source": "Search.",
        "clauses": ["1.1"],
        "op": operation.name,
        "shape": layout.shape,
        "feature_axes": layout.feature_axes,
        **_configuration(picks, operation, layout, dtypes),
        **({"input_dtype": picks.one(_WHOLE)} if whole else {}),
        "options": options(picks, operation, layout),
    }
    if whole:
        # Of whole numbers the results have the dtype of the parameters, and no other is anywhere to be seen.
        raw.pop("parameter_dtype", None)
    configuration = _configured(raw)
    picks.begin()
    raw["initial"] = _initial(picks, operation, configuration)
    drawn = _Steps(picks, operation, configuration, large=large, allowed=frozenset(steps))
    raw["steps"] = drawn.with_unfit(drawn.drawn()) if refusable and not large else drawn.drawn()
    raw["clauses"] = clauses_of(raw)
    return Case.model_validate(raw)


_DIVISIBLE = tuple(layout for layout in SMALL if layout.divisible)
#: Of no features there is no group.
_GROUPED = tuple(layout for layout in _DIVISIBLE if layout.features)


def _small(operation: Operation) -> Sequence[Layout]:
    """Return the small layouts in which an operation can be asked."""
    taken = names(operation)
    return SMALL if DIVIDING.isdisjoint(taken) else _GROUPED if "groups" in taken else _DIVISIBLE


def _configuration(picks: Picks, operation: Operation, layout: Layout, dtypes: Sequence[str]) -> Raw:
    fields: Raw = {"dtype": picks.one(tuple(dtypes))}
    mixed, switched, memory = picks.rarely(2), picks.one(_SWITCHED), picks.one(_MEMORIES)
    if mixed and fields["dtype"] in ("float16", "bfloat16"):
        fields["parameter_dtype"] = "float32"
    if operation.initial:
        fields |= {"epsilon": picks.one(_EPSILONS), "decay": picks.one(_DECAYS)}
    if any(quantity.role == "learned" for quantity in operation.quantities.values()):
        fields |= switched
    if memory == "strided" or (memory == "channels_last" and len(layout.shape) > 2):
        fields["memory"] = memory
    return fields


def _configured(raw: Raw) -> Configuration:
    return Configuration(
        op=raw["op"],
        shape=raw["shape"],
        feature_axes=raw["feature_axes"],
        dtype=raw["dtype"],
        parameter_dtype=raw.get("parameter_dtype") or raw["dtype"],
        decay=raw.get("decay", 0.9),
        epsilon=raw.get("epsilon", 1e-3),
        scale=raw.get("scale", True),
        center=raw.get("center", True),
        input_dtype=raw.get("input_dtype"),
        options=raw["options"],
    )


def _initial(picks: Picks, operation: Operation, configuration: Configuration) -> Raw:
    """Draw the state before the first step, whole or not at all."""
    state = operation.state(configuration)
    if not state or not picks.one((False, True, True, True)):
        return {}
    # What shares its beginning with another, as every further replica's, is given none of its own.
    names = [name for name in state if name not in operation.begins_as]
    shapes = [shape_of(operation.quantities[name].shape, configuration, configuration.shape) for name in names]
    sizes = [math.prod(shape) for shape in shapes]
    # One draw for all of it, since a draw costs more than what is made of it.
    parts = np.split(picks.bytes(sum(sizes)), np.cumsum(sizes)[:-1])
    drawn = {}
    for name, shape, part in zip(names, shapes, parts, strict=True):
        positive = operation.quantities[name].role == "state" and operation.initial[name] > 0
        drawn[name] = _literal(values.parameters(part, shape, positive=positive))
    return drawn


def _literal(array: values.Values) -> Raw:
    return {"kind": "literal", "values": array.tolist()}


class _Steps:
    """Draws the steps of a case one after another, each possible after those before it."""

    def __init__(
        self,
        picks: Picks,
        operation: Operation,
        configuration: Configuration,
        *,
        large: bool,
        allowed: frozenset[str],
    ) -> None:
        self.picks, self.operation, self.configuration, self.large = picks, operation, configuration, large
        self.allowed = allowed
        self.differentiated = False

    def drawn(self) -> list[Raw]:
        """Return one to eight steps."""
        count = 1 if self.large else self.picks.one(_COUNTS)
        return [self._step(first=number == 0, last=count == 1) for number in range(count)]

    def with_unfit(self, steps: list[Raw]) -> list[Raw]:
        """Return the steps, seldom with one that must be refused behind one of its kind that fits.

        No refused train step comes before a gradient step, whose gradients are those of the last train step: whether it
        leaves them is not asked.
        """
        self.picks.begin()
        descends = any(step["step"] == "sgd" for step in steps)
        places = [
            number
            for number, step in enumerate(steps, 1)
            if step["step"] == "infer" or (step["step"] == "train" and not descends)
        ]
        state = self.operation.state(self.configuration)
        if not self.picks.rarely(_UNFIT_ONE_IN) or not places or not state or len(steps) == STEPS:
            return steps
        place, (why, shape) = self.picks.one(places), self.picks.one(tuple(self._unfit_shapes()))
        unfit = {**self._pass(steps[place - 1]["step"], shape), "refused": why}
        return [*steps[:place], unfit, *steps[place:]]

    def _unfit_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield shapes of a wrong size, the sizes that broadcast first, and one of a wrong rank where that can be asked."""
        shape, axes = self.configuration.shape, self.configuration.feature_axes
        for axis in axes:
            sizes = dict.fromkeys((1, shape[axis] + 1, 2 * shape[axis]))
            others = (size for size in sizes if size != shape[axis])
            yield from (("wrong size", (*shape[:axis], size, *shape[axis + 1 :])) for size in others)
        if axes[-1] and not self.operation.needs:
            yield "wrong rank", shape[: axes[-1]]

    def _step(self, *, first: bool, last: bool) -> Raw:
        self.picks.begin()
        kind = self.picks.one(_kinds(self.operation.name, self.allowed, first, first and last, self.differentiated))
        match kind:
            case "train" | "infer":
                return self._pass(kind, self._shape(kind))
            case "sgd":
                return {"step": "sgd", "learning_rate": self.picks.one(_RATES)}
            case _:
                return {"step": kind}

    def _pass(self, kind: str, shape: tuple[int, ...]) -> Raw:
        upstream = not self.picks.rarely(4) or "upstream" in self.operation.needs
        step: Raw = {"step": kind}
        further = {
            name: form
            for name, form in self.operation.arrays.items()
            if len(shape) == self.configuration.rank
            if name in self.operation.needs or (kind == "train" and not self.picks.rarely(8))
        }
        step["input"] = self._input(shape)
        if shape != self.configuration.shape:
            step["shape"] = shape
        if upstream and self.configuration.input_dtype is None:
            step["upstream"] = self._shaped(shape)
        # A gradient step takes the gradients of the last train step, so that one must have given some (11.5); optimizers
        # refuse a layer that has no parameters.
        if kind == "train":
            self.differentiated = "upstream" in step and (self.configuration.scale or self.configuration.center)
        reduced = tuple(shape[axis] for axis in self.configuration.reduction_axes if axis < len(shape))
        for name, form in further.items():
            match form:
                case "mask":
                    step[name] = _literal(values.masks(self.picks, reduced))
                case "weights" if self.large:
                    step[name] = {"kind": "uniform", "seed": self._seed(), "low": 0.25, "high": 2.0}
                case "weights":
                    step[name] = _literal(values.parameters(self.picks.bytes(math.prod(shape)), shape, positive=True))
                case "input":
                    step[name] = self._shaped(shape)
        return step

    def _shape(self, kind: str) -> tuple[int, ...]:
        """Draw the shape of a step: the case's, seldom with another number of samples."""
        shape, samples = self.configuration.shape, self.picks.one((*[None] * 9, *BATCHES))
        if samples is None or 0 in self.configuration.feature_axes or self.large:
            return shape
        other = (samples, *shape[1:])
        return shape if self.operation.misfit(self.configuration, kind, other) else other

    def _input(self, shape: tuple[int, ...]) -> Raw:
        whole = self.configuration.input_dtype
        if whole is not None:
            return _literal(values.whole_numbers(self.picks, shape, whole))
        if self.large:
            return {"kind": "normal", "seed": self._seed(), "mean": self.picks.one(_MEANS)}
        return _literal(values.inputs(self.picks, shape))

    def _shaped(self, shape: tuple[int, ...]) -> Raw:
        """Draw a further array of the input's shape."""
        if self.large:
            return {"kind": "normal", "seed": self._seed(), "mean": 0.25}
        return _literal(values.upstreams(self.picks, shape))

    def _seed(self) -> int:
        return self.picks.one(range(256))


@functools.cache
def _kinds(operation: str, steps: frozenset[str], first: bool, alone: bool, differentiated: bool) -> tuple[str, ...]:
    """Return the kinds of steps that may come, each as often as it is to be drawn; a step that is `alone` is a pass."""
    formulas = OPERATIONS[operation].formulas.keys() & steps
    allowed = _PASSES if alone else (*_PASSES, "freeze") if first else tuple(_OFTEN)
    may = (kind for kind in allowed if kind in formulas and (kind != "sgd" or differentiated))
    return tuple(kind for kind in may for _ in range(_OFTEN[kind]))


def numbers_in(case: Case) -> int:
    """Return how many input values a case has, over all its train and infer steps."""
    passes = (step for step in case.performed if isinstance(step, Train | Infer))
    return sum(math.prod(case.step_shape(step)) for step in passes)

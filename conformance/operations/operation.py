"""An operation: one thing the spec gives a meaning to, as a record of functions.

Each brings its state, formulas, reference with bounds, and hypotheses; nothing else in the core knows one
from another. To add one, write its folder under `operations/` and list it there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from conformance.dialect import Dialect, PassName
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.layout import Shape
from conformance.operations.rational import Passes
from conformance.operations.situation import Situation
from conformance.precision import Precision
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One quantity of an operation, as the operation declares it."""

    role: Role
    shape: Shape = "features"
    #: Of a gradient: "input", or the name of what is learned, by which it is the loss's; empty for another derivative.
    by: str = ""
    #: Whether a configuration has it.
    present: Callable[[Configuration], bool] = lambda _: True
    #: Of what is kept and moved by batches: the decay by which it moves.
    decay: Callable[[Configuration], float] = lambda configuration: configuration.decay


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

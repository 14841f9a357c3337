"""A case: one scenario of the spec, as a spec file writes it.

These models are the file format: the JSON Schema for editors is generated from them.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from conformance.operations import OPERATIONS
from conformance.protocol import Configuration
from conformance.spec.budgets import ID_LENGTH, THREADS
from conformance.spec.recipe import DtypeName, Recipe

ID_PATTERN = r"^[a-z0-9][a-z0-9-]*\.[A-Za-z0-9_.+/-]+$"
#: What any operation may give or keep; whether a case's own has it is asked when its file is loaded.
_QUANTITIES = sorted({name for operation in OPERATIONS.values() for name in operation.quantities})
QuantityName = Annotated[str, Field(json_schema_extra={"enum": list[Any](_QUANTITIES)})]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_Shape = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1, max_length=8)]


_Memory = Literal["contiguous", "strided", "channels_last"]

WholeDtype = Literal["bool", "int8", "uint8", "int32", "int64"]

#: Why a step must be refused: its input has other sizes along the feature axes than the state or than what the call is
#: handed, or lacks one of them.
Unfit = Literal["wrong size", "wrong rank"]
_REFUSED = "Why the step must be refused: its shape does not fit the state, and nothing may be computed of it."
_HANDED = "The shape of gamma, beta or a moving value, by name, that the call is handed: values of the state, repeated or cut."
_Handed = Annotated[dict[str, _Shape], Field(max_length=1)]


class Train(_Entry):
    """One forward pass in training, and a backward pass where an upstream gradient is given."""

    step: Literal["train"]
    input: Recipe
    upstream: Recipe | None = Field(None, description="Gradient of the loss with respect to the output.")
    mask: Recipe | None = Field(None, description="1 where a value counts, 0 where it does not.")
    tangent: Recipe | None = Field(
        None, description="The direction of the input along which the output is differentiated."
    )
    shape: _Shape | None = Field(None, description="Shape of this step's input, where it differs from the case's.")
    handed: _Handed | None = Field(None, description=_HANDED)
    refused: Unfit | None = Field(None, description=_REFUSED)

    @property
    def arrays(self) -> dict[str, Recipe]:
        """What the step has beside its input and its upstream gradient, by name."""
        return {name: recipe for name, recipe in (("mask", self.mask), ("tangent", self.tangent)) if recipe is not None}


class Infer(_Entry):
    """One forward pass in inference, and a backward pass where an upstream gradient is given."""

    step: Literal["infer"]
    input: Recipe
    upstream: Recipe | None = None
    tangent: Recipe | None = Field(
        None, description="The direction of the input along which the output is differentiated."
    )
    weights: Recipe | None = Field(None, description="How much each value counts: numbers of the input's shape.")
    shape: _Shape | None = Field(None, description="Shape of this step's input, where it differs from the case's.")
    handed: _Handed | None = Field(None, description=_HANDED)
    refused: Unfit | None = Field(None, description=_REFUSED)

    @property
    def arrays(self) -> dict[str, Recipe]:
        """What the step has beside its input and its upstream gradient, by name."""
        named = (("tangent", self.tangent), ("weights", self.weights))
        return {name: recipe for name, recipe in named if recipe is not None}


class Reload(_Entry):
    """Save by the framework's own means and load into a fresh object."""

    step: Literal["reload"]


class Freeze(_Entry):
    """The API's own switch that makes a layer untrainable."""

    step: Literal["freeze"]


class Unfreeze(_Entry):
    """The same switch, back."""

    step: Literal["unfreeze"]


class Sgd(_Entry):
    """One plain gradient step on gamma and beta, with the gradients of the preceding train step."""

    step: Literal["sgd"]
    learning_rate: float = Field(allow_inf_nan=False)


Step = Train | Infer | Reload | Freeze | Unfreeze | Sgd


def unfit(step: Step) -> Unfit | None:
    """Return why a step must be refused; None where it must be performed."""
    return step.refused if isinstance(step, Train | Infer) else None


def handed(step: Step) -> dict[str, tuple[int, ...]]:
    """Return what the step's call is handed in a size of its own, by name; nothing where all is of the state's sizes."""
    return (step.handed or {}) if isinstance(step, Train | Infer) else {}


def kind_of(step: Step) -> str:
    """Return the kind of what the step should do, by the table of steps: one that must be refused does nothing."""
    return "refused" if unfit(step) else step.step


class Repeat(_Entry):
    """The same steps several times over."""

    step: Literal["repeat"]
    times: int = Field(ge=1, le=1000)
    steps: tuple[Annotated[Step, Field(discriminator="step")], ...] = Field(strict=False, min_length=1)


_Steps = Annotated[tuple[Annotated[Step | Repeat, Field(discriminator="step")], ...], Field(strict=False, min_length=1)]


class Published(_Entry):
    """Numbers that a source printed, as text, so that their last digit is known."""

    step: int = Field(ge=1, description="Which step, counted from 1.")
    quantity: QuantityName
    values: Any = Field(description="Nested lists of decimal texts.")
    dtype: DtypeName | None = Field(None, description="The dtype in which the source computed and kept them.")
    dialect: dict[str, str | int | bool] = Field(
        {}, description="What the source does otherwise than the spec: fields of a profile, such as moving_correction."
    )
    exact: bool = Field(False, description="Whether each text is the whole number, and no rounding to its last digit.")


class Case(_Entry):
    """One scenario: an operation, its configuration, its input recipes and its steps."""

    id: str = Field(
        pattern=ID_PATTERN, max_length=ID_LENGTH, description="Begins with its family, the name of its file."
    )
    title: str = Field(min_length=10, description="One sentence that is a fact.")
    source: str = Field(min_length=3, description="Where the fact comes from.")
    clauses: tuple[str, ...] = Field(strict=False, min_length=1, description="Numbers of spec/semantics.md.")
    op: str
    shape: _Shape
    feature_axes: tuple[int, ...] = Field(strict=False, min_length=1, description="The axes that are kept.")
    dtype: DtypeName = "float32"
    input_dtype: WholeDtype | None = Field(
        None,
        description="Whole numbers that the input is handed over as; omitted: dtype, which that of the results is.",
    )
    parameter_dtype: DtypeName | None = Field(None, description="Of gamma, beta and moving values; omitted: dtype.")
    decay: float = Field(0.9, ge=0, le=1, description="Weight of the old moving value.")
    epsilon: float = Field(1e-3, ge=0, allow_inf_nan=False)
    scale: bool = True
    center: bool = True
    memory: _Memory = "contiguous"
    upstream_memory: _Memory | None = Field(None, description="Of upstream gradients; omitted: as the input's.")
    again: bool = Field(False, description="Performed twice from the start: whether the bits agree is recorded.")
    threads: int | None = Field(
        None, ge=1, le=THREADS, description="Of the process; omitted: as many as the library takes."
    )
    options: dict[str, Any] = Field({}, description="What the operation is told beyond these.")
    initial: dict[str, Recipe] = Field(
        {}, description="The state before the first step; omitted: gamma and moving variance 1, beta and moving mean 0."
    )
    steps: _Steps
    expected: tuple[Published, ...] = Field((), strict=False)

    @property
    def family(self) -> str:
        """The first part of the id: the file it stands in."""
        return self.id.partition(".")[0]

    @functools.cached_property
    def configuration(self) -> Configuration:
        """What an implementation is asked for; feature axes ascending, counted from 0."""
        rank = len(self.shape)
        return Configuration(
            op=self.op,
            shape=self.shape,
            feature_axes=tuple(sorted(axis % rank for axis in self.feature_axes)),
            dtype=self.dtype,
            input_dtype=self.input_dtype,
            parameter_dtype=self.parameter_dtype or self.dtype,
            decay=self.decay,
            epsilon=self.epsilon,
            scale=self.scale,
            center=self.center,
            memory=self.memory,
            upstream_memory=self.upstream_memory,
            options=self.options,
        )

    @functools.cached_property
    def performed(self) -> tuple[Step, ...]:
        """The steps with their repetitions written out."""
        result: list[Step] = []
        for step in self.steps:
            match step:
                case Repeat(times=times, steps=steps):
                    result.extend(steps * times)
                case _:
                    result.append(step)
        return tuple(result)

    def step_axes(self, step: Step) -> tuple[int, ...]:
        """Return the feature axes that the step's input has: an input of a wrong rank lacks some."""
        rank = len(self.step_shape(step))
        return tuple(axis for axis in self.configuration.feature_axes if axis < rank)

    def step_shape(self, step: Step) -> tuple[int, ...]:
        """Return the shape of that step's input."""
        match step:
            case Train(shape=shape) | Infer(shape=shape) if shape is not None:
                return shape
            case _:
                return self.shape

"""What a step does, by its kind, by whether the layer is frozen, and by what frozen means in the dialect: one table.

Whoever follows a case from step to step walks this table: judging, both references, published numbers, observation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np

from conformance.dialect import Dialect

Array = np.ndarray[Any, np.dtype[Any]]


class Standing(Enum):
    """How a layer stands to being frozen."""

    FREE = "free"
    #: Frozen, and trained on: only what is learned stands still.
    FROZEN = "frozen"
    #: Frozen, where that means inference.
    INFERRING = "inferring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one step does."""

    #: The pass whose formulas it follows; empty where it computes nothing.
    performs: Literal["train", "infer", ""] = ""
    #: Whether the batch moves the moving values. Counts among the train steps that an update weighs by, if so.
    moves_averages: bool = False
    #: Whether the gradients move what is learned.
    moves_learned: bool = False
    #: Whether its backward pass gives the gradients of what is learned.
    differentiates_learned: bool = False
    #: What a gradient step takes after it: its own gradients, none, or still those of an earlier step.
    leaves_gradients: Literal["own", "none", "earlier"] = "earlier"
    #: Whether the layer is frozen afterwards; None: as before.
    freezes: bool | None = None


_NOTHING = Effect()
_INFERS = Effect(performs="infer")

EFFECTS: Mapping[str, Mapping[Standing, Effect]] = {
    "train": {
        Standing.FREE: Effect(
            performs="train", moves_averages=True, differentiates_learned=True, leaves_gradients="own"
        ),
        Standing.FROZEN: Effect(performs="train", moves_averages=True, leaves_gradients="none"),
        Standing.INFERRING: Effect(performs="infer", leaves_gradients="none"),
    },
    "infer": {
        Standing.FREE: Effect(performs="infer", differentiates_learned=True),
        Standing.FROZEN: _INFERS,
        Standing.INFERRING: _INFERS,
    },
    "sgd": {
        Standing.FREE: Effect(moves_learned=True),
        Standing.FROZEN: _NOTHING,
        Standing.INFERRING: _NOTHING,
    },
    "reload": dict.fromkeys(Standing, _NOTHING),
    "freeze": dict.fromkeys(Standing, Effect(freezes=True)),
    "unfreeze": dict.fromkeys(Standing, Effect(freezes=False)),
}


def effect_of(kind: str, frozen: bool, dialect: Dialect) -> Effect:
    """Return what a step of that kind does to a layer that is frozen or not."""
    frozen_as = Standing.INFERRING if dialect.frozen_implies_inference else Standing.FROZEN
    return EFFECTS[kind][frozen_as if frozen else Standing.FREE]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepState:
    """What the steps so far have left, beside the numbers of the state itself."""

    frozen: bool = False
    #: Train steps that moved the moving values.
    trained: int = 0
    #: What a gradient step takes: by what is learned, the gradient of the train step before.
    gradients: Mapping[str, Array] = field(default_factory=dict)

    def effect(self, kind: str, dialect: Dialect) -> Effect:
        """Return what a step of that kind does now."""
        return effect_of(kind, self.frozen, dialect)

    def after(self, kind: str, dialect: Dialect, size: int, gradients: Mapping[str, Array]) -> StepState:
        """Return what a step leaves, given the `size` of its input and the gradients of what is learned that it gave.

        A batch of no values moves nothing, and so does not count.
        """
        effect = self.effect(kind, dialect)
        left = {"own": gradients, "none": {}, "earlier": self.gradients}
        return dataclasses.replace(
            self,
            frozen=self.frozen if effect.freezes is None else effect.freezes,
            trained=self.trained + int(effect.moves_averages and size > 0),
            gradients=left[effect.leaves_gradients],
        )

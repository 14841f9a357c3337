"""What a step does: one table by the kind of step, whether the layer is frozen, and what frozen means in the dialect.

Everything that follows a case from step to step uses this table: judging, both references, the check of published
numbers, and the observation of dialects.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np

from conformance.dialect import Dialect

Array = np.ndarray[Any, np.dtype[Any]]


class Standing(Enum):
    """Whether a layer is frozen, and what that means in its dialect."""

    FREE = "free"
    #: Frozen, and still in training mode: only the learned parameters stand still.
    FROZEN = "frozen"
    #: Frozen, in a dialect where that puts the layer in inference mode.
    INFERRING = "inferring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one step does."""

    #: The pass whose formulas the step follows; empty where it computes nothing.
    performs: Literal["train", "infer", ""] = ""
    #: Whether the batch moves the moving values. If so, the step is counted as a train step.
    moves_averages: bool = False
    #: Whether the step moves the learned parameters along their gradients.
    moves_learned: bool = False
    #: Whether the backward pass gives the gradients of the learned parameters.
    differentiates_learned: bool = False
    #: The gradients that a later gradient step would take: this step's own, none, or still those of an earlier step.
    leaves_gradients: Literal["own", "none", "earlier"] = "earlier"
    #: Whether the layer is frozen afterwards; None where that stays as it was.
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
    # A step that must be refused, whatever its kind.
    "refused": dict.fromkeys(Standing, _NOTHING),
}


def effect_of(kind: str, frozen: bool, dialect: Dialect) -> Effect:
    """Return what a step of that kind does to a layer that is frozen or not."""
    return _effect(kind, frozen, dialect.frozen_implies_inference)


@functools.cache
def _effect(kind: str, frozen: bool, implies_inference: bool) -> Effect:
    # Kept, since judging asks it of every hypothesis, and an Enum is slow to look up by.
    frozen_as = Standing.INFERRING if implies_inference else Standing.FROZEN
    return EFFECTS[kind][frozen_as if frozen else Standing.FREE]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepState:
    """What the steps so far have left for the next one, apart from the arrays of the state."""

    frozen: bool = False
    #: How many train steps have moved the moving values.
    trained: int = 0
    #: How many would have, had their batch not been empty.
    empties: int = 0
    #: The gradients that a gradient step would take, by the name of the learned parameter.
    gradients: Mapping[str, Array] = field(default_factory=dict)

    def effect(self, kind: str, dialect: Dialect) -> Effect:
        """Return what a step of that kind does now."""
        return effect_of(kind, self.frozen, dialect)

    def after(self, kind: str, dialect: Dialect, size: int, gradients: Mapping[str, Array]) -> StepState:
        """Return what a step leaves: `size` is that of its input, `gradients` are those of the learned parameters.

        An empty batch moves nothing, and so is not counted as a train step.
        """
        effect = self.effect(kind, dialect)
        left = {"own": gradients, "none": {}, "earlier": self.gradients}
        return dataclasses.replace(
            self,
            frozen=self.frozen if effect.freezes is None else effect.freezes,
            trained=self.trained + int(effect.moves_averages and size > 0),
            empties=self.empties + int(effect.moves_averages and size == 0),
            gradients=left[effect.leaves_gradients],
        )

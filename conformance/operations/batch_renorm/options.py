"""What a case of batch renormalization says beyond a batch normalization: the limits of r and d, and a decay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from conformance.protocol import Configuration

_Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: One for every train step, or one for each: the last stands for all later ones.
_Limits = _Limit | Annotated[tuple[_Limit, ...], Field(min_length=1)] | None


class Options(BaseModel):
    """The options of a case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    renorm_decay: float = Field(ge=0, le=1, description="Weight of the old value in the averages that r and d are of.")
    rmin: _Limits = None
    rmax: _Limits = None
    dmax: _Limits = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        steps = max(len(limit) if isinstance(limit, tuple) else 1 for limit in (self.rmin, self.rmax))
        if any(_limit(self.rmin, step, 0.0) > _limit(self.rmax, step, math.inf) for step in range(steps)):
            raise ValueError("rmin lies above rmax")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """The limits of one train step: r in [rmin, rmax], d in [-dmax, dmax]."""

    rmin: float
    rmax: float
    dmax: float


def clipping(configuration: Configuration, trained: int) -> Clipping:
    """Return the limits of the train step after `trained` others; what a case leaves out limits nothing."""
    options = configuration.options
    return Clipping(
        rmin=_limit(options.get("rmin"), trained, 0.0),
        rmax=_limit(options.get("rmax"), trained, math.inf),
        dmax=_limit(options.get("dmax"), trained, math.inf),
    )


def renorm_decay(configuration: Configuration) -> float:
    """Return the decay of the averages that r and d are of."""
    return float(configuration.options["renorm_decay"])


def _limit(limit: Any, trained: int, absent: float) -> float:
    match limit:
        case None:
            return absent
        case Sequence():
            return float(limit[min(trained, len(limit) - 1)])
        case _:
            return float(limit)

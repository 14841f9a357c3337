"""Batch normalization of which some gradients alone are asked for, the rest being frozen: clause 11.6."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.operation import Quantity
from conformance.protocol import Configuration

Argument = Literal["input", "gamma", "beta"]


class Options(BaseModel):
    """What a case says beside the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    differentiated: Annotated[
        tuple[Argument, ...],
        Field(
            strict=False,
            min_length=1,
            max_length=2,
            description="The arguments that are differentiated; others are not.",
        ),
    ]


def _asked(quantity: Quantity, configuration: Configuration) -> bool:
    return quantity.present(configuration) and quantity.by in configuration.options["differentiated"]


def _quantities(own: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Return the quantities of which each gradient is had only where it is asked for."""
    return {
        name: replace(quantity, present=functools.partial(_asked, quantity))
        if quantity.role == "gradient"
        else quantity
        for name, quantity in own.items()
    }


PARTLY_DIFFERENTIATED_BATCH_NORM = replace(
    BATCH_NORM,
    name="partly_differentiated_batch_norm",
    ladder="",
    quantities=_quantities(BATCH_NORM.quantities),
    options=Options,
    observers={},
    traffic={},
)

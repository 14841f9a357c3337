"""Virtual batches: batch normalization of each part of a batch by itself, gamma, beta and moving values shared.

Hoffer, Hubara and Soudry 2017, algorithm 1, call it ghost batch normalization; a batch that is passed on in parts whose
gradients are added up, as for gradient accumulation, is the same thing.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.virtual_batch_norm import diagnosis, rational, reference
from conformance.protocol import Configuration


class Options(BaseModel):
    """What a case says beside the configuration of batch normalization."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    virtual_batch: int = Field(ge=1, description="Samples in a virtual batch; divides those of every train step.")


def _misfit(configuration: Configuration, kind: str, shape: tuple[int, ...]) -> str:
    """Return why the samples cannot be divided: options that are none are another check's."""
    size = configuration.options.get("virtual_batch")
    if 0 in configuration.feature_axes:
        return "virtual batches divide the first axis, which is a feature axis here"
    divides = kind != "train" or not isinstance(size, int) or size < 1 or shape[0] % size == 0
    return "" if divides else f"its {shape[0]} samples are no multiple of virtual_batch, {size}"


VIRTUAL_BATCH_NORM = replace(
    BATCH_NORM,
    name="virtual_batch_norm",
    ladder="",
    formulas={
        **BATCH_NORM.formulas,
        "train": (
            "for each part j of the batch, one after another:  μ = Σx/m,  σ² = Σ(x-μ)²/m,  x̂ = (x-μ)/√(σ²+ε),  "
            "y = γ·x̂ + β;  M ← a·M + (1-a)·μ,  V ← a·V + (1-a)·σ²;  "
            "dx = γ/√(σ²+ε) · (g - Σg/m - x̂·Σ(g·x̂)/m);  over all parts dβ = Σg,  dγ = Σg·x̂"
        ),
    },
    train=reference.train,
    rational=rational.PASSES,
    observers={},
    hypotheses=diagnosis.hypotheses,
    train_terms=reference.train_terms,
    equations=None,
    implied=None,
    options=Options,
    misfit=_misfit,
)

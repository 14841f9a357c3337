"""Instance normalization: each feature of each sample is normalized over the sample's positions.

Ulyanov, Vedaldi and Lempitsky 2016. With moving values, inference is that of batch normalization.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.group_norm import misfit
from conformance.operations.instance_norm import diagnosis, moving, rational
from conformance.operations.operation import Quantity
from conformance.operations.sample_norm import QUANTITIES, operation
from conformance.operations.sample_norm.rational import by_channels
from conformance.protocol import Configuration


class Options(BaseModel):
    """What a case says beside the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tracked: bool = Field(False, description="Whether there are moving values, by which inference normalizes.")


def _tracked(configuration: Configuration) -> bool:
    return bool(configuration.options.get("tracked"))


_PLAIN = operation(
    "instance_norm",
    moving.KIND,
    formula=(
        "of each sample and feature, over its k values:  μ = Σx/k,  σ² = Σ(x-μ)²/k,  x̂ = (x-μ)/√(σ²+ε),  y = γ·x̂ + β;  "
        "dβ = Σg,  dγ = Σg·x̂ of each feature,  dx = γ/√(σ²+ε) · (g - Σg/k - x̂·Σ(g·x̂)/k);  with moving values, over the "
        "n samples:  M ← a·M + (1-a)·Σμ/n,  V ← a·V + (1-a)·Σσ²/n"
    ),
    groups=by_channels,
    elsewhere=diagnosis.ELSEWHERE,
)
INSTANCE_NORM = replace(
    _PLAIN,
    quantities={
        **QUANTITIES,
        **{name: Quantity(role="state", present=_tracked) for name in ("moving_mean", "moving_variance")},
    },
    initial=BATCH_NORM.initial,
    formulas={
        **_PLAIN.formulas,
        "infer": "as in training; with moving values x̂ = (x-M)/√(V+ε),  dx = γ/√(V+ε) · g",
    },
    train=moving.train,
    infer=moving.infer,
    rational=rational.PASSES,
    hypotheses=diagnosis.hypotheses,
    infer_terms=moving.infer_terms,
    options=Options,
    misfit=misfit,
)

"""Group normalization: the features of each sample are normalized in groups, over all positions of the sample.

Wu and He 2018. One group is the whole sample; as many as there are features is instance normalization.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from conformance.operations.sample_norm import operation
from conformance.operations.sample_norm.groups import (
    Kind,
    channel_groups,
    channels,
    columns,
    everything,
    interleaved_groups,
    rows,
    samples,
    swapped_groups,
)
from conformance.operations.sample_norm.rational import by_channels
from conformance.protocol import Configuration


class Options(BaseModel):
    """What a case says beside the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    groups: int = Field(ge=1, description="Into how many groups of features that follow one another; divides them.")


def misfit(configuration: Configuration, kind: str, shape: tuple[int, ...]) -> str:
    """Return why the features cannot be divided: options that are none are another check's."""
    del kind, shape
    if 0 in configuration.feature_axes:
        return "the samples lie along the first axis, which is a feature axis here"
    groups = configuration.options.get("groups", 1)
    divides = not isinstance(groups, int) or groups < 1 or configuration.feature_count % groups == 0
    return "" if divides else f"its {configuration.feature_count} features are no multiple of groups, {groups}"


GROUP_NORM = replace(
    operation(
        "group_norm",
        Kind(members=channel_groups, folds=True),
        formula=(
            "of each sample and group, over its k values:  μ = Σx/k,  σ² = Σ(x-μ)²/k,  x̂ = (x-μ)/√(σ²+ε),  y = γ·x̂ + β;  "
            "dβ = Σg,  dγ = Σg·x̂ of each feature,  dx = 1/√(σ²+ε) · (γg - Σγg/k - x̂·Σ(γg·x̂)/k)"
        ),
        groups=by_channels,
        elsewhere={
            "each sample, in one group": samples,
            "each feature of a sample, in groups of one": channels,
            "groups of as many features as there should be groups": swapped_groups,
            "groups of features that do not follow one another": interleaved_groups,
            "all features at each position": rows,
            "each feature's values over the batch": columns,
            "the whole batch": everything,
        },
    ),
    options=Options,
    misfit=misfit,
)

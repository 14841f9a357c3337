"""RMS normalization: each row is divided by the root of the mean square of its features; nothing is subtracted.

Zhang and Sennrich 2019, equation 4. Options are what model code does in several ways, and layers of libraries in one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.sample_norm import operation
from conformance.operations.sample_norm.diagnosis import giving
from conformance.operations.sample_norm.groups import Kind, columns, everything, last_axis, rows, samples
from conformance.operations.sample_norm.rational import by_row
from conformance.operations.sample_norm.reference import computed
from conformance.operations.situation import Situation
from conformance.precision import rounded
from conformance.protocol import Configuration


class Options(BaseModel):
    """What a case says beside the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    unit_offset: bool = Field(False, description="Whether what multiplies is 1 + gamma, and gamma begins at 0.")
    epsilon: Literal["inside", "outside"] = Field("inside", description="Of the root, which is of the mean square.")
    cast: Literal["after_gamma", "before_gamma"] = Field(
        "after_gamma", description="Where a half-precision input is normalized in float32: when that is rounded back."
    )


_KIND = Kind(members=rows, centred=False)
_PLAIN = operation(
    "rms_norm",
    _KIND,
    formula=(
        "of each row over its C features:  q = Σx²/C,  x̂ = x/√(q+ε),  y = γ·x̂ + β;  "
        "dβ = Σg,  dγ = Σg·x̂ over all rows,  dx = 1/√(q+ε) · (γg - x̂·Σ(γg·x̂)/C)"
    ),
    groups=by_row,
    elsewhere={
        "each feature's values over the batch": columns,
        "each sample's values": samples,
        "the last axis alone": last_axis,
        "the whole batch": everything,
    },
)


def _hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield what may have happened to the options, then what any normalization of a sample may suffer."""
    base = Hypothesis(configuration=configuration, dialect=dialect)
    options = configuration.options
    if configuration.scale and options.get("unit_offset"):
        yield base.configured(because("one-not-added-to-gamma"), options={**options, "unit_offset": False})
    elif configuration.scale:
        yield base.configured(because("one-added-to-gamma"), options={**options, "unit_offset": True})
    if options.get("epsilon") == "outside":
        yield base.configured(because("epsilon-inside-root"), options={**options, "epsilon": "inside"})
    if options.get("cast") != "before_gamma" and configuration.dtype in ("float16", "bfloat16"):
        yield giving(base, because("normalized-rounded-before-gamma"), _rounded_before_gamma, "output", "grad_gamma")
    yield from _PLAIN.hypotheses(configuration, dialect)


def _rounded_before_gamma(situation: Situation, expected: dict[str, Expected]) -> dict[str, Expected]:
    """Return the output and the gradient of gamma of an x̂ that was rounded to the dtype of the input."""
    n = computed(_KIND, situation)
    normalized = rounded(n.normalized, situation.configuration.dtype).astype(situation.x.dtype)
    values = {"output": n.in_rows(n.gamma * normalized + n.beta)}
    if situation.upstream is not None:
        values["grad_gamma"] = np.asarray((situation.upstream * n.in_rows(normalized)).sum(axis=0))
    return {name: changed_to(expected[name], values[name]) for name in expected.keys() & values.keys()}


RMS_NORM = replace(_PLAIN, hypotheses=_hypotheses, options=Options)

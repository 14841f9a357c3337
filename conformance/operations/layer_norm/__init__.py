"""Layer normalization: each row is normalized over its features, with a gamma and a beta for each of them.

Ba, Kiros and Hinton 2016. The feature axes are those that gamma and beta have, which are those that collapse.
"""

from __future__ import annotations

from dataclasses import replace

from conformance.operations.sample_norm import operation
from conformance.operations.sample_norm.groups import Kind, columns, everything, last_axis, rows, samples
from conformance.operations.sample_norm.rational import by_row

LAYER_NORM = replace(
    operation(
        "layer_norm",
        Kind(members=rows),
        formula=(
            "of each row over its C features:  μ = Σx/C,  σ² = Σ(x-μ)²/C,  x̂ = (x-μ)/√(σ²+ε),  y = γ·x̂ + β;  "
            "dβ = Σg,  dγ = Σg·x̂ over all rows,  dx = 1/√(σ²+ε) · (γg - Σγg/C - x̂·Σ(γg·x̂)/C)"
        ),
        groups=by_row,
        elsewhere={
            "each feature's values over the batch": columns,
            "each sample's values": samples,
            "the last axis alone": last_axis,
            "the whole batch": everything,
        },
    ),
    ladder="layer-stability",
)

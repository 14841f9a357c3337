"""Batch normalization differentiated further: forward along a direction, and twice in every order of the two modes.

A step has, beside the upstream gradient g, a direction v of the input's shape, its `tangent`.
"""

from __future__ import annotations

from dataclasses import replace

from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.differentiated_batch_norm import diagnosis, rational, reference
from conformance.operations.operation import Quantity

DIFFERENTIATED_BATCH_NORM = replace(
    BATCH_NORM,
    name="differentiated_batch_norm",
    ladder="",
    formulas={
        **BATCH_NORM.formulas,
        "train": (
            f"{BATCH_NORM.formulas['train']};  a = Σ(v·x̂)/m,  b = Σ(g·x̂)/m,  Pv = v - Σv/m - x̂·a,  Pg = g - Σg/m - x̂·b,  "
            "r = 1/√(σ²+ε);  tangent output = second upstream = γ·r·Pv;  second input = -γ·r²·(x̂·Σ(v·Pg)/m + b·Pv + a·Pg) "
            "= forward over reverse = reverse over forward;  forward over forward = -γ·r²·(x̂·Σ(v·Pv)/m + 2a·Pv);  "
            "second gamma = r·Σ(v·Pg)"
        ),
        "infer": (
            f"{BATCH_NORM.formulas['infer']};  r = 1/√(V+ε);  tangent output = second upstream = γ·r·v;  every other second derivative by x = 0;  "
            "second gamma = r·Σ(v·g)"
        ),
    },
    quantities={
        **BATCH_NORM.quantities,
        **dict.fromkeys(reference.SHAPED, Quantity(role="gradient", shape="input")),
        "second_grad_gamma": Quantity(role="gradient", present=lambda configuration: configuration.scale),
    },
    train=reference.train,
    infer=reference.infer,
    rational=rational.PASSES,
    observers={},
    hypotheses=diagnosis.hypotheses,
    train_terms=reference.train_terms,
    infer_terms=reference.infer_terms,
    arrays={"tangent": "input"},
    needs=frozenset({"tangent", "upstream"}),
)

"""The arm of a property as a case, which any implementation can be asked to perform."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.operations import OPERATIONS
from conformance.operations.layout import unflatten
from conformance.search.properties import PROPERTIES
from conformance.search.properties.drawing import Drawn
from conformance.search.properties.identity import Arm, Array, Property
from conformance.spec.case import Case


def case_of(arm: Arm, drawn: Drawn, operation: str, property_: Property) -> Case:
    """Return an arm as a case."""
    declared = OPERATIONS[operation]
    samples = drawn.layout.shape[0] * len(arm.steps[0].x) // drawn.layout.rows
    shape = (samples, *drawn.layout.shape[1:])
    fields: dict[str, Any] = {
        "id": f"properties.{property_.id}",
        "title": property_.title,
        "source": "A property: an identity between the results of related cases.",
        "clauses": property_.clauses,
        "op": operation,
        "shape": shape,
        "feature_axes": drawn.layout.feature_axes,
        "dtype": drawn.dtype,
        "options": dict(PROPERTIES[operation].options),
        "decay": arm.decay,
        "epsilon": arm.epsilon,
        "initial": {
            name: _literal(value.reshape(drawn.layout.sizes))
            for name, value in arm.state.items()
            if name in declared.initial
        },
    }
    configuration = Case.model_validate({**fields, "steps": [{"step": "freeze"}]}).configuration
    steps = []
    for step in arm.steps:
        raw: dict[str, Any] = {"step": step.kind, "input": _literal(unflatten(step.x, configuration, shape))}
        if step.upstream is not None:
            raw["upstream"] = _literal(unflatten(step.upstream, configuration, shape))
        steps.append(raw)
    return Case.model_validate({**fields, "steps": steps})


def _literal(array: Array) -> dict[str, Any]:
    return {"kind": "literal", "values": np.asarray(array, np.float64).tolist()}

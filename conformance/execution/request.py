"""What a worker is sent to perform a cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.operations import OPERATIONS
from conformance.planning.plan import Cell
from conformance.protocol import Configuration
from conformance.reference.inputs import inputs_of, states_of
from conformance.spec.case import Infer, Sgd, Train, handed


def fields_of(configuration: Configuration) -> Mapping[str, Any]:
    """Return the fields of a configuration, as they are: `dataclasses.asdict` copies what they hold, ten times as long."""
    return {name: getattr(configuration, name) for name in Configuration.__dataclass_fields__}


def request_of(cell: Cell) -> dict[str, Any]:
    """Return what a worker is sent to perform the cell."""
    inputs = inputs_of(cell.case)
    steps = []
    states = () if cell.implementation.keeps_state else states_of(cell.case)
    for index, prepared in enumerate(inputs.steps):
        step: dict[str, Any] = {"kind": prepared.step.step}
        match prepared.step:
            case Train() | Infer():
                step |= {"input": prepared.input, "upstream": prepared.upstream, "arrays": prepared.arrays}
                step["handed"] = handed(prepared.step)
            case Sgd(learning_rate=rate):
                step["learning_rate"] = rate
            case _:
                pass
        if states and isinstance(prepared.step, Infer):
            step["state"] = states[index]
        steps.append(step)
    return {
        "do": "cell",
        "implementation": cell.implementation.name,
        "mode": cell.mode,
        "device": cell.device,
        "again": cell.case.again,
        "configuration": fields_of(cell.case.configuration),
        # What its answers may name.
        "quantities": list(OPERATIONS[cell.case.op].quantities),
        "initial": inputs.initial,
        "steps": steps,
    }

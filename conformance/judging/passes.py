"""What a cell's train and infer steps began with, gave and left: all that its dialect is read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.operations import OPERATIONS
from conformance.operations.operation import Pass, flatten
from conformance.outcome import Outcome, Produced, Refused
from conformance.planning.plan import Cell
from conformance.reference.inputs import StepInputs, inputs_of, situate, states_of
from conformance.spec.case import Freeze, Infer, Train, Unfreeze

Array = np.ndarray[Any, np.dtype[Any]]


def passes_of(cell: Cell, outcomes: Sequence[Outcome]) -> list[Pass]:
    """Return the passes of a cell in order, as far as its steps ended and reported their state."""
    steps = inputs_of(cell.case).steps
    before = dict(inputs_of(cell.case).initial)
    found: list[Pass] = []
    frozen, trained = False, 0
    for number, outcome in enumerate(outcomes):
        if not isinstance(outcome, Produced | Refused) or outcome.state is None:
            break
        step = steps[number - 1].step if number else None
        match step:
            case Train() | Infer():
                found.append(_pass(cell, number, outcome, before, trained, frozen))
                trains = isinstance(step, Train) and isinstance(outcome, Produced) and not frozen
                trained += int(trains and found[-1].situation.x.size > 0)
            case Freeze() | Unfreeze():
                frozen = isinstance(step, Freeze)
            case _:
                pass
        # What is missing or misshapen stays as it was; judging says so.
        before |= {
            name: value for name, value in outcome.state.items() if name in before and value.size == before[name].size
        }
    return found


def _pass(
    cell: Cell, number: int, outcome: Produced | Refused, before: Mapping[str, Array], trained: int, frozen: bool
) -> Pass:
    inputs, keeps_state = inputs_of(cell.case).steps[number - 1], cell.implementation.keeps_state
    # Who keeps no state infers from what its caller gives.
    given = isinstance(inputs.step, Infer) and not keeps_state
    state = states_of(cell.case)[number - 1] if given else before
    reported = outcome.state or {}
    return Pass(
        situation=situate(cell.case.configuration, OPERATIONS[cell.case.op].dialect, inputs, state, trained),
        kind="train" if isinstance(inputs.step, Train) else "infer",
        frozen=frozen,
        output=_output(inputs, outcome, cell),
        after=reported if keeps_state else {},
        reported=reported,
        refused=outcome.types if isinstance(outcome, Refused) else (),
    )


def _output(inputs: StepInputs, outcome: Produced | Refused, cell: Cell) -> Array | None:
    """Return the output as (m, C); None where there is none of the input's shape."""
    output = outcome.quantities.get("output") if isinstance(outcome, Produced) else None
    if output is None or inputs.input is None or output.shape != inputs.input.shape:
        return None
    return flatten(output, cell.case.configuration)

"""What each train and infer step of a cell started from, gave and left: the numbers that its dialect is read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.dialect import apply, declared_at
from conformance.judging.walk import Walk
from conformance.operations import OPERATIONS
from conformance.operations.layout import flatten
from conformance.operations.operation import Pass
from conformance.outcome import Outcome, Produced, Refused
from conformance.planning.plan import Cell
from conformance.reference.inputs import StepInputs, inputs_of, situate, states_of
from conformance.spec.case import Infer, Train, handed, unfit

Array = np.ndarray[Any, np.dtype[Any]]


def passes_of(cell: Cell, outcomes: Sequence[Outcome]) -> list[Pass]:
    """Return the passes of a cell in order, up to the first step that did not end or did not report its state."""
    configuration, operation = cell.case.configuration, OPERATIONS[cell.case.op]
    # Whether a frozen layer trains on is what it declares, as for judging: its train steps count, or do not.
    dialect = apply(operation.dialect, declared_at(cell.implementation.profile, configuration.rank))
    inputs = inputs_of(cell.case)
    walk = Walk(state=dict(inputs.initial))
    passes: list[Pass] = []
    for number, outcome in enumerate(outcomes):
        if not isinstance(outcome, Produced | Refused) or outcome.state is None:
            break
        step = inputs.steps[number - 1] if number else None
        if step is not None and isinstance(step.step, Train | Infer) and not unfit(step.step):
            passes.append(_pass(cell, number, outcome, walk))
        # What is missing or misshapen stays as it was; judging says so.
        if step is not None and isinstance(outcome, Produced) and not unfit(step.step):
            walk.advance(step, outcome, dict(walk.state), operation, configuration, dialect)
        elif step is None or not handed(step.step):
            walk.follow(outcome.state)
    return passes


def _pass(cell: Cell, number: int, outcome: Produced | Refused, walk: Walk) -> Pass:
    inputs, keeps_state = inputs_of(cell.case).steps[number - 1], cell.implementation.keeps_state
    # An implementation that keeps no state infers from the state that its caller passes in.
    caller_keeps = isinstance(inputs.step, Infer) and not keeps_state
    state = states_of(cell.case)[number - 1] if caller_keeps else walk.state
    reported: Mapping[str, Array] = outcome.state or {}
    dialect = OPERATIONS[cell.case.op].dialect
    return Pass(
        situation=situate(cell.case.configuration, dialect, inputs, state, walk.steps.trained),
        kind="train" if isinstance(inputs.step, Train) else "infer",
        frozen=walk.steps.frozen,
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

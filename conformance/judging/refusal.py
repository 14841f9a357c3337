"""Judges a step that raised an exception, and one that should have.

An exception is right where the input does not fit the layer and one that fits is computed, and expected where the
documentation announces it or the input is whole numbers. Either way the step must leave the state as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from conformance.cause import MISTAKEN, RAISES, Cause, because
from conformance.dialect import declared_at
from conformance.judging.judgement import Judged, StepJudgement
from conformance.judging.step import StepJudge
from conformance.judging.walk import Walk
from conformance.operations import OPERATIONS
from conformance.operations.layout import shape_of
from conformance.outcome import Produced, Refused
from conformance.planning.plan import Cell
from conformance.protocol import Declared
from conformance.reference.expected import References
from conformance.reference.inputs import StepInputs
from conformance.spec.case import Train, handed, unfit
from conformance.verdict import Verdict

Array = np.ndarray[Any, np.dtype[Any]]

_UNPROVEN = "refused as what fits is, which proves nothing: "


def taken(cell: Cell, number: int, inputs: StepInputs, outcome: Produced) -> StepJudgement:
    """Judge a step that must be refused, for its input does not fit, and that gave numbers all the same.

    A function that trains without gamma and beta is given nothing that has a size, and takes any.
    """
    assert inputs.input is not None
    learned = OPERATIONS[cell.case.op].named(cell.case.configuration, "learned")
    own = handed(inputs.step)
    if isinstance(inputs.step, Train) and not cell.implementation.keeps_state and not learned and not own:
        return StepJudgement(
            number=number,
            kind=inputs.step.step,
            verdict=Verdict.EXACT,
            expected=True,
            seconds=outcome.seconds,
            message="takes any size: nothing that the call is given has one",
        )
    output = outcome.quantities.get("output")
    judged = Judged(
        quantity="output",
        verdict=Verdict.DEVIATES,
        causes=(_taken(cell, own) or _input_taken(cell, inputs.input),),
        dtype="" if output is None else output.dtype.name,
        shape=() if output is None else output.shape,
    )
    return StepJudgement(
        number=number,
        kind=inputs.step.step,
        verdict=Verdict.DEVIATES,
        expected=False,
        seconds=outcome.seconds,
        quantities=(judged,),
    )


def _input_taken(cell: Cell, given: Array) -> Cause:
    return because("wrong-size-taken", shape=str(given.shape), expected=str(cell.case.shape))


def _taken(cell: Cell, handed: Mapping[str, tuple[int, ...]]) -> Cause | None:
    """Return that a parameter or a moving value of a wrong size was taken; None where none was handed over."""
    for name, shape in handed.items():
        configuration = cell.case.configuration
        fitting = shape_of(OPERATIONS[cell.case.op].quantities[name].shape, configuration, cell.case.shape)
        return because("wrong-parameter-taken", parameter=name, shape=str(shape), expected=str(fitting))
    return None


def refusal(
    cell: Cell, number: int, inputs: StepInputs | None, outcome: Refused, walk: Walk, references: References
) -> StepJudgement:
    """Judge an exception: it is right where the input does not fit, and expected where the profile documents its type.

    Where no input that fits is computed either, it proves nothing, and the steps that fit say what is wrong. An input of
    whole numbers may be refused by any exception, since nothing is computed of it then that could be wrong.
    Unless the caller keeps the state, the refused step must leave it unchanged and readable.
    """
    declared = _documented_error(cell, inputs)
    documented = declared is not None and declared.error in outcome.types
    misfit = inputs is not None and unfit(inputs.step) is not None and not outcome.mistake
    right = misfit and inputs is not None and inputs.step.step in walk.computed
    # An overflow may be loud, and nothing is louder.
    loud = not documented and not misfit and not outcome.mistake
    overflows = loud and inputs is not None and _may_overflow(cell, number, inputs, walk, references)
    whole = cell.case.input_dtype is not None and not outcome.mistake
    expected = documented or misfit or overflows or whole
    quantities: tuple[Judged, ...] = ()
    if inputs is None or not cell.implementation.keeps_state:
        pass
    elif outcome.state is None:
        expected = False
    else:
        quantities = tuple(_kept(walk.state, outcome.state))
        if not handed(inputs.step):
            walk.follow(outcome.state)
    changed = [judged for judged in quantities if judged.verdict is not Verdict.EXACT]
    own = f"the adapter's own mistake, {outcome.mistake}: " if outcome.mistake and not expected else ""
    right = right and expected
    due = "refused, as it must be: " if right else _UNPROVEN if misfit and expected else ""
    where = f" (documented: {declared.where})" if documented and declared is not None else ""
    where = where or (f" ({cell.case.input_dtype} input may be refused)" if whole else "")
    return StepJudgement(
        number=number,
        kind=inputs.step.step if inputs else "start",
        verdict=_verdict(changed=bool(changed), right=right, overflows=overflows),
        expected=expected and not changed,
        seconds=outcome.seconds,
        quantities=quantities,
        message=f"{due}{own}{outcome.types[0]}: {outcome.message}{where}",
        raised=outcome.types[0],
        failure=None if expected else _raised(outcome),
        call=outcome.call,
    )


def _verdict(*, changed: bool, right: bool, overflows: bool) -> Verdict:
    """Return what an exception means; `right` is one of an input that does not fit."""
    if changed:
        return Verdict.DEVIATES
    if right:
        return Verdict.EXACT
    return Verdict.OUTSIDE_DOMAIN if overflows else Verdict.REFUSED


def _raised(outcome: Refused) -> Cause:
    """Return why there are no numbers, where no documentation says so."""
    if not outcome.mistake:
        return because(RAISES, type=outcome.types[0])
    file, _, place = outcome.mistake.partition(",")
    return because(MISTAKEN, type=outcome.types[0], file=file, function=place.rpartition(" in ")[2])


def _may_overflow(cell: Cell, number: int, inputs: StepInputs, walk: Walk, references: References) -> bool:
    """Return whether an intermediate or a result of the step could leave its range."""
    return inputs.input is not None and StepJudge(cell, number, inputs, walk, references).may_overflow()


def _documented_error(cell: Cell, inputs: StepInputs | None) -> Declared | None:
    if inputs is None or inputs.input is None or not isinstance(inputs.step, Train) or unfit(inputs.step):
        return None
    configuration = cell.case.configuration
    count = math.prod(inputs.input.shape[axis] for axis in configuration.reduction_axes)
    field_name = {0: "empty_batch", 1: "single_value"}.get(count)
    declared = declared_at(cell.implementation.profile, configuration.rank)
    declaration = declared.get(field_name or "")
    return declaration if declaration is not None and declaration.value == "error" else None


def _kept(before: Mapping[str, Array], after: Mapping[str, Array]) -> Iterator[Judged]:
    for name, value in before.items():
        same = name in after and after[name].tobytes() == value.tobytes()
        yield Judged(
            quantity=name,
            verdict=Verdict.EXACT if same else Verdict.DEVIATES,
            causes=() if same else (because("changed-by-refused-step"),),
            dtype=value.dtype.name,
            shape=value.shape,
        )

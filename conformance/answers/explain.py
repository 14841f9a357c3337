"""A subject explained: axes, equations with their numbers, the state around each step, and what one may have expected."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.answers.explain_subject import Subject
from conformance.answers.explanation import (
    FORMAT,
    Diagnosed,
    ExplainedStep,
    Explanation,
    NativeCall,
    Printed,
    PutIn,
    Values,
)
from conformance.answers.instead import LARGEST, instead
from conformance.answers.shown import values_of
from conformance.dialect import Dialect
from conformance.operations.expected import Expected
from conformance.operations.layout import shape_of, unflatten
from conformance.precision import working
from conformance.reference.computed import Request, compute
from conformance.reference.inputs import Beginning, StepInputs, beginnings_of, inputs_of, situate
from conformance.runfile.numbers import number
from conformance.spec.case import Step, handed, unfit

Array = np.ndarray[Any, np.dtype[Any]]

#: Of how many features the equations are shown; of a case with more steps than twice the second, the first and last ones.
_FEATURES, _STEPS = 2, 2


def explanation(
    subject: Subject,
    dialect: Dialect,
    calls: Sequence[NativeCall] = (),
    diagnosed: Sequence[Diagnosed] = (),
) -> Explanation:
    """Return the subject explained, its numbers by that dialect."""
    case, configuration = subject.case, subject.case.configuration
    inputs, beginnings = inputs_of(case).steps, beginnings_of(case, dialect)
    shown = shown_steps(len(inputs))
    steps = [_step(subject, dialect, index + 1, inputs[index], beginnings[index]) for index in shown]
    return Explanation(
        format=FORMAT,
        subject=case.id if subject.shipped else "",
        title=case.title if subject.shipped else "",
        source=case.source if subject.shipped else "",
        op=case.op,
        dtype=case.dtype,
        shape=configuration.shape,
        feature_axes=configuration.feature_axes,
        reduction_axes=configuration.reduction_axes,
        features=configuration.features,
        reduced=_reduced(configuration.shape, configuration.reduction_axes),
        epsilon=case.epsilon,
        decay=case.decay,
        assumed=subject.assumed,
        steps=tuple(steps),
        omitted=len(inputs) - len(shown),
        diagnosed=tuple(diagnosed),
        calls=tuple(calls),
    )


def shown_steps(count: int) -> list[int]:
    """Return the positions of the steps that are shown: all of few, else the first and the last ones."""
    if count <= 2 * _STEPS + 1:
        return list(range(count))
    return [*range(_STEPS), *range(count - _STEPS, count)]


def request_of(subject: Subject, dialect: Dialect, number: int, inputs: StepInputs, beginning: Beginning) -> Request:
    """Return what the reference is asked of a step."""
    case = subject.case
    return Request(
        case=case,
        configuration=case.configuration,
        number=number,
        inputs=inputs,
        dialect=dialect,
        worked=working(case.dtype),
        frozen=beginning.steps.frozen,
        trained=beginning.steps.trained,
        empties=beginning.steps.empties,
    )


def as_given(subject: Subject, quantity: str, expected: Expected, shape: tuple[int, ...]) -> Values:
    """Return an expectation in the quantity's own layout, as it is shown; `shape` is that of the step's input."""
    case, operation = subject.case, subject.operation
    form = operation.quantities[quantity].shape
    value = np.asarray(expected.value)
    if form == "input":
        laid = unflatten(np.broadcast_to(value, value.shape), case.configuration, shape)
    else:
        laid = value.reshape(shape_of(form, case.configuration, shape))
    stored = case.dtype if form == "input" else case.configuration.parameter_dtype
    return values_of(quantity, laid, stored)


def _step(subject: Subject, dialect: Dialect, position: int, inputs: StepInputs, beginning: Beginning) -> ExplainedStep:
    case, operation = subject.case, subject.operation
    request = request_of(subject, dialect, position, inputs, beginning)
    shape = case.step_shape(inputs.step)
    results = compute(request, beginning.state, beginning.steps.gradients)
    performs = request.effect.performs
    given = {name: as_given(subject, name, one, shape) for name, one in results.items()}
    state = operation.state(case.configuration)
    dtype = case.configuration.parameter_dtype
    return ExplainedStep(
        number=position,
        kind=inputs.step.step,
        performs=performs,
        formula="" if unfit(inputs.step) else operation.formulas.get(performs or inputs.step.step, ""),
        shape=shape,
        reduced=_reduced(shape, case.configuration.reduction_axes),
        before=tuple(values_of(name, np.asarray(beginning.state[name]), dtype) for name in state),
        after=tuple(given[name] for name in state if name in given),
        gives=tuple(one for name, one in given.items() if name not in state),
        equations=_equations(subject, request, beginning) if performs else (),
        printed=tuple(
            Printed(quantity=one.quantity, texts=tuple(np.array(one.values, dtype=object).reshape(-1).tolist()))
            for one in case.expected
            if one.step == position
        ),
        instead=instead(subject, request, beginning, results) if performs else (),
        unshown=tuple(_unshown(subject, request)) if performs else _refused(inputs.step, shape, case.shape),
    )


def _refused(step: Step, shape: tuple[int, ...], built: tuple[int, ...]) -> tuple[str, ...]:
    """Return why nothing is computed where something does not fit; nothing of another step."""
    why = unfit(step)
    if why is None:
        return ()
    for name, own in handed(step).items():
        return (
            f"It must be refused: {name} is handed in the shape {list(own)}, a {why} for the input's {list(shape)}.",
        )
    return (f"It must be refused: the input's shape {list(shape)} is of a {why} for a layer made for {list(built)}.",)


def _unshown(subject: Subject, request: Request) -> Iterator[str]:
    """Yield what is not shown of a pass, each with the reason."""
    inputs = request.inputs
    if subject.operation.equations is None:
        yield f"The equations of {subject.case.op} are not written out with their numbers; the formula is what it computes."
    if inputs.input is not None and inputs.input.size > LARGEST:
        yield f"What it would give otherwise is not computed of more than {LARGEST:,} values."
    elif inputs.arrays and request.effect.performs == "train":
        yield f"What other axes would give is not shown: the {' and the '.join(inputs.arrays)} would be another there."


def _equations(subject: Subject, request: Request, beginning: Beginning) -> tuple[PutIn, ...]:
    """Return the equations of the first features, if the operation has any written down."""
    written, configuration = subject.operation.equations, subject.case.configuration
    performs = request.effect.performs
    if written is None or not performs or request.inputs.input is None:
        return ()
    situation = situate(configuration, request.dialect, request.inputs, beginning.state, request.trained)
    situation = replace(situation, empties=request.empties)
    return tuple(
        PutIn(
            feature=tuple(int(one) for one in np.unravel_index(feature, configuration.features)),
            symbol=equation.symbol,
            numbers=equation.numbers,
            value=number(equation.value),
        )
        for feature in range(min(_FEATURES, configuration.feature_count))
        for equation in written(situation, performs, feature)
    )


def _reduced(shape: tuple[int, ...], axes: Sequence[int]) -> int:
    """Return over how many values a statistic is; an input of a wrong rank may lack some of the axes."""
    return math.prod(shape[axis] for axis in axes if axis < len(shape))

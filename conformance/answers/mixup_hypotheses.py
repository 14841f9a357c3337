"""Readings by which one thing of the formula is otherwise: every hypothesis that the operation has of wrong numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.answers.explain_subject import Subject
from conformance.answers.explanation import Difference
from conformance.answers.mixup_choices import Choice
from conformance.answers.mixup_reading import Found, Performs, mode_choice
from conformance.answers.mixup_variants import Scene, off_of
from conformance.answers.supposed import supposed
from conformance.cause import text_of
from conformance.operations.hypothesis import Hypothesis
from conformance.precision import working
from conformance.reference.computed import Request
from conformance.reference.expected import References, hypotheses
from conformance.reference.inputs import StepInputs
from conformance.spec.case import Infer, Train
from conformance.spec.causes import catalogue

Array = np.ndarray[Any, np.dtype[Any]]

#: What a hypothesis costs, and what one of the last resort, which explains nearly anything.
PRICE, _LAST_RESORT = 1.1, 2.5


def by_hypotheses(subject: Subject, scene: Scene, start: Mapping[str, Array], inputs: StepInputs) -> Iterator[Found]:
    """Yield a reading for each hypothesis and pass, with every setting as it was said or is usual."""
    for performs in ("infer", "train"):
        request = _request(subject, inputs, performs)
        references = References()
        for hypothesis in hypotheses(request.configuration, request.dialect):
            results = {} if hypothesis.representable else supposed(hypothesis, request, start, references)
            if not scene.asked.keys() <= results.keys():
                continue
            values = {name: (results[name].value, results[name].bound) for name in scene.asked}
            if any(value.shape != scene.asked[name].values.shape for name, (value, _) in values.items()):
                continue
            off = max(
                float(
                    off_of(
                        value[..., None, :], bound[..., None, :], scene.asked[name], subject.case.dtype, request.worked
                    )[0]
                )
                for name, (value, bound) in values.items()
            )
            yield Found(
                performs=performs,
                axes=request.configuration.feature_axes,
                epsilon=hypothesis.configuration.epsilon,
                choices=(mode_choice(subject, performs), _choice(hypothesis)),
                off=off,
                gives={name: value for name, (value, _) in values.items()},
            )


def _choice(hypothesis: Hypothesis) -> Choice:
    words = text_of((hypothesis.cause,), catalogue())
    return Choice(
        price=_LAST_RESORT if hypothesis.last else PRICE,
        differences=(Difference(id=hypothesis.cause.id, words=words),),
    )


def _request(subject: Subject, inputs: StepInputs, performs: Performs) -> Request:
    """Return what the reference is asked of the data in that pass."""
    step = inputs.step
    assert isinstance(step, Train | Infer)
    if step.step != performs:
        kind = Train if performs == "train" else Infer
        step = kind.model_validate({"step": performs, "input": step.input})
    return Request(
        case=subject.case,
        configuration=subject.case.configuration,
        number=1,
        inputs=replace(inputs, step=step, upstream=None),
        dialect=subject.operation.dialect,
        worked=working(subject.case.dtype),
        frozen=False,
        trained=0,
    )

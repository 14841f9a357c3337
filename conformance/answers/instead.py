"""What a person may have expected of a step instead: one thing done otherwise, with the numbers that this gives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.answers.axes import kept_otherwise
from conformance.answers.explain_subject import Subject
from conformance.answers.explanation import Instead, Values
from conformance.answers.shown import values_of
from conformance.answers.supposed import supposed
from conformance.cause import text_of
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.layout import shape_of, unflatten
from conformance.operations.operation import Operation
from conformance.protocol import Configuration
from conformance.reference.computed import Request, compute
from conformance.reference.expected import References, hypotheses
from conformance.reference.inputs import Beginning
from conformance.spec.causes import catalogue

Array = np.ndarray[Any, np.dtype[Any]]

#: What people mean who mean something else, the most common first: ids of the catalogue of causes.
_EXPECTED = (
    "batch-statistics-in-inference",
    "inference-in-training",
    "normalizing-correction",
    "moving-correction",
    "decay-inverted",
    "epsilon-outside-root",
    "epsilon-dropped",
    "parameter-ignored",
    "mean-not-subtracted",
)
#: An operation and what it is taken for: the mean removed, and the variance removed too.
_TAKEN_FOR = {
    "batch_norm": ("centering", "the mean taken off and the variance left, which is centering"),
    "centering": ("batch_norm", "divided by the standard deviation too, which is batch normalization"),
}
#: Of more values than this nothing is computed otherwise: a person waits for the answer.
LARGEST = 200_000
#: A change is told where it is seen in so many of the digits of a number.
_SEEN = 1e-6
_STATISTICS = ("batch_mean", "batch_variance")


def instead(
    subject: Subject, request: Request, beginning: Beginning, right: Mapping[str, Expected]
) -> tuple[Instead, ...]:
    """Return what the step would give otherwise, as far as it differs from the `right` numbers."""
    if request.inputs.input is None or not 0 < request.inputs.input.size <= LARGEST:
        return ()
    return (
        *_by_causes(subject, request, beginning, right),
        *_along_other_axes(subject, request),
        *_by_another_operation(subject, request, beginning, right),
    )


def _by_causes(
    subject: Subject, request: Request, beginning: Beginning, right: Mapping[str, Expected]
) -> Iterator[Instead]:
    plain = replace(request, inputs=replace(request.inputs, upstream=None))
    references = References()
    tried = [one for one in hypotheses(request.configuration, request.dialect) if one.cause.id in _EXPECTED]
    for hypothesis in sorted(tried, key=lambda one: _EXPECTED.index(one.cause.id)):
        changed = supposed(hypothesis, plain, beginning.state, references)
        gives = _differing(subject.operation, request.configuration, request, changed, right)
        if gives:
            words = text_of((hypothesis.cause,), catalogue())
            yield Instead(id=hypothesis.cause.id, words=words, gives=gives)


def _differing(
    operation: Operation,
    configuration: Configuration,
    request: Request,
    changed: Mapping[str, Expected],
    right: Mapping[str, Expected],
) -> tuple[Values, ...]:
    """Return the quantities beside gradients that a change makes visibly other numbers."""
    return tuple(
        _laid_out(operation, configuration, request, name, one.value)
        for name, one in changed.items()
        if operation.quantities[name].role != "gradient" and name in right and _seen(one.value, right[name].value)
    )


def _seen(value: Array, right: Array) -> bool:
    if value.shape != right.shape:
        return True
    with np.errstate(all="ignore"):
        size = float(np.nanmax(np.abs(np.where(np.isfinite(right), right, np.nan)), initial=0.0))
        close = np.abs(value - right) <= _SEEN * max(size, 1e-300)
    return not bool((close | (np.isnan(value) & np.isnan(right)) | (value == right)).all())


def _laid_out(operation: Operation, configuration: Configuration, request: Request, name: str, value: Array) -> Values:
    """Return a quantity in its own layout."""
    assert request.inputs.input is not None
    shape, form = request.inputs.input.shape, operation.quantities[name].shape
    laid = (
        unflatten(value, configuration, shape)
        if form == "input"
        else value.reshape(shape_of(form, configuration, shape))
    )
    return values_of(name, laid, configuration.dtype if form == "input" else configuration.parameter_dtype)


def _along_other_axes(subject: Subject, request: Request) -> Iterator[Instead]:
    """Yield the batch statistics with other axes kept: not where a mask or another array is laid out by these."""
    operation, configuration = subject.operation, request.configuration
    if request.inputs.arrays:
        return
    if request.effect.performs != "train" or not set(_STATISTICS) & operation.quantities.keys() or operation.options:
        return
    for axes in kept_otherwise(configuration.shape, configuration.feature_axes):
        other = replace(configuration, feature_axes=axes)
        state = {
            name: np.full(other.features, operation.initial[operation.begins_as.get(name, name)])
            for name in operation.state(other)
        }
        changed = compute(replace(request, configuration=other, trained=0), state, {})
        named = " and ".join(map(str, axes))
        words = f"axis {named} kept" if len(axes) == 1 else f"axes {named} kept"
        gives = tuple(
            _laid_out(operation, other, request, name, changed[name].value) for name in _STATISTICS if name in changed
        )
        yield Instead(id="axis", words=f"{words}: each statistic over {_count(other)} values", gives=gives)


def _count(configuration: Configuration) -> int:
    return math.prod(configuration.shape[axis] for axis in configuration.reduction_axes)


def _by_another_operation(
    subject: Subject, request: Request, beginning: Beginning, right: Mapping[str, Expected]
) -> Iterator[Instead]:
    """Yield the output of what the operation is taken for."""
    if subject.case.op not in _TAKEN_FOR:
        return
    name, words = _TAKEN_FOR[subject.case.op]
    operation = OPERATIONS[name]
    configuration = replace(request.configuration, op=name, scale=False, center=False)
    state = {
        one: beginning.state.get(one, np.full(configuration.features, operation.initial[one]))
        for one in operation.state(configuration)
    }
    other = replace(request, configuration=configuration, dialect=operation.dialect)
    changed = {"output": compute(other, state, {})["output"]}
    gives = _differing(operation, configuration, other, changed, right)
    if gives:
        yield Instead(id="operation", words=words, gives=gives)

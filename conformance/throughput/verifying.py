"""Judging what a timed call gave: on a few of its features, whose numbers follow from nothing but themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.case import Case
from conformance.inputs import StepInputs, inputs_of
from conformance.outcome import Produced
from conformance.plan import Cell
from conformance.protocol import Declared
from conformance.reference import References
from conformance.step_judge import StepJudge, Walk
from conformance.verdict import Verdict, worst

Array = np.ndarray[Any, np.dtype[Any]]

#: Judged features: the first, the last and two between, where a mistake of blocking would show.
_JUDGED = 4
#: The state of a timed call is its caller's: of many calls in a row none has its state judged.
_CALLER = Declared(field="state", value="caller", source="observed", where="a timed call")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How right the timed call was."""

    verdict: Verdict
    #: The largest score of its quantities; None where nothing was measured.
    score: float | None
    #: Quantities that it did not give, or gave in another form, with what is wrong.
    missing: tuple[str, ...]


def features_judged(count: int) -> list[int]:
    """Return the features on which a call with so many is judged."""
    return sorted({round(position * (count - 1) / (_JUDGED - 1)) for position in range(_JUDGED)})


def accuracy(
    cell: Cell, name: str, x: Array, upstream: Array, given: Mapping[str, Array], features: Sequence[int]
) -> Accuracy:
    """Return how right the quantities `given` are, of those features of the input `x`.

    `name` is the pass: without gradients, none are asked for.
    """
    narrow = narrowed(cell.case, len(features))
    axis = cell.case.configuration.feature_axes[0]
    (step,) = inputs_of(narrow).steps
    inputs = StepInputs(
        step=step.step,
        input=np.take(x, features, axis),
        upstream=np.take(upstream, features, axis) if name == "train" else None,
    )
    implementation = replace(cell.implementation, profile=(*cell.implementation.profile, _CALLER))
    narrow_cell = replace(cell, case=narrow, implementation=implementation)
    walk = Walk(state=dict(inputs_of(narrow).initial))
    outcome = Produced(quantities=given, state={}, seconds=0.0, compilations=1)
    judged = StepJudge(narrow_cell, 1, inputs, walk, References()).judge(outcome).quantities
    scores = [each.score for each in judged if each.score is not None]
    formless = tuple(f"{each.quantity} ({each.reason})" for each in judged if each.score is None and each.reason)
    return Accuracy(
        verdict=worst(each.verdict for each in judged), score=max(scores, default=None), missing=formless
    )


def narrowed(case: Case, count: int) -> Case:
    """Return the case with so many features and nothing else changed."""
    (axis,) = case.configuration.feature_axes
    shape = [count if each == axis else size for each, size in enumerate(case.shape)]
    return Case.model_validate({**case.model_dump(exclude_none=True), "shape": shape})

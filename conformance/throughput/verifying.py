"""Judging the results of a timed call on a few of its features: each feature depends on its own values alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.cause import text_of
from conformance.judging.step import StepJudge
from conformance.judging.walk import Walk
from conformance.outcome import Produced
from conformance.planning.plan import Cell
from conformance.reference.expected import References
from conformance.reference.inputs import StepInputs, inputs_of
from conformance.reference.step_state import StepState
from conformance.spec.case import Case, Infer, Train
from conformance.spec.causes import catalogue
from conformance.verdict import Verdict, worst

Array = np.ndarray[Any, np.dtype[Any]]

#: Judged features: the first, the last and two between, where a mistake of blocking would show.
_JUDGED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How right the timed call was."""

    verdict: Verdict
    #: The largest score of its quantities; None where nothing was measured.
    score: float | None
    #: Quantities that it did not give, or gave in another form, with what is wrong.
    missing: tuple[str, ...]


def features_judged(count: int) -> list[int]:
    """Return which features are judged of a call with `count` of them."""
    return sorted({round(position * (count - 1) / (_JUDGED - 1)) for position in range(_JUDGED)})


def accuracy(
    cell: Cell,
    name: str,
    arrays: tuple[Array, Array | None],
    settled: Mapping[str, Any],
    features: Sequence[int],
    references: dict[int, References],
) -> Accuracy:
    """Return how right one call of the pass `name` was, of those features of its input and upstream gradient.

    `settled` is what the worker says of it: whose turn it was among the inputs, which are `arrays` rolled by so many places, the
    number of calls before it, the state before and after, and what it gave. Gradients are asked of the pass that has them.
    `references` are kept by turn: what they keep is of one input.
    """
    turn = settled["turn"]
    x, upstream = (None if array is None else np.roll(array, turn, 0) for array in arrays)
    assert x is not None
    narrow = narrowed(cell.case, len(features))
    axis = cell.case.configuration.feature_axes[0]
    (step,) = inputs_of(narrow).steps
    inputs = StepInputs(
        step=step.step,
        input=np.take(x, features, axis),
        upstream=None if upstream is None or name != "train" else np.take(upstream, features, axis),
    )
    # Inferences begin from one state, training each from its own, whose numbers nobody asks for again.
    kept = references.setdefault(turn, References()) if isinstance(step.step, Infer) else References()
    walk = Walk(
        state={name: settled["before"].get(name, value) for name, value in inputs_of(narrow).initial.items()},
        steps=StepState(trained=settled["trained"] if isinstance(step.step, Train) else 0),
    )
    outcome = Produced(quantities=settled["quantities"], state=settled["after"], seconds=0.0, compilations=1)
    judged = StepJudge(replace(cell, case=narrow), 1, inputs, walk, kept).judge(outcome).quantities
    scores = [quantity.score for quantity in judged if quantity.score is not None]
    formless = tuple(
        f"{quantity.quantity} ({text_of(quantity.causes, catalogue())})"
        for quantity in judged
        if quantity.score is None and quantity.causes
    )
    verdict = worst(quantity.verdict for quantity in judged)
    return Accuracy(verdict=verdict, score=max(scores, default=None), missing=formless)


def narrowed(case: Case, count: int) -> Case:
    """Return the case with `count` features and nothing else changed."""
    (axis,) = case.configuration.feature_axes
    shape = [count if index == axis else size for index, size in enumerate(case.shape)]
    return Case.model_validate({**case.model_dump(exclude_none=True), "shape": shape})

"""Judgements of outcomes that a layer in extended precision makes, right or wrong in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.judging.judge import judge
from conformance.judging.judgement import Judged, Judgement
from conformance.outcome import Outcome, Produced
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from tests.cells import cell
from tests.exact_layer import Array, ExactLayer, outcomes

UNFREEZE = {"step": "unfreeze"}


def judged(made: Case, given: Sequence[Outcome] | None = None, mode: str = "eager", **offered: Any) -> Judgement:
    return judge(cell(made, mode, **offered), outcomes(ExactLayer(case=made)) if given is None else given, References())


def found(judgement: Judgement, step: int, quantity: str) -> Judged:
    (each,) = (each for each in judgement.steps[step].quantities if each.quantity == quantity)
    return each


def next_up(array: Array) -> Array:
    """The first value moved to the following number of its dtype."""
    result = np.array(array)
    result.flat[0] = np.nextafter(result.flat[0], result.dtype.type(np.inf))
    return result


def input_of(made: Case, step: int) -> Array:
    array = inputs_of(made).steps[step].input
    assert array is not None
    return array


def upstream_of(made: Case, step: int) -> Array:
    array = inputs_of(made).steps[step].upstream
    assert array is not None
    return array


def without_state(given: Sequence[Produced]) -> list[Produced]:
    return [replace(each, state={}) for each in given]

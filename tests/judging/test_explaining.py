"""What explains a step beside other things that are wrong with it, and what explains nothing beside another change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.judging import feature_chunks
from conformance.judging.judge import judge
from conformance.judging.judgement import Judgement
from conformance.outcome import Refused
from conformance.reference.expected import References
from conformance.verdict import Verdict
from tests.cells import INFER, TRAIN, case, cell, declared
from tests.exact_layer import ExactLayer, altered, outcomes
from tests.told import diagnosed

LATER = {**TRAIN, "input": {"kind": "normal", "seed": 21, "mean": -1.0}}
LAST = {**TRAIN, "input": {"kind": "normal", "seed": 22, "mean": 0.5}}


def judged(made: Any, given: list[Any], *profile: Any) -> Judgement:
    return judge(cell(made, profile=profile), given, References())


def test_an_alternative_that_the_cell_drops_accuses_no_documentation() -> None:
    """In the first step a first batch that replaces the moving values is also a decay of 0; in the later ones it is not."""
    made = case(TRAIN, LATER, LAST)
    given = outcomes(ExactLayer(case=made, decay=0.0))
    text = diagnosed(judged(made, given, declared("update", "exponential")))
    assert text == "moving values replaced by the batch's"


@pytest.mark.parametrize("decay", [0.985, 0.9885])
def test_what_explains_only_coarse_numbers_is_no_second_cause(decay: float) -> None:
    """The numbers have all digits of float32, and so were not rounded to a half precision, whatever else was done."""
    made = case(TRAIN, decay=0.99)
    assert "rounded to" not in diagnosed(judged(made, outcomes(ExactLayer(case=made, decay=decay))))


def test_what_differs_from_an_earlier_step_is_told_beside_what_explains_the_values() -> None:
    infer = {"step": "infer", "input": {"kind": "normal", "seed": 13}}
    made = case(infer, infer)
    given = altered(
        outcomes(ExactLayer(case=made, epsilon=0.0)),
        2,
        "output",
        lambda value: np.nextafter(value, 9, dtype=value.dtype),
    )
    text = diagnosed(judged(made, given))
    assert "differs from step 1" in text
    assert "epsilon dropped" in text


class OfMoving(ExactLayer):
    """Normalizes in training with the moving values, just updated, and differentiates through them."""

    def train(self, x: Any, upstream: Any) -> dict[str, Any]:
        results = super().train(x, upstream)
        x, g = self._work(x), self._work(upstream)
        mean, root = self._spread("moving_mean", 0.0), self._root(self._spread("moving_variance", 1.0))
        scaled, weight = g * self._spread("gamma", 1.0) / root, 1 - self._number(self.decay or self.case.decay)
        of_variance = -(scaled * (x - mean)).sum(0) / (root * root) * (x - x.mean(0))
        normalized = (x - mean) / root
        g_input = scaled + weight / x.shape[0] * (of_variance - scaled.sum(0))
        return {**results, **self._results(self._output(normalized), normalized, g, g_input)}


def test_no_decay_explains_a_gradient_where_the_moving_values_are_right() -> None:
    """Another decay would show in the moving values first: a gradient that fits one does so by chance."""
    made = case(TRAIN, decay=0.5)
    of_another = outcomes(OfMoving(case=made, decay=0.999))[1].quantities["grad_input"]
    given = altered(outcomes(OfMoving(case=made)), 1, "grad_input", lambda _: of_another)
    result = judged(made, given, declared("normalizes_with", "moving_after"))
    assert [quantity.quantity for quantity in result.steps[1].quantities if quantity.causes] == ["grad_input"]
    assert "decay" not in diagnosed(result)


class Forgetting(ExactLayer):
    """Leaves the moving values of the last feature in the first train step, and those of the first in the second."""

    def _move(self, name: str, batch: Any) -> None:
        old, feature = self.state[name], {1: 8, 2: 0}[self.trained]
        super()._move(name, batch)
        self.state[name] = np.where(np.arange(9) == feature, old, self.state[name])


def test_parts_of_a_large_step_are_explained_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What explained one part of a step is not asked of another part of the next, which has another size."""
    for name, values in (("LARGE", 40), ("VALUES", 16), ("DIAGNOSED", 16)):
        monkeypatch.setattr(feature_chunks, name, values)
    made = case(TRAIN, LATER, shape=[8, 9])
    assert judged(made, list(outcomes(Forgetting(case=made)))).verdict is Verdict.DEVIATES


def refusal(made: Any, *types: str) -> Judgement:
    start, *_ = outcomes(ExactLayer(case=made))
    refused = Refused(types=(*types, "Exception"), message="no", trace="", state=start.state, seconds=0.0)
    return judged(made, [start, refused])


def test_a_refusal_far_from_any_overflow_is_not_excused_by_a_bound_that_says_nothing() -> None:
    near = {**TRAIN, "input": {"kind": "normal", "seed": 3, "mean": 1e4, "std": 1e-3}}
    assert refusal(case(near, epsilon=0.0), "RuntimeError").verdict is Verdict.REFUSED


def test_a_refusal_of_float16_is_excused_where_its_own_range_is_left() -> None:
    wide = {**TRAIN, "input": {"kind": "normal", "seed": 3, "std": 200.0}}
    made = case(wide, dtype="float16", parameter_dtype="float32")
    assert refusal(made, "OverflowError").verdict is Verdict.OUTSIDE_DOMAIN
    narrow = case(INFER, dtype="float16", parameter_dtype="float32")
    assert refusal(narrow, "OverflowError").verdict is Verdict.REFUSED

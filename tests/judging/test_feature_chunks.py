"""A large step is judged in parts: what is said of it does not depend on how many features a part has."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance.judging import feature_chunks
from conformance.judging.judge import judge
from conformance.judging.judgement import Judged, Judgement
from conformance.outcome import Produced
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from conformance.verdict import Verdict
from tests.cells import INFER, TRAIN, UPSTREAM, case, cell, declared
from tests.exact_layer import Array, ExactLayer, altered, outcomes

#: 21 features, so that parts of 7 leave nothing over and parts of 4 do.
FEATURES = 21
STEPS: tuple[dict[str, Any], ...] = (TRAIN, {**INFER, "upstream": UPSTREAM})
LAYOUTS: dict[str, dict[str, Any]] = {
    "rows": {"shape": [16, FEATURES], "feature_axes": [1]},
    "two feature axes": {"shape": [3, 4, 7, 5], "feature_axes": [0, 2]},
    "float64": {"shape": [16, FEATURES], "feature_axes": [1], "dtype": "float64"},
    "half": {"shape": [16, FEATURES], "feature_axes": [1], "dtype": "float16"},
    "features first": {"shape": [4, FEATURES, 2, 3], "feature_axes": [1]},
    "features before rows": {"shape": [FEATURES, 12], "feature_axes": [0]},
    # More rows than NumPy's iterators buffer.
    "long": {"shape": [9000, FEATURES], "feature_axes": [1]},
}
EVERY = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def in_parts(monkeypatch: pytest.MonkeyPatch, made: Case, features: int) -> None:
    """Have every step judged in parts of that many features."""
    monkeypatch.setattr(feature_chunks, "LARGE", 0)
    monkeypatch.setattr(
        feature_chunks, "VALUES", features * int(np.prod(made.shape)) // made.configuration.feature_count
    )


def judged(made: Case, given: list[Produced], **offered: Any) -> Judgement:
    return judge(cell(made, **offered), given, References())


def at(judgement: Judgement, step: int, quantity: str) -> Judged:
    (each,) = (each for each in judgement.steps[step].quantities if each.quantity == quantity)
    return each


def quantities(judgement: Judgement) -> list[Judged]:
    return [each for step in judgement.steps for each in step.quantities]


def put(value: float, position: int) -> Callable[[Array], Array]:
    def change(array: Array) -> Array:
        result = np.array(array)
        result.flat[position] = value
        return result

    return change


def sizes_agree(monkeypatch: pytest.MonkeyPatch, made: Case, given: list[Produced]) -> Judgement:
    """Return the judgement that parts of any size come to; what is documented is needed for one quantity alone."""
    profile = (declared("moving_correction", 1),)
    found = []
    for features in (1, 4, 7, FEATURES):
        in_parts(monkeypatch, made, features)
        found.append(judged(made, given, profile=profile))
    # As text: a NaN is not itself.
    assert [repr(each) for each in found[1:]] == [repr(found[0])] * 3
    return found[0]


@EVERY
def test_the_judgement_does_not_depend_on_the_size_of_the_parts(
    monkeypatch: pytest.MonkeyPatch, layout: dict[str, Any]
) -> None:
    made = case(*STEPS, **layout)
    judgement = sizes_agree(monkeypatch, made, outcomes(ExactLayer(case=made, moving_correction=1)))
    # Of many values Bessel's correction is within the bound.
    assert judgement.verdict is (Verdict.CONFORMS if layout["shape"][0] == 9000 else Verdict.DIALECT)
    assert any(each.score for each in quantities(judgement))


@pytest.mark.parametrize("layout", [LAYOUTS["rows"], LAYOUTS["two feature axes"]], ids=["rows", "two feature axes"])
@pytest.mark.parametrize(
    ("step", "quantity", "change"),
    [
        (1, "output", put(9.0, 100)),
        (1, "grad_input", put(np.nan, 101)),
        (1, "grad_gamma", put(0.0, 20)),
        (2, "output", lambda array: -array),
    ],
    ids=["one element", "one NaN", "one gradient", "all negated"],
)
def test_nor_does_that_of_what_deviates(
    monkeypatch: pytest.MonkeyPatch, layout: dict[str, Any], step: int, quantity: str, change: Any
) -> None:
    made = case(*STEPS, **layout)
    given = altered(outcomes(ExactLayer(case=made, moving_correction=1)), step, quantity, change)
    assert at(sizes_agree(monkeypatch, made, given), step, quantity).verdict is Verdict.DEVIATES


@EVERY
def test_a_step_judged_in_parts_is_judged_as_the_whole_is(
    monkeypatch: pytest.MonkeyPatch, layout: dict[str, Any]
) -> None:
    """Sums in another order move a score by their rounding, and the rest not at all."""
    made = case(*STEPS, **layout)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", put(9.0, 100))
    whole = judged(made, given)
    in_parts(monkeypatch, made, 4)
    parts = judged(made, given)
    assert at(parts, 1, "output").worst is not None
    for one, other in zip(quantities(whole), quantities(parts), strict=True):
        assert (one.quantity, one.verdict) == (other.quantity, other.verdict)
        assert (other.score or 0.0) == pytest.approx(one.score or 0.0, rel=1e-6, abs=1e-6)
        if one.worst is not None and other.worst is not None and one.verdict is Verdict.DEVIATES:
            assert (one.worst.position, one.worst.observed) == (other.worst.position, other.worst.observed)


def test_centering_is_judged_in_parts_as_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    made = case(*STEPS, op="centering", shape=[16, FEATURES])
    inputs = inputs_of(made)
    state = dict(inputs.initial)
    start = Produced(quantities={}, state=state, seconds=0.0)
    x, g = inputs.steps[0].input, inputs.steps[0].upstream
    assert x is not None
    assert g is not None
    mean = x.mean(axis=0)
    trained = Produced(
        quantities={"output": x - mean, "grad_input": g - g.mean(axis=0)},
        state={"moving_mean": (made.decay * state["moving_mean"] + (1 - made.decay) * mean).astype(np.float32)},
        seconds=0.0,
    )
    whole = judged(made, [start, trained])
    in_parts(monkeypatch, made, 4)
    parts = judged(made, [start, trained])
    assert [each.verdict for each in quantities(whole)] == [each.verdict for each in quantities(parts)]
    assert at(parts, 1, "output").score == pytest.approx(at(whole, 1, "output").score, rel=1e-6)


@pytest.mark.parametrize(
    ("large", "fits"), [(feature_chunks.LARGE, True), (sys.maxsize, False)], ids=["parts", "whole"]
)
def test_a_large_step_is_judged_within_eight_times_its_input(
    monkeypatch: pytest.MonkeyPatch, large: int, fits: bool
) -> None:
    """The second shows that the first could fail: judged whole, the same step takes more."""
    monkeypatch.setattr(feature_chunks, "LARGE", large)
    made = case(TRAIN, shape=[32768, 64])
    given = outcomes(ExactLayer(case=made, work="float64"))
    inputs = inputs_of(made).steps[0].input
    assert inputs is not None
    assert inputs.size > feature_chunks.LARGE or not fits
    tracemalloc.start()
    judgement = judged(made, given)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert judgement.verdict is Verdict.CONFORMS
    assert (taken <= 8 * inputs.nbytes) is fits

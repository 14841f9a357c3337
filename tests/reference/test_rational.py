"""Judging float64 where the platform's widest float type is float64 itself: forced here on one that has a wider."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from conformance import precision
from conformance.judging.judge import judge
from conformance.judging.judgement import Judgement
from conformance.operations import OPERATIONS
from conformance.precision import Extended, extended
from conformance.reference import crosscheck, inputs, rational
from conformance.reference.comparison import disagreements
from conformance.reference.computed import Request
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of, states_of
from conformance.reference.rational import split
from conformance.spec.case import Case
from conformance.verdict import Verdict
from tests import shipped as shipped_spec
from tests.cells import INFER, SGD, TRAIN, UPSTREAM, case, cell
from tests.exact_layer import ExactLayer, altered, outcomes
from tests.told import diagnosed

WIDE = pytest.mark.skipif(not extended().sufficient, reason="compares with a float type wider than float64")
STEPS = (TRAIN, {**INFER, "upstream": UPSTREAM}, TRAIN, SGD, TRAIN)


@pytest.fixture(name="narrow")
def _narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Force 53 bits; what was worked out with them is kept for nobody else, since cases are shared between tests."""

    def force() -> None:
        for module in (precision, crosscheck):
            monkeypatch.setattr(module, "extended", lambda: Extended(bits=53))

    inputs.forget()
    yield force
    inputs.forget()


def shipped() -> list[Any]:
    """Every shipped case of float64 with few enough elements for fractions."""
    cases = [located.case for located in shipped_spec.spec().cases if crosscheck.small_enough(located.case)]
    return [
        pytest.param(made, id=made.id)
        for made in cases
        if "float64" in (made.dtype, made.configuration.parameter_dtype)
    ]


@pytest.mark.parametrize("made", shipped())
def test_the_references_agree_on_a_shipped_case_of_float64(narrow: Any, made: Case) -> None:
    narrow()
    comparisons = list(crosscheck.compare(made))
    assert {comparison.arithmetic for comparison in comparisons} <= {"two float64"}
    assert disagreements(comparisons) == []


def test_float64_arithmetic_is_still_held_to_the_bound_of_float32(narrow: Any) -> None:
    narrow()
    pairs = {(each.arithmetic, each.unit) for each in crosscheck.compare(case(*STEPS, dtype="float32"))}
    assert pairs == {("float64", "float32")}


def test_the_statistics_are_those_of_the_positions_that_count(narrow: Any) -> None:
    """Of 1, 2 and 9, the last of which does not count: mean 1.5 and variance 0.25, not 4 and 38/3."""
    narrow()
    literal = {"kind": "literal", "values": [[1.0], [2.0], [9.0]]}
    step = {**TRAIN, "input": literal, "mask": {"kind": "literal", "values": [1.0, 1.0, 0.0]}}
    made = case(step, op="masked_batch_norm", dtype="float64", shape=[3, 1])
    (inputs,), (state,) = inputs_of(made).steps, states_of(made)
    request = Request(
        case=made,
        configuration=made.configuration,
        number=1,
        inputs=inputs,
        dialect=OPERATIONS[made.op].dialect,
        worked=precision.precision("float64"),
        frozen=False,
        trained=0,
    )
    expected = References().expected(request, state, {})
    assert (expected["batch_mean"].value.tolist(), expected["batch_variance"].value.tolist()) == ([1.5], [0.25])


def judged(given: Any, *steps: dict[str, Any], **fields: Any) -> Judgement:
    made = case(*(steps or STEPS), dtype="float64", **fields)
    return judge(cell(made), given or outcomes(ExactLayer(case=made)), References())


def scores(judgement: Judgement) -> list[float]:
    return [each.score for step in judgement.steps for each in step.quantities if each.score is not None]


@pytest.mark.parametrize("number", [Fraction(1, 3), Fraction(2) ** 60 + Fraction(1, 7), Fraction(-5, 2)])
def test_a_number_is_split_into_two_float64(number: Fraction) -> None:
    near, rest = split(number)
    assert abs(Fraction(near) + Fraction(rest) - number) <= abs(number) / 2**105
    assert near == float(number)


@WIDE
@pytest.mark.parametrize("mean", [2.0, 4096.0])
def test_scores_are_those_of_extended_precision(narrow: Any, mean: float) -> None:
    steps = [
        {**each, "input": {"kind": "normal", "seed": 11, "mean": mean}} if "input" in each else each for each in STEPS
    ]
    given = outcomes(ExactLayer(case=case(*steps, dtype="float64"), work="float64"))
    wide = scores(judged(given, *steps))
    narrow()
    assert scores(judged(given, *steps)) == pytest.approx(wide, rel=0, abs=1e-3)
    assert max(wide) > 0.01


def test_without_what_the_nearest_float64_lacks_the_scores_are_off(
    narrow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = case(*STEPS, dtype="float64")
    given = outcomes(ExactLayer(case=made, work="float64"))
    narrow()
    right = scores(judged(given))
    monkeypatch.setattr(rational, "split", lambda number: (float(number), 0.0))
    assert max(abs(one - other) for one, other in zip(right, scores(judged(given)), strict=True)) > 1e-3


@pytest.mark.parametrize(
    "fields", [{}, {"shape": [1, 3]}, {"scale": False}, {"parameter_dtype": "float32"}, {"decay": 0.0}]
)
def test_a_right_layer_conforms(narrow: Any, fields: dict[str, Any]) -> None:
    narrow()
    assert judged(None, **fields).verdict in (Verdict.CONFORMS, Verdict.EXACT)


@pytest.mark.parametrize("quantity", ["output", "grad_input", "grad_gamma"])
def test_an_error_of_float32_s_size_deviates(narrow: Any, quantity: str) -> None:
    narrow()
    given = altered(
        outcomes(ExactLayer(case=case(*STEPS, dtype="float64"))), 1, quantity, lambda each: each * (1 + 1e-9)
    )
    assert judged(given).verdict is Verdict.DEVIATES


def test_a_change_of_the_formula_is_still_named(narrow: Any) -> None:
    narrow()
    made = case(TRAIN, dtype="float64")
    assert diagnosed(judged(outcomes(ExactLayer(case=made, decay=0.1)), TRAIN)) == "decay inverted"


def test_a_step_of_too_many_elements_is_not_decidable(narrow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow()
    monkeypatch.setattr(rational, "ELEMENTS", 10)
    assert judged(None, TRAIN).verdict is Verdict.NOT_DECIDABLE


def test_a_feature_that_is_not_finite_is_judged_by_its_pattern(narrow: Any) -> None:
    values = [[1.0, float("nan"), 3.0], [2.0, 1.0, 5.0]]
    step = {"step": "train", "input": {"kind": "literal", "values": values}, "upstream": UPSTREAM}
    given = outcomes(ExactLayer(case=case(step, shape=[2, 3], dtype="float64")))
    narrow()
    assert judged(given, step, shape=[2, 3]).verdict is Verdict.CONFORMS
    swallowed = altered(given, 1, "output", np.nan_to_num)
    assert diagnosed(judged(swallowed, step, shape=[2, 3])) == "2 values are finite that must be NaN or infinite"


#: The squares of the second feature's values are beyond float64, and so beyond two of them.
VAST = {"step": "train", "input": {"kind": "normal", "seed": 11, "feature_octaves": 520}, "upstream": UPSTREAM}


def vast(name: str, change: Any) -> Verdict:
    """The verdict on a quantity of a right layer after a change of it."""
    given = altered(outcomes(ExactLayer(case=case(VAST, shape=[8, 2], dtype="float64"))), 1, name, change)
    (_, step) = judged(given, VAST, shape=[8, 2]).steps
    return next(each.verdict for each in step.quantities if each.quantity == name)


@pytest.mark.parametrize("name", ["output", "grad_input", "grad_gamma"])
@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda each: each, Verdict.NOT_DECIDABLE),
        (lambda each: each * np.array([1.0, np.inf]), Verdict.OUTSIDE_DOMAIN),
        (lambda each: each * np.array([1.001, 1.0]), Verdict.DEVIATES),
        (lambda each: each * np.array([1.001, np.inf]), Verdict.DEVIATES),
        (lambda each: each * np.array([np.nan, 1.0]), Verdict.DEVIATES),
    ],
    ids=["right", "loud", "other-feature", "other-feature-beside-loud", "other-feature-lost"],
)
def test_squares_beyond_float64_decide_nothing_of_their_feature_alone(
    narrow: Any, name: str, change: Any, verdict: Verdict
) -> None:
    narrow()
    assert vast(name, change) is verdict


def test_centering_has_exact_values(narrow: Any) -> None:
    narrow()
    made = case(TRAIN, op="centering", dtype="float64", initial={})
    (inputs,), (state,) = inputs_of(made).steps, states_of(made)
    request = Request(
        case=made,
        configuration=made.configuration,
        number=1,
        inputs=inputs,
        dialect=OPERATIONS["centering"].dialect,
        worked=precision.precision("float64"),
        frozen=False,
        trained=0,
    )
    output = References().expected(request, state, {})["output"]
    assert inputs.input is not None
    assert output.rest is not None
    column = [Fraction(value) for value in inputs.input[:, 1].tolist()]
    held = [Fraction(a) + Fraction(b) for a, b in zip(output.value[:, 1], output.rest[:, 1], strict=True)]
    center = sum(column, Fraction()) / len(column)
    right = [value - center for value in column]
    assert max(float(abs(a - b) / abs(b)) for a, b in zip(held, right, strict=True)) < 2.0**-100


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_narrower_dtypes_need_no_fractions(narrow: Any, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    narrow()
    monkeypatch.setattr(rational, "ELEMENTS", 0)
    made = case(TRAIN, dtype=dtype)
    assert judge(cell(made), outcomes(ExactLayer(case=made)), References()).verdict is Verdict.CONFORMS

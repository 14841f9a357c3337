"""The two references agree, over the spec and over every dialect."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.errors import SuiteError
from conformance.operations import OPERATIONS, centering, moving
from conformance.operations.batch_norm import reference
from conformance.precision import precision
from conformance.reference import crosscheck
from conformance.reference.comparison import ALLOWED, Comparison, Disagreement, Summary, disagreements
from conformance.reference.crosscheck import compare
from conformance.search.cases import cases
from conformance.spec.case import Case
from tests import shipped as shipped_spec
from tests.cells import FREEZE, INFER, RELOAD, SGD, TRAIN, case
from tests.drawing import drawn, fails
from tests.situations import situation

UNFREEZE: dict[str, Any] = {"step": "unfreeze"}
EVERY_STEP: list[dict[str, Any]] = [TRAIN, SGD, INFER, FREEZE, TRAIN, SGD, UNFREEZE, RELOAD, TRAIN]
CENTERED = {"op": "centering"}


def shipped() -> list[Any]:
    """Every shipped case with few enough elements for fractions."""
    cases = [entry.case for entry in shipped_spec.spec().cases if crosscheck.small_enough(entry.case)]
    return [pytest.param(small, id=small.id) for small in cases]


@pytest.mark.parametrize("made", shipped())
def test_the_references_agree_on_a_shipped_case(made: Case) -> None:
    """Every quantity of every step, in every float type that judges."""
    assert crosscheck.crosscheck(made) == []


def test_most_of_the_spec_is_small_enough() -> None:
    """What is left out for its size is the exception."""
    assert len(shipped()) > 0.9 * len(shipped_spec.spec().cases)


def test_every_kind_of_step_is_compared() -> None:
    """The state of each step, and what its pass gives."""
    found: dict[int, set[str]] = {}
    for comparison in compare(case(*EVERY_STEP, dtype="float64")):
        assert comparison.agrees, comparison
        found.setdefault(comparison.step, set()).add(comparison.quantity)
    state = {"gamma", "beta", "moving_mean", "moving_variance"}
    learned = {"output", "grad_input", "grad_gamma", "grad_beta", "batch_mean", "batch_variance"}
    passes = {1: learned, 3: {"output"}, 5: learned, 9: learned}
    assert found == {number: state | passes.get(number, set()) for number in range(1, 10)}


def test_a_frozen_centering_is_compared_with_inference() -> None:
    """The dialect of the operation says that it infers."""
    found = list(compare(case(FREEZE, TRAIN, **CENTERED)))
    assert all(comparison.agrees for comparison in found)
    assert {comparison.quantity for comparison in found if comparison.step == 2} == {
        "output",
        "grad_input",
        "moving_mean",
    }


FIELDS: dict[str, Any] = {
    "normalizing_correction": st.sampled_from((0, 1)),
    "moving_correction": st.sampled_from((0, 1)),
    "update": st.sampled_from(("exponential", "zero_debiased", "first_batch", "cumulative", "merge", "none")),
    "normalizes_with": st.sampled_from(("batch", "batch", "moving_before", "moving_after")),
    "single_value": st.sampled_from(("zero_variance", "identity", "error")),
}
#: The operations that are batch normalization, or of its moving values, in any dialect.
IN_DIALECTS = ("batch_norm", "centering")


@drawn(4)
@given(cases(tuple(OPERATIONS)))
def test_the_references_agree_on_a_drawn_case_of_any_operation(made: Case) -> None:
    if crosscheck.small_enough(made):
        assert crosscheck.crosscheck(made) == []


DIALECTS = (cases(IN_DIALECTS), st.fixed_dictionaries(FIELDS))


def agrees(made: Case, fields: dict[str, Any]) -> None:
    dialect = replace(OPERATIONS[made.op].dialect, **fields)
    if crosscheck.small_enough(made):
        assert [comparison for comparison in compare(made, dialect) if not comparison.agrees] == []


@drawn(4)
@given(*DIALECTS)
def test_the_references_agree_in_every_dialect(made: Case, fields: dict[str, Any]) -> None:
    agrees(made, fields)


def test_a_drawn_case_shows_a_fault_of_the_first_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decay weighs the new value where the average is an exponential one: the property above is red."""
    right = moving.moved
    monkeypatch.setattr(reference, "moved", lambda old, batch, weight: right(batch, old, weight))
    assert fails(agrees, *DIALECTS)


@pytest.mark.parametrize(
    ("layout", "axes"), [([3, 4, 2], [0]), ([3, 4, 2], [1]), ([3, 4, 2], [0, 2]), ([3, 4, 2], [1, 2]), ([6], [0])]
)
def test_the_references_agree_on_what_a_feature_is(layout: list[int], axes: list[int]) -> None:
    """Each has its own way of taking an array apart."""
    made = case(shape=layout, feature_axes=axes)
    assert crosscheck.crosscheck(made) == []


def test_both_float_types_are_held_to_a_bound() -> None:
    """Extended precision to float64's, and what judges float32 to float32's."""
    pairs = {(comparison.arithmetic, comparison.unit) for comparison in compare(case(dtype="float32"))}
    assert pairs == {("longdouble", "float64"), ("float64", "float32")}
    assert {comparison.arithmetic for comparison in compare(case(dtype="float64"))} == {"longdouble"}


def test_the_unit_is_the_bound_of_two_passes_with_pairwise_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the mean of eight values 5u·mean|x|: an error of 2^-60·mean|x|, put in by hand, is 2^-7/5 of it."""
    right = reference.batch_statistics

    def statistics(x: Any) -> Any:
        return replace(right(x), mean=np.longdouble(4.5) * (1 + np.longdouble(2) ** -60) + np.zeros(1))

    monkeypatch.setattr(reference, "batch_statistics", statistics)
    one_to_eight = {**TRAIN, "input": {"kind": "ramp", "start": 1.0}}
    (found,) = [
        comparison
        for comparison in compare(case(one_to_eight, shape=[8, 1], dtype="float64"))
        if comparison.quantity == "batch_mean"
    ]
    assert found.ratio == pytest.approx(2.0**-7 / 5, rel=1e-9)


def test_the_centering_bound_grows_with_the_logarithm_of_the_count() -> None:
    """Sixty-four ones: sums of height 6, and two roundings more."""
    ones = situation(np.ones((64, 1)), op="centering")
    bound = centering.train(replace(ones, graded=True), precision("float64"))["batch_mean"].narrower["A"]
    assert bound == pytest.approx((6 + 2) * 2.0**-53, rel=1e-9)


def test_the_centering_bound_of_two_values_is_that_of_the_operation() -> None:
    """One addition is as high pairwise as sequentially."""
    given = situation([[1.0], [5.0]], [[1.0], [0.5]], op="centering")
    worked = precision("float64")
    for name, quantity in centering.train(replace(given, graded=True), worked).items():
        assert quantity.narrower["A"] == pytest.approx(quantity.bound, rel=1e-12), name


CONSTANT = {**TRAIN, "input": {"kind": "constant", "value": 2.0}}


def test_where_there_is_no_number_the_first_reference_has_none() -> None:
    """A constant feature without epsilon: 0/0 on both sides."""
    assert crosscheck.crosscheck(case(CONSTANT, epsilon=0.0)) == []


def test_an_error_of_more_bounds_than_a_float_can_say_is_infinite() -> None:
    """1e300 over the smallest normal number."""
    assert crosscheck._ratio(np.longdouble(1e300), 0.0, Fraction(0), np.longdouble(2.0**-1022)) == math.inf


def test_a_feature_that_is_not_finite_is_left_out_and_its_neighbours_are_not() -> None:
    """One NaN among eight values of three features leaves two features to compare, in the steps after it too."""
    spoiled = np.arange(24.0).reshape(8, 3)
    spoiled[4, 1] = math.nan
    literal = {**TRAIN, "input": {"kind": "literal", "values": spoiled.tolist()}}
    found = list(compare(case(literal, INFER, dtype="float64")))
    assert all(comparison.agrees for comparison in found)
    assert {(comparison.step, comparison.numbers) for comparison in found if comparison.quantity == "output"} == {
        (1, 16),
        (2, 16),
    }


def test_a_case_without_a_finite_feature_compares_nothing() -> None:
    """There is no exact number to compare with."""
    literal = {**TRAIN, "input": {"kind": "constant", "value": math.inf}}
    assert list(compare(case(literal))) == []


def test_a_number_without_a_finite_bound_is_left_out() -> None:
    """A bound that is infinite decides nothing."""
    first = crosscheck._Value(value=np.array([[1.0], [9.0]]), rest=None, bound=np.array([[1.0], [math.inf]]))
    assert crosscheck._ratios([Fraction(1), Fraction(1)], first) == {0: 0.0}


def test_a_case_with_too_many_elements_is_refused() -> None:
    """Silence would pass for agreement."""
    with pytest.raises(SuiteError, match=r"fake.case: more than 23 elements in a step"):
        crosscheck.crosscheck(case(), limit=23)
    assert crosscheck.crosscheck(case(), limit=24) == []


def test_the_summary_counts_what_is_left_out() -> None:
    """A case too large is neither compared nor forgotten."""
    found = crosscheck.check([case(), case(shape=[2000, 3])])
    assert (found.cases, found.left_out) == (1, 1)
    assert "references: 1 cases (1 left out, over 4,096 elements in a step), 10 quantities, worst " in str(found)


def test_the_summary_names_the_worst_of_each_float_type() -> None:
    """With case, step, quantity and feature."""

    def made(arithmetic: str, unit: str, quantity: str, ratio: float) -> Comparison:
        return Comparison(
            case="a.b",
            step=2,
            quantity=quantity,
            arithmetic=arithmetic,
            unit=unit,
            numbers=3,
            ratio=ratio,
            feature=1,
        )

    found = Summary(
        cases=1,
        left_out=0,
        comparisons=(
            made("longdouble", "float64", "output", 1e-5),
            made("longdouble", "float64", "grad_beta", 2e-4),
            made("float64", "float32", "grad_beta", 3e-9),
        ),
    )
    assert str(found) == (
        "references: 1 cases, 2 quantities, worst 0.0002 of the float64 bound in longdouble (a.b step 2 grad_beta,"
        " feature 1); 3e-09 of the float32 bound in float64 (a.b step 2 grad_beta, feature 1);"
        f" np.longdouble has {np.finfo(np.longdouble).nmant + 1} bits of mantissa"
    )


@pytest.mark.parametrize(("ratio", "agrees"), [(0.0, True), (ALLOWED, True), (1.01e-3, False), (math.nan, False)])
def test_a_thousandth_of_the_bound_is_allowed(ratio: float, agrees: bool) -> None:
    """No more, and NaN is no agreement."""
    (one, *_) = compare(case())
    changed = replace(one, ratio=ratio)
    assert disagreements([changed]) == ([] if agrees else [Disagreement(changed)])

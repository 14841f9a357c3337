"""Observed numbers in units of the bound: what fits, what does not, and what decides nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cause import because
from conformance.operations.expected import Expected
from conformance.operations.score import Fit, fit, joined
from conformance.precision import working

INF, NAN = math.inf, math.nan


def expected(
    value: Any, bound: Any = 0.25, magnitude: Any = INF, in_domain: Any = True, two_pass: Any = None
) -> Expected:
    value = np.asarray(value, np.longdouble)
    return Expected(
        value=value,
        bound=np.broadcast_to(np.asarray(bound, float), value.shape),
        narrower={} if two_pass is None else {"D": np.broadcast_to(np.asarray(two_pass, float), value.shape)},
        magnitude=np.asarray(magnitude, float),
        in_domain=np.asarray(in_domain),
    )


def fitted(observed: Any, target: Expected, dtype: str = "float32") -> Fit:
    return fit(np.asarray(observed, dtype), target, working(dtype))


def test_the_score_is_the_largest_error_over_its_bound() -> None:
    found = fitted([1.125, 2.0], expected([1.0, 2.5], bound=[0.25, 1.0]))
    assert (found.score, found.within, found.exact) == (0.5, True, False)


def test_an_error_of_exactly_the_bound_is_within() -> None:
    found = fitted([1.25], expected([1.0]))
    assert (found.score, found.within) == (1.0, True)


def test_an_error_a_little_beyond_the_bound_is_not_within() -> None:
    """By the last bit of the score."""
    at_limit = fitted([1.25], expected([1.0]))
    assert at_limit.within
    assert not replace(at_limit, score=math.nextafter(1.0, 2.0)).within
    beyond = fitted([1.25 + 2.0**-23], expected([1.0], bound=0.25 - 2.0**-24))
    assert 1 < beyond.score < 1.000001
    assert not beyond.within


def test_one_element_beyond_its_bound_is_not_within() -> None:
    found = fitted([1.0, 2.375], expected([1.0, 2.0]))
    assert (found.score, found.within) == (1.5, False)


def test_the_score_of_the_two_pass_bound_stands_beside_it() -> None:
    assert fitted([1.125], expected([1.0], bound=0.25, two_pass=0.0625)).narrower == {"D": 2}


def test_equal_numbers_are_exact() -> None:
    found = fitted([1.0, -0.0], expected([1.0, 0.0]))
    assert (found.score, found.exact, found.decidable) == (0.0, True, True)


def test_the_worst_element_is_named() -> None:
    found = fitted([[1.0, 2.0], [3.0, 4.75]], expected([[1.0, 2.0], [3.0, 4.0]], bound=[[0.5, 0.5], [0.5, 0.25]]))
    assert found.worst is not None
    assert (found.worst.position, found.worst.expected, found.worst.observed, found.worst.allowed) == (3, 4, 4.75, 0.25)


def test_nothing_has_no_worst_element_and_is_exact() -> None:
    found = fitted(np.zeros((0, 2)), expected(np.zeros((0, 2))))
    assert (found.score, found.exact, found.decidable, found.worst) == (0.0, True, True, None)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("right", [NAN, INF, -INF])
def test_nan_and_infinity_are_one_class(bad: float, right: float) -> None:
    found = fitted([bad, 1.0], expected([right, 1.0], bound=[NAN, 0.25]))
    assert (found.score, found.exact, found.decidable) == (0.0, True, True)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_number_that_should_be_finite_and_is_not_fails(bad: float) -> None:
    found = fitted([bad, 1.0], expected([1.0, 1.0]))
    assert (found.score, found.within, found.pattern) == (INF, False, because("not-finite", count=1))


@pytest.mark.parametrize("right", [NAN, INF])
def test_a_number_that_should_not_be_finite_and_is_fails(right: float) -> None:
    found = fitted([0.0, 1.0], expected([right, 1.0]))
    assert (found.score, found.within, found.pattern) == (INF, False, because("finite", count=1))


def test_both_ways_of_the_pattern_are_told() -> None:
    found = fitted([NAN, 1.0], expected([1.0, NAN]))
    assert found.pattern == because("not-finite-and-finite", lost=1, found=1)


def test_a_zero_bound_allows_equality_alone() -> None:
    target = expected([1.0, 2.0], bound=0.0)
    assert fitted([1.0, 2.0], target).within
    assert fitted([1.0, np.nextafter(np.float32(2), np.float32(3))], target).score == INF


def test_nothing_over_nothing_is_zero() -> None:
    assert fitted([1.0], expected([1.0], bound=0.0)).score == 0.0


@pytest.mark.parametrize("bound", [INF, 8.0, NAN])
def test_a_bound_above_the_quantity_s_own_terms_decides_nothing(bound: float) -> None:
    found = fitted([3.0], expected([1.0], bound=bound, magnitude=4.0))
    assert (found.decidable, found.score, found.within) == (False, 0.0, True)


def test_an_undecidable_element_does_not_hide_a_failing_one() -> None:
    found = fitted([3.0, 3.0], expected([1.0, 1.0], bound=[INF, 0.25], magnitude=4.0))
    assert (found.decidable, found.score, found.within) == (False, 8.0, False)


def test_an_undecidable_element_that_is_not_finite_fails() -> None:
    assert not fitted([NAN], expected([1.0], bound=INF, magnitude=4.0)).within


def test_an_equal_number_needs_no_bound() -> None:
    found = fitted([1.0], expected([1.0], bound=INF, magnitude=4.0))
    assert (found.decidable, found.exact) == (True, True)


def test_elements_that_are_not_finite_in_features_outside_the_domain_are_outside_the_domain() -> None:
    value = [[1.0, 1.0], [1.0, 1.0]]
    target = expected(value, in_domain=[True, False])
    assert fitted([[1.0, NAN], [1.0, INF]], target).outside_domain
    assert not fitted([[9.0, NAN], [1.0, INF]], target).outside_domain
    assert not fitted([[INF, NAN], [1.0, INF]], target).outside_domain


def test_an_excused_infinity_does_not_hide_the_finite_fault_of_another_feature() -> None:
    target = expected([[1.0, 1.0], [1.0, 1.0]], in_domain=[True, False], two_pass=0.125)
    found = fitted([[1.0, INF], [3.0, NAN]], target)
    assert (found.score, found.pattern, found.outside_domain, found.narrower) == (8.0, None, False, {"D": 16.0})
    assert found.worst is not None
    assert (found.worst.position, found.worst.observed) == (2, 3.0)


def test_only_what_is_not_excused_is_counted_as_lost() -> None:
    target = expected([[1.0, 1.0], [1.0, 1.0]], in_domain=[True, False])
    assert fitted([[NAN, INF], [1.0, NAN]], target).pattern == because("not-finite", count=1)


def test_a_finite_element_beyond_its_bound_is_nowhere_outside_the_domain() -> None:
    target = expected([[1.0, 1.0], [1.0, 1.0]], in_domain=[True, False])
    assert not fitted([[1.0, NAN], [1.0, 9.0]], target).outside_domain


@pytest.mark.parametrize(("observed", "outside"), [(INF, True), (NAN, True), (65504.0, False)])
def test_a_value_too_large_for_its_dtype_is_outside_the_domain_as_infinity(observed: float, outside: bool) -> None:
    found = fitted([1.0, observed], expected([1.0, 1e5]), "float16")
    assert (found.within, found.outside_domain) == (False, outside)


def test_a_value_that_the_next_dtype_could_not_hold_either_way_may_be_either() -> None:
    """65510 is rounded down to the largest float16; a bound of 16 reaches what is rounded up."""
    target = expected([65510.0], bound=16.0)
    assert fitted([65504.0], target, "float16").within
    assert fitted([INF], target, "float16").outside_domain


def test_what_fits_is_not_outside_the_domain() -> None:
    found = fitted([1.0], expected([1.0], in_domain=[False]))
    assert (found.outside_domain, found.within) == (False, True)


def test_a_half_precision_result_may_be_rounded_once_more() -> None:
    target = expected([1.0 + 2.0**-12], bound=2.0**-40)
    assert fitted([1.0], target, "float16").within
    assert not fitted([1.0 + 2.0**-10], target, "float16").within


def test_where_the_very_bits_are_asked_for_half_precision_adds_nothing() -> None:
    target = expected([1.0], bound=0.0)
    assert fitted([1.0], target, "float16").within
    assert fitted([1.0 + 2.0**-10], target, "float16").score == INF


@pytest.mark.parametrize(("observed", "score"), [(1.125, 2.0), (NAN, INF)])
def test_narrower_classes_are_scored_where_they_are_given(observed: float, score: float) -> None:
    found = fitted([observed], expected([1.0], bound=0.25, two_pass=0.0625))
    assert found.narrower == {"D": score}


def test_errors_are_measured_beyond_float64() -> None:
    value = np.longdouble(1) + np.longdouble(2) ** -60
    found = fit(np.array([1.0]), expected([value], bound=2.0**-62), working("float64"))
    assert found.score == 4


def test_the_worst_of_equally_bad_elements_is_the_first_in_whatever_order_they_lie_in_memory() -> None:
    value = np.zeros((2, 3))
    observed = [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    by_rows = fitted(observed, expected(value))
    by_columns = fit(np.asfortranarray(observed, "float32"), expected(np.asfortranarray(value)), working("float32"))
    assert by_rows.worst is not None
    assert by_rows.worst.position == 1
    assert by_columns == by_rows


@pytest.mark.parametrize("other", [1.25, 4.0, INF])
@pytest.mark.parametrize("bad", [NAN, 5.0, 1.0])
def test_parts_joined_say_what_the_whole_says(bad: float, other: float) -> None:
    observed = np.array([[1.0, bad, other], [bad, 1.0, 1.125]])
    domain = np.array([True, False, True])
    whole = fitted(observed, expected(np.ones((2, 3)), in_domain=domain, two_pass=0.0625))
    parts = [
        fitted(observed[:, [column]], expected(np.ones((2, 1)), in_domain=domain[[column]], two_pass=0.0625))
        for column in range(3)
    ]
    places = [part.at(3 * (part.worst.position if part.worst else 0) + column) for column, part in enumerate(parts)]
    assert repr(joined(places)) == repr(whole)

"""What one element shows of a quantity, beside what all of it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.operations.element import farthest
from conformance.operations.expected import Expected
from conformance.operations.score import fit
from conformance.precision import dtype_named, precision, rounded, working


def expectation(value: Any, bound: Any) -> Expected:
    return Expected(
        value=value, bound=bound, magnitude=np.full(value.shape, np.inf), in_domain=np.ones(value.shape, dtype=bool)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("special", [0.0, np.nan, np.inf, 1e305])
def test_an_element_is_off_only_where_its_whole_quantity_is(dtype: str, special: float) -> None:
    """Of numbers about their bounds, and of such as are not finite, on either side."""
    generator, unit = np.random.default_rng(5), precision(dtype).unit
    off = 0
    for number in range(200):
        value = generator.standard_normal((4, 3)).astype(np.longdouble)
        bound = np.abs(generator.standard_normal((4, 3))) * unit * (0 if number % 7 == 0 else 4)
        given = value + bound * generator.uniform(0.5, 1.5, value.shape) + unit * (number % 3)
        if special:
            (given if number % 2 else value)[number % 4, number % 3] = special
        observed = rounded(given, dtype).astype(dtype_named(dtype))
        right = expectation(generator.standard_normal((4, 3)).astype(np.longdouble), bound)
        element, expected = farthest(observed, right, working(dtype)), expectation(value, bound)
        assert element is not None
        shown = element.is_off(expected, observed, working(dtype))
        assert not shown or fit(observed, expected, working(dtype)).score > 1
        off += shown
    assert off


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_the_one_element_of_a_quantity_is_off_where_the_quantity_is(dtype: str) -> None:
    """About the bound, with the rounding of what keeps it: neither sooner nor later, but for the margin."""
    generator, unit = np.random.default_rng(7), precision(dtype).unit
    off = 0
    for _ in range(1000):
        value = 1.0 + np.abs(generator.standard_normal((1, 1))).astype(np.longdouble)
        bound = np.full((1, 1), 4.0 * unit)
        # Half precision is kept, not computed in: the bound of the rounding is added to that of the arithmetic.
        observed = rounded(value + bound * generator.uniform(0.5, 1.6, value.shape), dtype).astype(dtype_named(dtype))
        element, expected = farthest(observed, expectation(value + 1, bound), working(dtype)), expectation(value, bound)
        assert element is not None
        score = fit(observed, expected, working(dtype)).score
        off += element.is_off(expected, observed, working(dtype))
        assert element.is_off(expected, observed, working(dtype)) is (score > 1 + 1e-9), (value, observed, score)
    assert 0 < off < 1000


def test_a_number_within_its_bound_is_not_off() -> None:
    value = np.ones((2, 2))
    element = farthest(value.astype(np.float32), expectation(value + 1, value * 1e-6), working("float32"))
    assert element is not None
    assert not element.is_off(expectation(value, value * 1e-6), value.astype(np.float32), working("float32"))


def test_nothing_has_no_element() -> None:
    empty = np.zeros((0, 3))
    assert farthest(empty.astype(np.float32), expectation(empty, empty), working("float32")) is None

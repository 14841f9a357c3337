"""The constants of each precision, from IEEE 754 and the definition of bfloat16."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from conformance.precision import Extended, extended, precision, storage_rounding, theta, working


# IEEE 754-2019, table 3.5; bfloat16: eight bits of significand, the exponents of float32.
@pytest.mark.parametrize(
    ("dtype", "unit", "tiny", "largest"),
    [
        ("float64", 2.0**-53, 2.0**-1022, (2 - 2.0**-52) * 2.0**1023),
        ("float32", 2.0**-24, 2.0**-126, (2 - 2.0**-23) * 2.0**127),
        ("float16", 2.0**-11, 2.0**-14, 65504.0),
        ("bfloat16", 2.0**-8, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
    ],
)
def test_a_precision_has_the_published_constants(dtype: str, unit: float, tiny: float, largest: float) -> None:
    found = precision(dtype)
    assert (found.unit, found.tiny, found.largest) == (unit, tiny, largest)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_half_precision_is_worked_in_float32(dtype: str, name: str) -> None:
    assert working(dtype).name == name


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_theta_is_n_u_over_one_minus_n_u(count: int) -> None:
    product = Fraction(count, 2**24)
    assert theta(count, 2.0**-24) == pytest.approx(float(product / (1 - product)), rel=2.0**-50, abs=0)


@pytest.mark.parametrize("count", [256, 257])
def test_theta_is_infinite_where_n_u_reaches_one(count: int) -> None:
    assert theta(count, 2.0**-8) == math.inf


def test_storage_in_the_working_precision_adds_nothing() -> None:
    bound = np.array([1e-7])
    assert storage_rounding(bound, np.array([1.0]), "float32", working("float32")) is bound


def test_storage_in_a_wider_dtype_adds_nothing() -> None:
    bound = np.array([1e-7])
    assert storage_rounding(bound, np.array([1.0]), "float64", working("float32")) is bound


def test_storage_in_half_adds_half_a_spacing() -> None:
    found = storage_rounding(np.array([2.0**-30]), np.array([1.0]), "float16", working("float16"))
    assert found.tolist() == [2.0**-30 + 2.0**-11 * (1 + 2.0**-30) + 2.0**-25]


def test_storage_adds_nothing_where_the_very_bits_are_asked_for() -> None:
    assert storage_rounding(np.array([0.0]), np.array([1.0]), "float16", working("float16")).tolist() == [0.0]


# Every float16 number, and the point next to halfway to the following one, which rounds back to it.
def test_every_rounding_to_float16_is_within_the_storage_bound() -> None:
    numbers = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float64)
    following = np.arange(1, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    between = numbers + (following - numbers) * 0.499
    error = np.abs(between.astype(np.float16).astype(np.float64) - between)
    bound = storage_rounding(np.full(numbers.shape, 2.0**-60), between, "float16", working("float16"))
    assert (error <= bound).all()
    assert (error > 0.3 * bound).all()


def test_the_extended_type_is_what_numpy_says() -> None:
    """2^-p is lost beside 1 and 2^(1-p) is not, p its bits."""
    bits, one = extended().bits, np.longdouble(1)
    assert one + one / 2**bits == one
    assert one + one / 2 ** (bits - 1) != one


@pytest.mark.parametrize(
    ("bits", "said"), [(53, ", too few to judge float64"), (63, ", too few to judge float64"), (64, ""), (113, "")]
)
def test_an_extended_type_of_64_bits_can_judge_float64(bits: int, said: str) -> None:
    """Less cannot, and says so."""
    found = Extended(bits=bits)
    assert found.sufficient is not bool(said)
    assert str(found) == f"np.longdouble has {bits} bits of mantissa{said}"

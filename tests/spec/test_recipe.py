"""Recipes make the same bits everywhere: checked against Philox and rounding in Python's integers and fractions."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from conformance.precision import rounded
from conformance.spec.recipe import Recipe, RecipeError, realize

_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Recipe)
_WORD = 2**64 - 1
_DEVIATIONS = [3, -3, 2, -2, 2, -2, 2, -2, 2, -2, 2, -2, 1, -1, 0, 0]


def philox_block(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x64-10 as Salmon et al. 2011 define it, section 3.3 and table 2."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c0, 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * c2, 2**64)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & _WORD, (k1 + 0xBB67AE8584CAA73B) & _WORD
    return c0, c1, c2, c3


def stream(seed: int) -> Iterator[int]:
    """The raw integers of the key (seed, 0), from the counter 1 on, as NumPy begins."""
    counter = 0
    while True:
        counter += 1
        yield from philox_block((counter, 0, 0, 0), (seed, 0))


def raw(seed: int, count: int) -> list[int]:
    return list(islice(stream(seed), count))


def normals(seed: int, count: int) -> list[Fraction]:
    """Twelve 16-bit words of three integers, those of value i at i, count + i and 2·count + i, centred, over 2^16."""
    words = raw(seed, 3 * count)
    sums = [
        sum((words[part * count + i] >> shift) & 0xFFFF for part in range(3) for shift in (0, 16, 32, 48))
        for i in range(count)
    ]
    return [Fraction(total - 6 * 0xFFFF, 2**16) for total in sums]


def made(recipe: dict[str, Any], shape: tuple[int, ...], axes: tuple[int, ...] = (1,), dtype: str = "float64") -> Any:
    return realize(_ADAPTER.validate_python(recipe), shape, axes, dtype)


def fractions(array: Any) -> list[Fraction]:
    return [Fraction(float(value)) for value in array.flat]


# Random123, tests/kat_vectors, the lines "philox4x64 10".
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
        ),
        (
            (_WORD, _WORD, _WORD, _WORD),
            (_WORD, _WORD),
            (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
        ),
    ],
)
def test_philox_here_is_the_published_one(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert philox_block(counter, key) == expected


@pytest.mark.parametrize("seed", [0, 1, 811, 2**63 - 1])
def test_the_raw_stream_of_numpy_is_philox(seed: int) -> None:
    assert np.random.Philox(key=seed).random_raw(11).tolist() == raw(seed, 11)


def test_normal_is_a_centred_sum_of_twelve_words() -> None:
    expected = [Fraction(3, 2) + Fraction(1, 4) * z for z in normals(5, 6)]
    assert fractions(made({"kind": "normal", "seed": 5, "mean": 1.5, "std": 0.25}, (3, 2))) == expected


def test_normal_is_within_six_and_a_multiple_of_two_to_the_minus_16() -> None:
    z = made({"kind": "normal", "seed": 6}, (50_000, 1))
    scaled = z * 2**16
    assert np.abs(z).max() <= 6
    assert (scaled == np.rint(scaled)).all()


def test_normal_has_mean_zero_and_variance_one() -> None:
    z = made({"kind": "normal", "seed": 6}, (50_000, 1))
    # Five standard errors: 1/sqrt(n), and sqrt(kurtosis - 1)/sqrt(n) with kurtosis 3 - 1.2/12.
    assert abs(z.mean()) < 5 / 50_000**0.5
    assert abs(z.var() - 1) < 5 * 1.9**0.5 / 50_000**0.5


def test_uniform_is_a_24_bit_fraction_of_its_range() -> None:
    expected = [Fraction(-1) + 4 * Fraction(word >> 40, 2**24) for word in raw(8, 6)]
    assert fractions(made({"kind": "uniform", "seed": 8, "low": -1.0, "high": 3.0}, (2, 3))) == expected


def test_integers_are_the_raw_integers_modulo_their_range() -> None:
    expected = [word % 8 - 3 for word in raw(9, 6)]
    assert made({"kind": "integers", "seed": 9, "low": -3, "high": 4}, (2, 3)).ravel().tolist() == expected


def test_ill_conditioned_is_std_times_ratio_plus_normal() -> None:
    expected = [Fraction(1, 2) * (4096 + z) for z in normals(10, 6)]
    found = made({"kind": "ill_conditioned", "seed": 10, "ratio": 4096.0, "std": 0.5}, (3, 2))
    assert fractions(found) == expected


def test_a_feature_is_multiplied_by_its_octaves_then_shifted() -> None:
    recipe = {"kind": "normal", "seed": 5, "feature_octaves": 2, "feature_shift": -0.5}
    z = normals(5, 6)
    expected = [z[i] * 4 ** (i % 3) - Fraction(i % 3, 2) for i in range(6)]
    assert fractions(made(recipe, (2, 3))) == expected


def test_features_are_counted_along_the_feature_axes() -> None:
    found = made({"kind": "uniform", "seed": 3, "low": 0.0, "high": 0.0, "feature_shift": 1.0}, (2, 2, 3), (0, 2))
    assert found.tolist() == [[[0, 1, 2], [0, 1, 2]], [[3, 4, 5], [3, 4, 5]]]


def test_ramp_counts_in_row_major_order() -> None:
    assert made({"kind": "ramp", "start": -1.0, "step": 0.5}, (2, 3)).tolist() == [[-1, -0.5, 0], [0.5, 1, 1.5]]


def test_ramp_counts_along_one_axis() -> None:
    assert made({"kind": "ramp", "step": 2.0, "axis": -2}, (2, 3)).tolist() == [[0, 0, 0], [2, 2, 2]]


def test_constant_is_one_value() -> None:
    assert made({"kind": "constant", "value": 3.5}, (2, 3)).tolist() == [[3.5] * 3] * 2


def test_dyadic_is_the_deviations_in_the_order_of_the_raw_integers() -> None:
    words = raw(7, 32)
    columns = []
    for feature, mean in enumerate((3, -5)):
        order = sorted(range(16), key=lambda row, feature=feature: words[2 * row + feature])  # type: ignore[misc]
        columns.append([_DEVIATIONS[row] + mean for row in order])
    assert made({"kind": "dyadic", "seed": 7}, (16, 2)).T.tolist() == columns


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((32, 3), (1,)), ((4, 3, 4, 2), (1,)), ((2, 2, 8, 3), (3,)), ((3, 16), (0,)), ((2, 16, 2), (0, 2))],
)
def test_dyadic_has_exact_mean_and_variance_per_feature(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    found = made({"kind": "dyadic", "seed": 7, "means": [3.0, 0.0]}, shape, axes)
    last = np.moveaxis(found, axes, tuple(range(-len(axes), 0)))
    columns = last.reshape(-1, int(np.prod([shape[axis] for axis in axes]))).T
    for feature, column in enumerate(columns):
        values = fractions(column)
        mean = sum(values, Fraction()) / len(values)
        assert mean == (3, 0)[feature % 2]
        assert sum(((value - mean) ** 2 for value in values), Fraction()) / len(values) == Fraction(15, 4)


# UCI Machine Learning Repository, iris.names, "Summary Statistics": mean and standard deviation per measurement.
def test_iris_has_the_published_means() -> None:
    found = made({"kind": "iris"}, (150, 4))
    assert np.round(found.mean(axis=0), 6).tolist() == [5.843333, 3.057333, 3.758, 1.199333]


def test_iris_has_the_published_first_and_last_rows() -> None:
    found = made({"kind": "iris"}, (150, 4))
    assert found[[0, -1]].tolist() == [[5.1, 3.5, 1.4, 0.2], [5.9, 3.0, 5.1, 1.8]]


def test_mean_squared_error_is_twice_the_difference_over_the_count() -> None:
    recipe = _ADAPTER.validate_python({"kind": "mean_squared_error", "target": {"kind": "constant", "value": 0.5}})
    output = np.array([[1.0, 2.0], [-3.0, 0.5]])
    assert realize(recipe, (2, 2), (1,), "float64", output=output).tolist() == [[0.25, 0.75], [-1.75, 0.0]]


def test_a_literal_is_rounded_through_the_dtype_of_its_source() -> None:
    (single,) = struct.unpack("<f", struct.pack("<f", 0.1))
    assert made({"kind": "literal", "values": [[0.1]], "dtype": "float32"}, (1, 1)).tolist() == [[single]]
    assert single != 0.1


def test_a_literal_without_a_dtype_is_rounded_to_the_case_s_alone() -> None:
    assert made({"kind": "literal", "values": [[0.1]]}, (1, 1)).tolist() == [[0.1]]


def test_an_empty_literal_may_stand_for_any_empty_shape() -> None:
    assert made({"kind": "literal", "values": []}, (0, 3)).shape == (0, 3)


# Ties to even, 8 bits of significand; the last rounds up to a power of two.
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 + 2**-8, 1.0),
        (1 + 3 * 2**-8, 1 + 2**-6),
        (1 + 2**-8 + 2**-16, 1 + 2**-7),
        (-(1 + 2**-7), -(1 + 2**-7)),
        (2 - 2**-9, 2.0),
        (2.0**-133, 2.0**-133),
    ],
)
def test_bfloat16_is_rounded_to_nearest_even(value: float, expected: float) -> None:
    assert float(rounded(np.array(value), "bfloat16")) == expected


def test_float16_overflows_to_infinity_without_a_warning() -> None:
    assert rounded(np.array([65519.0, 65520.0]), "float16").tolist() == [65504.0, np.inf]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_an_array_has_the_dtype_asked_for(dtype: str) -> None:
    assert made({"kind": "normal", "seed": 1}, (2, 3), dtype=dtype).dtype.name == dtype


def test_float32_is_float64_rounded_once() -> None:
    recipe = {"kind": "uniform", "seed": 4, "low": 0.1, "high": 0.7}
    exact, single = made(recipe, (64, 1)), made(recipe, (64, 1), dtype="float32")
    assert single.tolist() == [[struct.unpack("<f", struct.pack("<f", value))[0]] for value in exact.ravel()]


@pytest.mark.parametrize(
    ("recipe", "shape", "message"),
    [
        ({"kind": "literal", "values": [[1.0], [1.0, 2.0]]}, (2, 2), "must be numbers, nested evenly"),
        ({"kind": "literal", "values": [["x", 1.0]]}, (1, 2), "must be numbers, nested evenly"),
        ({"kind": "literal", "values": [1.0, 2.0]}, (1, 2), r"have shape \(2,\), expected \(1, 2\)"),
        ({"kind": "iris"}, (149, 4), r"iris has shape \(150, 4\)"),
        ({"kind": "dyadic", "seed": 1}, (15, 2), "needs a multiple of 16 values per feature, here 15"),
        ({"kind": "dyadic", "seed": 1}, (0, 2), "needs a multiple of 16 values per feature, here 0"),
        ({"kind": "ramp", "axis": 2}, (3, 2), "counts along axis 2, but the rank is 2"),
        ({"kind": "mean_squared_error", "target": {"kind": "constant", "value": 0.5}}, (1, 1), "needs a train step"),
    ],
)
def test_a_recipe_that_cannot_make_the_shape_says_why(
    recipe: dict[str, Any], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        made(recipe, shape)


@pytest.mark.parametrize(
    "recipe",
    [
        {"kind": "normal"},
        {"kind": "normal", "seed": -1},
        {"kind": "normal", "seed": 2**63},
        {"kind": "normal", "seed": 1, "scale": 2.0},
        {"kind": "constant", "value": "1"},
        {"kind": "integers", "seed": 1, "low": 3, "high": 2},
        {"kind": "dyadic", "seed": 1, "means": []},
        {"kind": "poisson", "seed": 1},
    ],
)
def test_what_is_no_recipe_is_refused(recipe: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _ADAPTER.validate_python(recipe)

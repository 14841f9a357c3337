"""What the second references share is right, by hand and in integers, and they share nothing with the first."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance.operations import rational
from conformance.operations.batch_norm import rational as batch_norm
from conformance.operations.centering import rational as centering
from conformance.operations.differentiated_batch_norm import rational as differentiated
from conformance.operations.rational import Beyond, Feature, Quantities, Rule, Step, by_feature
from tests.operations.exact_features import F, drawn, rule


# Old value 2, batch 6, decay 1/4. Zero-debiased, second step: the hidden average is 2·(1 - 1/4) = 3/2, then
# 3/8 + 9/2 = 39/8, shown as 39/8 / (1 - 1/16) = 26/5.
@pytest.mark.parametrize(
    ("update", "trained", "after"),
    [
        ("exponential", 0, 5),
        ("exponential", 3, 5),
        ("zero_debiased", 0, 6),
        ("zero_debiased", 1, F(26, 5)),
        ("first_batch", 0, 6),
        ("first_batch", 1, 5),
        ("cumulative", 0, 6),
        ("cumulative", 3, 3),
        ("merge", 3, 3),
        ("none", 0, 2),
    ],
)
def test_a_moving_value_by_hand(update: str, trained: int, after: Fraction) -> None:
    """Each way of updating, early and late."""
    assert rational.moved(rule(update=update, trained=trained), F(2), F(6)) == after


@pytest.mark.parametrize(
    ("update", "decay", "trained", "after"),
    [
        ("exponential", 1, 0, 2),
        ("first_batch", 1, 0, 6),
        ("first_batch", 1, 1, 2),
        ("zero_debiased", 1, 2, None),
        ("exponential", 0, 0, 6),
        ("zero_debiased", 0, 0, 6),
        ("zero_debiased", 0, 3, 6),
    ],
)
def test_a_decay_of_0_or_1_by_hand(update: str, decay: int, trained: int, after: Fraction | None) -> None:
    """Only the batch, or never the batch; a hidden average that never began gives no number."""
    assert rational.moved(rule(update=update, decay=decay, trained=trained), F(2), F(6)) == after


def test_identical_batches_leave_a_zero_debiased_average_at_their_value() -> None:
    """However many they are: the average shows no trace of its beginning."""
    value = F(0)
    for trained in range(5):
        found = rational.moved(rule(decay=F(9, 10), update="zero_debiased", trained=trained), value, F(7, 3))
        assert found == F(7, 3)
        value = found


def test_a_gradient_step_by_hand() -> None:
    """3 less a half of 5."""
    assert rational.descended(F(3), F(1, 2), F(5)) == F(1, 2)


@pytest.mark.parametrize(
    ("square", "root"), [(4, F(1, 2)), (F(9, 4), F(2, 3)), (F(1, 9), 3), (1, 1), (F(2) ** -2000, F(2) ** 1000)]
)
def test_the_inverse_root_of_a_square_is_exact(square: Fraction, root: Fraction) -> None:
    """Rational roots are given as they are."""
    assert rational.inverse_root(F(square)) == root


@pytest.mark.parametrize(
    "value", [F(2), F(1, 2), F(3, 7), F(10) ** 601, F(10) ** -601, 1 + F(2) ** -1000, 1 - F(2) ** -1000]
)
@pytest.mark.parametrize("bits", [200, rational.BITS])
def test_an_inverse_root_is_below_the_true_one_by_less_than_its_last_bit(value: Fraction, bits: int) -> None:
    """r²v <= 1 < (r + 2^-bits r)² v, in integers."""
    root = rational.inverse_root(value, bits)
    assert root is not None
    assert root**2 * value <= 1 < (root * (1 + F(1, 2**bits))) ** 2 * value


@pytest.mark.parametrize("value", [F(0), F(-1)])
def test_what_is_not_positive_has_no_inverse_root(value: Fraction) -> None:
    """Neither 0 nor a negative number."""
    assert rational.inverse_root(value) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    """No fraction is a NaN or an infinity."""
    with pytest.raises(rational.NotFiniteError, match="is no fraction"):
        rational.rationals([1.0, bad])


def test_a_value_is_taken_as_it_is_stored() -> None:
    """0.1 in float64 is not a tenth."""
    assert rational.rationals([0.1]) == [F(3602879701896397, 2**55)]


@pytest.mark.parametrize(
    ("axes", "found"),
    [
        ((0,), [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]),
        ((1,), [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]),
        ((2,), [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]),
        ((0, 2), [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]),
    ],
)
def test_the_columns_of_an_array_are_those_of_its_feature_axes(axes: tuple[int, ...], found: list[list[int]]) -> None:
    """Two by three by two, each way of keeping axes written out."""
    assert rational.columns(np.arange(12.0).reshape(2, 3, 2), axes) == found


def test_columns_keep_every_bit_of_a_half_precision_array() -> None:
    """bfloat16's 0.1 is 0.10009765625; an empty batch has empty columns."""
    assert rational.columns(np.array([[0.1]], ml_dtypes.bfloat16), (1,)) == [[0.10009765625]]
    assert rational.columns(np.zeros((0, 2), np.float16), (1,)) == [[], []]


SECOND = [Path(rational.__file__), *sorted(Path(rational.__file__).parent.glob("*/rational.py"))]


@pytest.mark.parametrize("file", SECOND, ids=lambda file: file.parent.name)
def test_the_second_reference_shares_no_code_with_the_first(file: Path) -> None:
    """It imports the standard library, and of ours the names of the dialects and other second references alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=imported):
                names |= {f"{module}.{alias.name}" if alias.name == "rational" else module for alias in imported}
            case ast.Import(names=imported):
                names |= {alias.name for alias in imported}
            case _:
                pass
    ours = {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}
    assert all(name == "conformance.dialect" or name.endswith(".rational") for name in ours), ours


def test_there_is_a_second_reference_in_the_folder_of_every_kind_of_operation() -> None:
    """Those that pass on another's have none."""
    assert len(SECOND) > 8


FUNCTIONS: list[Callable[[Feature, Rule], Quantities]] = [
    batch_norm.train,
    batch_norm.infer,
    centering.train,
    centering.infer,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: f"{function.__module__}.{function.__name__}")
def test_every_number_is_a_fraction(function: Callable[[Feature, Rule], Quantities]) -> None:
    """No float finds its way in."""
    found = function(drawn(18, 3), rule(F(1, 3)))
    assert {type(value) for values in found.values() if values is not None for value in values} == {Fraction}


def test_features_are_computed_apart_and_given_row_by_row() -> None:
    """Two features of two values: outputs in rows, statistics in one row."""
    step = Step(x=[[1.0, 5.0], [2.0, 4.0]], state={"moving_mean": [0.0, 0.0]}, samples=2)
    exact = by_feature(centering.train)(step, rule(decay=0))
    assert exact == {"moving_mean": [3, 3], "batch_mean": [3, 3], "output": [-2, -1, 2, 1]}


def test_a_feature_whose_data_are_not_finite_leaves_its_neighbour_exact() -> None:
    """What fractions cannot hold is said to be beyond them."""
    step = Step(x=[[1.0, math.inf], [2.0, 4.0]], state={"moving_mean": [0.0, 0.0]}, samples=2)
    exact = by_feature(centering.infer)(step, rule())
    assert exact["output"] == [Beyond.FRACTIONS, 2, Beyond.FRACTIONS, 4]
    assert exact["moving_mean"] == [Beyond.FRACTIONS, 0]


@pytest.mark.parametrize(
    "passes", [batch_norm, centering, differentiated], ids=lambda passes: passes.__name__.split(".")[-2]
)
def test_exact_arithmetic_takes_as_much_more_as_there_are_more_values(
    passes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean that is taken anew for each value takes the square of it: seconds for a thousand of them."""
    few, many = (additions(passes, count, monkeypatch) for count in (10, 80))
    assert 0 < many < 10 * few


def additions(passes: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often two fractions are added in a train step of that many values."""
    counted, add = [0], Fraction.__add__

    def counting(one: Fraction, other: Any) -> Any:
        counted[0] += 1
        return add(one, other)

    given = drawn(3, count)
    with monkeypatch.context() as patch:
        patch.setattr(Fraction, "__add__", counting)
        passes.train(replace(given, arrays={"tangent": given.x}), rule(1))
    return counted[0]

"""How whole numbers lose what their dtype does not hold: cut off, wrapped around, or anything beyond the ends of the range."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.operations.batch_norm.whole_numbers import cut, squares

VALUES = np.array([-1.5, -0.5, 0.0, 0.75, 2.25, 300.5])


@pytest.mark.parametrize(
    ("dtype", "held", "unfixed"),
    [
        ("uint8", [0, 0, 0, 0, 2, 255], [255, 0, 0, 0, 0, 255]),
        ("int8", [-1, 0, 0, 0, 2, 127], [0, 0, 0, 0, 0, 255]),
        ("int32", [-1, 0, 0, 0, 2, 300], [0] * 6),
        ("bool", [1, 1, 0, 1, 1, 1], [0] * 6),
    ],
)
def test_a_cast_cuts_off_and_beyond_the_range_fixes_nothing(dtype: str, held: list[int], unfixed: list[int]) -> None:
    value, off = cut(VALUES, dtype)
    assert (value.tolist(), off.tolist()) == (held, unfixed)


def test_squares_keep_the_last_bits_of_their_dtype() -> None:
    assert squares(np.array([16.0, 17.0, 255.0]), "uint8").tolist() == [0, 33, 1]
    assert squares(np.array([60000.0, -46341.0]), "int32").tolist() == [60000**2 - 2**32, 46341**2 - 2**32]

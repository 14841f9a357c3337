"""Files of named arrays: what is written is read bit by bit, and a damaged file is one line."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from conformance.answers.safetensors import encoded, read
from conformance.errors import UsageError


def test_arrays_come_back_bit_by_bit(tmp_path: Path) -> None:
    """Every dtype, a scalar and an empty one among them."""
    arrays = {
        "a": np.array([[1.5, np.nan], [-0.0, np.inf]], np.float32),
        "b": np.array([1.0, 2.0], ml_dtypes.bfloat16),
        "c": np.zeros((0, 3)),
        "d": np.array(7, np.int64),
        "e": np.array([True, False]),
    }
    (tmp_path / "x.safetensors").write_bytes(encoded(arrays))
    again = read(tmp_path / "x.safetensors")
    assert {name: (array.dtype, array.shape, array.tobytes()) for name, array in again.items()} == {
        name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()
    }


def damaged(table: object, data: bytes = b"") -> bytes:
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 16,
        (2).to_bytes(8, "little") + b"{,",
        damaged([1]),
        damaged({"a": 1}),
        damaged({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        damaged({"a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        damaged({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
        damaged({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(3)),
    ],
)
def test_what_is_no_such_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    """Its path is in it."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.safetensors") as failure:
        read(path)
    assert "\n" not in str(failure.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "x.safetensors")

"""Checkpoints of PyTorch: read as they were written, and bounded by what they hold."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance.answers.torch_files import encoded, read

STATE: dict[str, np.ndarray[Any, Any]] = {
    "bn.weight": np.array([1, 2, 3], np.float32),
    "bn.bias": np.array([1, 2, 3], np.float16),
    "bn.running_mean": np.array([1, 2, 3], np.float64),
    "bn.running_var": np.array([1, 2, 3], ml_dtypes.bfloat16),
    "conv.weight": np.ones((2, 3), np.float32),
}
PICKLED = (
    b"\x80\x02}X\x02\0\0\0bnctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000"
)
PICKLED += b"X\x03\0\0\0cpuK\x04tQ"


def of(arguments: bytes, path: Path, *, order: str = "little", values: bytes | None = None) -> Path:
    """Write a checkpoint of one tensor with an offset, a shape and strides, over the numbers 0 to 3."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", PICKLED + arguments + b"\x89}tRs.")
        archive.writestr("a/byteorder", order)
        archive.writestr("a/data/0", np.arange(4, dtype="<f4").tobytes() if values is None else values)
    return path


def test_what_is_written_is_read_bit_by_bit(tmp_path: Path) -> None:
    """Of tensors of one axis: no other can be a normalization's."""
    path = tmp_path / "x.pt"
    path.write_bytes(encoded(STATE))
    again = read(path)
    assert list(again) == ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]
    assert all(
        (array.dtype, array.tobytes()) == (STATE[name].dtype, STATE[name].tobytes()) for name, array in again.items()
    )


def test_the_same_weights_are_the_same_file() -> None:
    assert encoded(STATE) == encoded(STATE)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (b"K\x01K\x03\x85K\x01\x85", [1, 2, 3]),
        (b"K\x01K\x02\x85K\x02\x85", [1, 3]),
        (b"K\x02K\x03\x85K\x00\x85", [2, 2, 2]),
        (b"K\x00K\x00\x85K\x01\x85", []),
    ],
)
def test_a_tensor_is_a_view_of_its_storage(arguments: bytes, expected: list[float], tmp_path: Path) -> None:
    assert read(of(arguments, tmp_path / "x.pt"))["bn"].tolist() == expected


@pytest.mark.parametrize(
    "arguments",
    [
        b"K\x01K\x04\x85K\x01\x85",
        b"K\x00K\x05\x85K\x00\x85",
        b"J\xff\xff\xff\xffK\x01\x85K\x01\x85",
        b"K\x03K\x02\x85J\xff\xff\xff\xff\x85",
        b"K\x00J\xff\xff\xff\xff\x85K\x01\x85",
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(arguments: bytes, tmp_path: Path) -> None:
    """Past its end, before its begin, or longer than it by a stride of nothing."""
    with pytest.raises(ValueError, match="past the end of its storage"):
        read(of(arguments, tmp_path / "x.pt"))


def test_the_order_of_bytes_is_the_file_s(tmp_path: Path) -> None:
    values = np.arange(4, dtype=">f4").tobytes()
    path = of(b"K\x00K\x04\x85K\x01\x85", tmp_path / "x.pt", order="big", values=values)
    assert read(path)["bn"].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="byte order is 'middle'"):
        read(of(b"K\x00K\x04\x85K\x01\x85", tmp_path / "x.pt", order="middle"))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    """And what PyTorch wrote before it wrote archives."""
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("a/other", "")
    with pytest.raises(ValueError, match="expected one"):
        read(tmp_path / "x.pt")
    (tmp_path / "old.pt").write_bytes(b"\x80\x02\x8a")
    with pytest.raises(ValueError, match=r"PyTorch 1\.6"):
        read(tmp_path / "old.pt")

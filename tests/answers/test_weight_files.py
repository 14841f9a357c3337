"""Files of weights: what each format holds comes back bit by bit, and nothing of a file is executed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.answers.weight_files import read, write
from conformance.errors import UsageError

MODEL: dict[str, np.ndarray[Any, Any]] = {
    "bn.weight": np.array([1, 2, 3], np.float32),
    "bn.running_var": np.array([[1.5], [4]], np.float64),
    "bn.num_batches_tracked": np.array(12),
}
SUFFIXES = ("h5", "keras", "msgpack", "npz", "onnx", "pt", "safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".msgpack"])
def test_what_is_written_is_read_bit_by_bit(suffix: str, tmp_path: Path) -> None:
    """By name, dtype and shape."""
    path = tmp_path / f"weights{suffix}"
    write(path, MODEL)
    again = read(path).arrays
    assert {name: (array.dtype, array.shape, array.tobytes()) for name, array in again.items()} == {
        name: (array.dtype, array.shape, array.tobytes()) for name, array in MODEL.items()
    }


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    """Nothing of a file is executed."""
    np.savez(tmp_path / "evil.npz", allow_pickle=True, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UsageError, match=r"no \.npz file of plain arrays"):
        read(tmp_path / "evil.npz")


@pytest.mark.parametrize(
    "name",
    ["weights.bin", "weights", "gone.npz", "folder.pt", *(f"text.{suffix}" for suffix in SUFFIXES)],
)
def test_what_cannot_be_read_is_one_line(name: str, tmp_path: Path) -> None:
    """Another format, no suffix, no file, a folder, other content."""
    (tmp_path / "folder.pt").mkdir()
    for suffix in SUFFIXES:
        (tmp_path / f"text.{suffix}").write_text("not such a file")
    with pytest.raises(UsageError, match=name) as failure:
        read(tmp_path / name)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("suffix", ["pt", "keras", "npz"])
def test_an_archive_that_unfolds_to_far_more_than_it_is_is_refused(suffix: str, tmp_path: Path) -> None:
    """Before anything of it is unfolded."""
    with zipfile.ZipFile(tmp_path / f"bomb.{suffix}", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/data.pkl", bytes(32 * 2**20))
    with pytest.raises(UsageError, match="unfold to 33554432; at most 16777216 are taken"):
        read(tmp_path / f"bomb.{suffix}")


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "msgpack", "pt"])
def test_a_file_that_is_cut_off_is_one_line(suffix: str, tmp_path: Path) -> None:
    """Wherever it is."""
    path = tmp_path / f"weights.{suffix}"
    write(path, {name: array for name, array in MODEL.items() if array.ndim == 1})
    whole = path.read_bytes()
    for size in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:size])
        with pytest.raises(UsageError, match=str(path)):
            read(path)

"""Files of weights: what each format holds comes back bit by bit, and nothing of a file is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from conformance.answers.onnx_models import _tensor
from conformance.answers.protobuf import message, text
from conformance.answers.weight_files import read, write
from conformance.errors import UsageError

MODEL: dict[str, np.ndarray[Any, Any]] = {
    "bn.weight": np.array([1, 2, 3], np.float32),
    "bn.running_var": np.array([[1.5], [4]], np.float64),
    "bn.num_batches_tracked": np.array(12),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_both_formats_keep_every_bit(suffix: str, tmp_path: Path) -> None:
    """By name, dtype and shape."""
    path = tmp_path / f"weights{suffix}"
    write(path, MODEL)
    again = read(path)
    assert {name: (array.dtype, array.shape, array.tobytes()) for name, array in again.items()} == {
        name: (array.dtype, array.shape, array.tobytes()) for name, array in MODEL.items()
    }


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    """Nothing of a file is executed."""
    np.savez(tmp_path / "evil.npz", allow_pickle=True, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UsageError, match=r"no \.npz file of plain arrays"):
        read(tmp_path / "evil.npz")


@pytest.mark.parametrize("name", ["weights.pt", "weights", "gone.npz", "text.npz", "text.msgpack", "text.onnx"])
def test_what_cannot_be_read_is_one_line(name: str, tmp_path: Path) -> None:
    """Another format, no suffix, no file, other content."""
    for suffix in ("npz", "msgpack", "onnx"):
        (tmp_path / f"text.{suffix}").write_text("not such a file")
    with pytest.raises(UsageError, match=name) as failure:
        read(tmp_path / name)
    assert "\n" not in str(failure.value)


def packed(array: np.ndarray[Any, Any]) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(1, msgspec.msgpack.encode((array.shape, array.dtype.name, array.tobytes())))


def test_flax_variables_are_named_by_the_way_to_them(tmp_path: Path) -> None:
    """As `flax.serialization.to_bytes` packs them; what is no array is left out."""
    mean = np.array([1, 2], np.float32)
    tree = {"batch_stats": {"norm": {"mean": packed(mean)}}, "step": 3}
    (tmp_path / "x.msgpack").write_bytes(msgspec.msgpack.encode(tree))
    arrays = read(tmp_path / "x.msgpack")
    assert {name: array.tobytes() for name, array in arrays.items()} == {"batch_stats/norm/mean": mean.tobytes()}


def model(*names: str) -> bytes:
    """Return an ONNX model of one BatchNormalization, whose parameters are 1, 2, 3 and 4, by those names."""
    inputs = [text(1, name) for name in ("X", *names)]
    node = message(*inputs, text(2, "/stem/norm/Y"), text(3, "/stem/norm"), text(4, "BatchNormalization"))
    tensors = [(5, _tensor(name, np.full(2, value, np.float32))) for value, name in enumerate(names, 1)]
    return message((1, 8), (7, message((1, node), *tensors)))


@pytest.mark.parametrize(
    ("names", "place"),
    [
        (("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"), "bn1"),
        (("w", "b", "m", "v"), "stem/norm"),
    ],
)
def test_the_layers_of_an_onnx_model_are_found_by_its_nodes(names: tuple[str, ...], place: str, tmp_path: Path) -> None:
    """Whatever the initializers are called: by what their names share, or else by the node."""
    (tmp_path / "x.onnx").write_bytes(model(*names))
    arrays = read(tmp_path / "x.onnx")
    assert {name: array.tolist() for name, array in arrays.items()} == {
        f"{place}.scale": [1, 1],
        f"{place}.B": [2, 2],
        f"{place}.input_mean": [3, 3],
        f"{place}.input_var": [4, 4],
    }

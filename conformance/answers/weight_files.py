"""Files of named arrays: safetensors, NumPy's `.npz`, Flax's `.msgpack`, and the layers of an `.onnx` model.

Nothing of a file is ever executed, and nothing is unpickled.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from conformance.answers import safetensors
from conformance.answers.protobuf import fields, varints
from conformance.errors import UsageError
from conformance.precision import dtype_named
from conformance.whole import write_whole

Array = np.ndarray[Any, np.dtype[Any]]

_READ, _WRITTEN = (".safetensors", ".npz", ".msgpack", ".onnx"), (".safetensors", ".npz")
#: Flax's extension types of MessagePack: an array, and a scalar as an array.
_FLAX_ARRAYS = (1, 3)
#: TensorProto.DataType, and the inputs of BatchNormalization beside the first.
_ONNX_DTYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
_ONNX_INPUTS = ("scale", "B", "input_mean", "input_var")


def read(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by name. Raises `UsageError`."""
    if path.suffix not in _READ:
        raise UsageError(f"{path}: expected {', '.join(_READ)}; got {path.suffix or 'no suffix'}")
    if path.suffix == ".safetensors":
        return safetensors.read(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        match path.suffix:
            case ".npz":
                return _npz(content)
            case ".msgpack":
                return dict(_flax(msgspec.msgpack.decode(content, ext_hook=_flax_array), ""))
            case _:
                return dict(_onnx(content))
    except (ValueError, EOFError, KeyError, TypeError, RecursionError, zipfile.BadZipFile, UsageError) as error:
        raise UsageError(f"{path}: no {path.suffix} file of plain arrays: {error}") from error


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays. Raises `UsageError`."""
    match path.suffix:
        case ".safetensors":
            write_whole(path, safetensors.encoded(arrays))
        case ".npz":
            content = io.BytesIO()
            np.savez(content, **arrays)  # type: ignore[arg-type]
            write_whole(path, content.getvalue())
        case suffix:
            raise UsageError(f"{path}: expected {' or '.join(_WRITTEN)}; got {suffix or 'no suffix'}")


def _npz(content: bytes) -> dict[str, Array]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _flax(tree: Any, place: str) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of a tree, each with the way to it: `batch_stats/norm/mean`."""
    match tree:
        case dict():
            for name, branch in tree.items():
                yield from _flax(branch, f"{place}/{name}" if place else str(name))
        case np.ndarray():
            yield place, tree
        case _:
            pass


def _flax_array(code: int, data: memoryview) -> Array | None:
    """Return an array as Flax packs it: its shape, the name of its dtype, and its bytes."""
    if code not in _FLAX_ARRAYS:
        return None
    shape, dtype, content = msgspec.msgpack.decode(data, type=tuple[tuple[int, ...], str, bytes])
    return np.frombuffer(content, dtype_named(dtype)).reshape(shape)


def _onnx(content: bytes) -> Iterator[tuple[str, Array]]:
    """Yield the parameters of every BatchNormalization of a model, by the place of its node and the name of the input."""
    graph = next((value for number, value in fields(content) if number == 7 and isinstance(value, bytes)), b"")
    initial = dict(_tensor(value) for number, value in fields(graph) if number == 5 and isinstance(value, bytes))
    for number, node in fields(graph):
        if number != 1 or not isinstance(node, bytes):
            continue
        parts = [
            (part, value.decode()) for part, value in fields(node) if part in (1, 2, 3, 4) and isinstance(value, bytes)
        ]
        inputs = [value for part, value in parts if part == 1]
        words = {part: value for part, value in parts if part != 1}
        if words.get(4) != "BatchNormalization" or not all(name in initial for name in inputs[1:5]):
            continue
        place = (_shared(inputs[1:5]) or words.get(3) or words.get(2, "")).strip("/")
        yield from ((f"{place}.{name}", initial[key]) for name, key in zip(_ONNX_INPUTS, inputs[1:5], strict=True))


def _shared(names: list[str]) -> str:
    """Return the place that the names of a layer's parameters have in common: `bn1` of `bn1.weight` and `bn1.bias`."""
    places = {name.rpartition(".")[0] for name in names}
    return places.pop() if len(places) == 1 else ""


def _tensor(content: bytes) -> tuple[str, Array]:
    """Return the name and values of a TensorProto. Those of another dtype are left empty: no parameter is one."""
    shape: list[int] = []
    name, dtype, data = "", 0, b""
    for number, value in fields(content):
        match number, value:
            case 1, int(size):
                shape.append(size)
            case 1, bytes(packed):
                shape.extend(varints(packed))
            case 2, int(dtype):
                pass
            case 8, bytes(text):
                name = text.decode()
            case ((4 | 9 | 10), bytes(numbers)):
                # One number a field, or all in one.
                data += numbers
            case 14, 1:
                raise UsageError("its tensors are in files beside it; save the model in one file")
            case _:
                pass
    if dtype not in _ONNX_DTYPES:
        return name, np.empty(0, np.float32)
    return name, np.frombuffer(data, dtype_named(_ONNX_DTYPES[dtype])).reshape(shape)

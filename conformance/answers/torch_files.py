"""PyTorch's checkpoints: an archive of a pickle and the bytes of each storage, read and written without PyTorch.

https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conformance.answers.archives import opened
from conformance.answers.pickled import Tensor, value_of
from conformance.precision import dtype_name, dtype_named

Array = np.ndarray[Any, np.dtype[Any]]

_KINDS = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
}
_STORAGES = {dtype: kind for kind, dtype in _KINDS.items()}
_PICKLE = "data.pkl"


def read(path: Path) -> dict[str, Array]:
    """Return the tensors of one axis, which alone can be a normalization's, by the way to them: `model.bn1.weight`.

    Raises `ValueError`, and what a broken archive raises.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("expected the archive that PyTorch 1.6 and later write; load and save it anew")
    with opened(path) as archive:
        names = archive.namelist()
        folders = [name.removesuffix(_PICKLE) for name in names if name.endswith(f"/{_PICKLE}")]
        if len(folders) != 1:
            raise ValueError(f"expected one {_PICKLE} in it, and there are {len(folders)}")
        (folder,) = folders
        order = archive.read(f"{folder}byteorder").decode("ascii") if f"{folder}byteorder" in names else "little"
        if order not in ("little", "big"):
            raise ValueError(f"its byte order is {order!r}")
        tensors = [
            (name, tensor)
            for name, tensor in _tensors(value_of(archive.read(folder + _PICKLE)))
            if len(tensor.shape) == 1 and tensor.storage.kind in _KINDS
        ]
        # Many tensors may be views of one storage.
        stored = {key: archive.read(f"{folder}data/{key}") for key in {tensor.storage.key for _, tensor in tensors}}
    return {name: _array(tensor, stored[tensor.storage.key], order) for name, tensor in tensors}


def _tensors(tree: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of nested mappings; a mapping that stands in two places is gone through once."""
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Tensor):
            yield place, value
        elif isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            items = [(f"{place}.{key}" if place else str(key), branch) for key, branch in value.items()]
            waiting.extend(reversed(items))


def _array(tensor: Tensor, content: bytes, order: str) -> Array:
    stored = np.frombuffer(content, dtype_named(_KINDS[tensor.storage.kind]))
    if order != sys.byteorder:
        stored = stored.byteswap()
    (size,), (stride,), offset = tensor.shape, tensor.strides, tensor.offset
    last = offset + (size - 1) * stride
    if not 0 <= size <= len(stored) or stride < 0 or (size and not 0 <= offset <= last < len(stored)):
        raise ValueError(f"a tensor of {size} values is past the end of its storage")
    return stored[[offset + place * stride for place in range(size)]]


def encoded(arrays: Mapping[str, Array]) -> bytes:
    """Return the arrays as a `state_dict` that `torch.load` takes, `weights_only` too."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        # Of no date, so that the same weights are the same file.
        archive.writestr(zipfile.ZipInfo(f"archive/{_PICKLE}"), _pickled(arrays))
        archive.writestr(zipfile.ZipInfo("archive/byteorder"), sys.byteorder)
        for key, array in enumerate(arrays.values()):
            archive.writestr(zipfile.ZipInfo(f"archive/data/{key}"), np.ascontiguousarray(array).tobytes())
        archive.writestr(zipfile.ZipInfo("archive/version"), "3\n")
    return content.getvalue()


def _pickled(arrays: Mapping[str, Array]) -> bytes:
    """Return the pickle of a mapping of tensors, each the whole of its storage."""
    parts = [b"\x80\x02}("]
    for key, (name, array) in enumerate(arrays.items()):
        kind = _STORAGES[dtype_name(array.dtype)].encode()
        strides = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
        parts += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(("]
        parts += [_text("storage"), b"ctorch\n", kind, b"\n", _text(str(key)), _text("cpu"), _whole(array.size), b"tQ"]
        parts += [_whole(0), b"(", *map(_whole, array.shape), b"t(", *map(_whole, strides), b"t"]
        # No gradient is asked for, and there are no hooks.
        parts += [b"\x89ccollections\nOrderedDict\n)RtR"]
    return b"".join([*parts, b"u."])


def _text(text: str) -> bytes:
    encoded_ = text.encode()
    return b"X" + len(encoded_).to_bytes(4, "little") + encoded_


def _whole(number: int) -> bytes:
    return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)

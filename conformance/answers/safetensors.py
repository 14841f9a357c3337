"""Named arrays in one file of the safetensors format: a length, a table in JSON, and the bytes of each array in order.

Nothing is executed on reading, and nothing but the table decides what is read.
https://huggingface.co/docs/safetensors: 8 bytes of length (little-endian), the table, then the data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conformance.errors import UsageError
from conformance.precision import dtype_name, dtype_named

Array = np.ndarray[Any, np.dtype[Any]]

_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_DTYPES = {short: name for name, short in _NAMES.items()}
_LENGTH = 8


def encoded(arrays: Mapping[str, Array]) -> bytes:
    """Return the arrays as the content of a file."""
    table: dict[str, object] = {}
    parts: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        offsets = [offset, offset + len(data)]
        table[name] = {"dtype": _NAMES[dtype_name(array.dtype)], "shape": list(array.shape), "data_offsets": offsets}
        parts.append(data)
        offset += len(data)
    text = json.dumps(table, separators=(",", ":")).encode()
    # The data begin at a multiple of 8; the table may be padded with spaces.
    text += b" " * (-len(text) % _LENGTH)
    return b"".join([len(text).to_bytes(_LENGTH, "little"), text, *parts])


def read(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by name. Raises `UsageError` where it is none or its table does not fit its data."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    size = int.from_bytes(content[:_LENGTH], "little")
    if len(content) < _LENGTH or size > len(content) - _LENGTH:
        raise UsageError(f"{path}: no safetensors file: its length of the table is past its end")
    try:
        table = json.loads(content[_LENGTH : _LENGTH + size])
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: no safetensors file: its table is no JSON") from error
    if not isinstance(table, dict):
        raise UsageError(f"{path}: no safetensors file: its table is no mapping")
    data = memoryview(content)[_LENGTH + size :]
    return {name: _array(path, name, entry, data) for name, entry in table.items() if name != "__metadata__"}


def _array(path: Path, name: str, entry: object, data: memoryview) -> Array:
    match entry:
        case {"dtype": str(short), "shape": [*shape], "data_offsets": [int(start), int(end)]} if all(
            isinstance(size, int) and size >= 0 for size in shape
        ):
            pass
        case _:
            raise UsageError(f"{path}: {name}: expected dtype, shape and data_offsets")
    if short not in _DTYPES:
        raise UsageError(f"{path}: {name}: expected a dtype among {', '.join(_DTYPES)}; got {short!r}")
    dtype = dtype_named(_DTYPES[short])
    if not 0 <= start <= end <= len(data) or end - start != math.prod(shape) * dtype.itemsize:
        raise UsageError(f"{path}: {name}: its offsets {start} to {end} do not hold {short} of shape {shape}")
    return np.frombuffer(data[start:end], dtype=dtype).reshape(shape)

"""Frames between the run and its workers: JSON with arrays beside it.

A frame is two 8-byte little-endian lengths (of what follows the first, and of the JSON text), the JSON text,
and the raw bytes of each array in order. In the JSON an array stands as `{"$array": [dtype, shape]}`.
Nothing is unpickled: a worker runs foreign code, and interpreters of different Python and NumPy versions must
understand each other.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from conformance.precision import dtype_named

_LENGTH = struct.Struct("<Q")


def encode(message: object) -> bytes:
    """Return `message` (JSON values and NumPy arrays) as one frame."""
    arrays: list[np.ndarray[Any, Any]] = []
    text = json.dumps(_flatten(message, arrays)).encode()
    body = [_LENGTH.pack(len(text)), text, *(array.tobytes() for array in arrays)]
    return b"".join([_LENGTH.pack(sum(map(len, body))), *body])


def take(buffer: bytearray) -> Any:
    """Remove the first whole frame from `buffer` and return its message; None where there is none yet."""
    if len(buffer) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
    if len(buffer) < end:
        return None
    body = io.BytesIO(buffer[_LENGTH.size : end])
    del buffer[:end]
    return _decode(body)


def send(stream: BinaryIO, message: object) -> None:
    """Write `message` as one frame and flush it."""
    stream.write(encode(message))
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Return the next frame's message. Raises `EOFError` where the stream ends before a whole frame."""
    _read(stream, _LENGTH.size)
    return _decode(stream)


def _decode(stream: BinaryIO) -> Any:
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    return _restore(json.loads(_read(stream, length)), stream)


def _flatten(value: object, arrays: list[np.ndarray[Any, Any]]) -> object:
    match value:
        case np.ndarray() | np.generic():
            array = np.asarray(value)
            arrays.append(array)
            return {"$array": [array.dtype.name, list(array.shape)]}
        case Mapping():
            return {str(key): _flatten(item, arrays) for key, item in value.items()}
        case list() | tuple():
            return [_flatten(item, arrays) for item in value]
        case _:
            return value


def _restore(value: Any, stream: BinaryIO) -> Any:
    match value:
        case {"$array": [str(name), list(shape)]}:
            dtype = dtype_named(name)
            raw = _read(stream, dtype.itemsize * math.prod(shape))
            return np.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)
        case dict():
            return {key: _restore(item, stream) for key, item in value.items()}
        case list():
            return [_restore(item, stream) for item in value]
        case _:
            return value


def _read(stream: BinaryIO, size: int) -> bytes:
    parts = []
    while size:
        part = stream.read(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

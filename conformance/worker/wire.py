"""Frames between the run and its workers: JSON with arrays beside it.

A frame is two 8-byte little-endian lengths (of what follows the first, and of the JSON text), the JSON text,
and the raw bytes of each array in order. In the JSON an array stands as `{"$array": [dtype, shape]}`.
Nothing is unpickled: a worker runs foreign code, and interpreters of different Python and NumPy versions must
understand each other. Arrays travel in the byte order of the machine, whatever they had: their numbers stay.
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
#: Bytes of the largest frame that the run takes from a worker: four arrays of the largest input that a case may have.
FRAME_BYTES = 512 * 2**20
#: Axes that NumPy's arrays may have at most, in its every version.
_AXES = 32


class FrameError(ValueError):
    """What arrived is no frame."""


def encode(message: object) -> bytes:
    """Return `message` (JSON values and NumPy arrays) as one frame."""
    arrays: list[np.ndarray[Any, Any]] = []
    text = json.dumps(_flatten(message, arrays)).encode()
    raw = [_raw(array) for array in arrays]
    size = _LENGTH.size + len(text) + sum(part.nbytes for part in raw)
    return b"".join([_LENGTH.pack(size), _LENGTH.pack(len(text)), text, *raw])


def take(buffer: bytearray) -> Any:
    """Remove the first whole frame from `buffer` and return its message; None where there is none yet.

    Raises `FrameError` where what is there is no frame, or the beginning of one that is too large.
    """
    if len(buffer) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack_from(buffer)
    if size > FRAME_BYTES:
        raise FrameError(f"a frame of {size:,} bytes, over the limit of {FRAME_BYTES:,}")
    end = _LENGTH.size + size
    if len(buffer) < end:
        return None
    body = io.BytesIO(buffer[_LENGTH.size : end])
    del buffer[:end]
    try:
        message = _decode(body)
    except EOFError as error:
        raise FrameError("a frame that ends within its arrays") from error
    except RecursionError as error:
        raise FrameError("a frame that nests too deep") from error
    except (ValueError, TypeError) as error:
        raise FrameError(f"a frame that cannot be read: {error}") from error
    if body.read(1):
        raise FrameError("a frame with more than its arrays")
    return message


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


def _raw(array: np.ndarray[Any, Any]) -> memoryview:
    """Return the bytes of an array in order, without a copy where they lie so already."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(native).reshape(-1).view(np.uint8).data


def _restore(value: Any, stream: BinaryIO) -> Any:
    match value:
        case {"$array": [str(name), list(shape)]}:
            dtype = dtype_named(name)
            sizes = all(type(size) is int and size >= 0 for size in shape) and len(shape) <= _AXES
            if not sizes or dtype.hasobject or not dtype.itemsize:
                raise FrameError(f"an array of {name[:40]!r} and shape {str(shape)[:80]}")
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
        part = stream.read(min(size, FRAME_BYTES))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

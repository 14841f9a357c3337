"""Messages in the wire format of protocol buffers, as far as ONNX files need it: varints, floats, and nested bytes.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

from conformance.errors import UsageError

#: A field: its number, and an integer, a 32-bit float, or bytes (a text, packed numbers, a nested message).
Field: TypeAlias = tuple[int, int | float | bytes]
_VARINT, _BYTES, _FIXED32 = 0, 2, 5


def message(*fields: Field) -> bytes:
    """Return a message with those fields, in that order."""
    return b"".join(_encoded(number, value) for number, value in fields)


def text(number: int, value: str) -> Field:
    """Return a field with a text."""
    return number, value.encode()


def _encoded(number: int, value: float | bytes) -> bytes:
    if isinstance(value, bytes):
        return _varint(number << 3 | _BYTES) + _varint(len(value)) + value
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _FIXED32) + struct.pack("<f", value)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message, fixed-size ones as bytes. Raises `UsageError` where it is none."""
    position = 0
    while position < len(content):
        key, position = _read_varint(content, position)
        match key & 7:
            case 0:
                value, position = _read_varint(content, position)
                yield key >> 3, value
                continue
            case 2:
                size, position = _read_varint(content, position)
            case 1:
                size = 8
            case 5:
                size = 4
            case kind:
                raise UsageError(f"no protocol buffer: wire type {kind}")
        if position + size > len(content):
            raise UsageError("no protocol buffer: a field is longer than the rest")
        yield key >> 3, content[position : position + size]
        position += size


def varints(content: bytes) -> Iterator[int]:
    """Yield packed integers."""
    position = 0
    while position < len(content):
        value, position = _read_varint(content, position)
        yield value


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise UsageError("no protocol buffer: an integer does not end")

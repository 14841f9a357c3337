"""Frames carry JSON values and arrays without losing a bit, over streams that give a part at a time."""

from __future__ import annotations

import io
import json
import math
import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from conformance.precision import dtype_named
from conformance.worker import wire

RANDOM = np.random.default_rng(1)


def back(message: object) -> Any:
    return wire.take(bytearray(wire.encode(message)))


@pytest.mark.parametrize(
    "array",
    [
        RANDOM.normal(size=(2, 3)),
        RANDOM.normal(size=(4,)).astype(np.float32),
        RANDOM.normal(size=(2, 2)).astype(np.float16),
        RANDOM.normal(size=(3,)).astype(ml_dtypes.bfloat16),
        np.array(7.5, np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros((3, 0), ml_dtypes.bfloat16),
        np.array([math.nan, math.inf, -0.0, 1e-45], np.float32),
        np.arange(24.0).reshape(2, 3, 4)[:, ::2, ::-1],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([1, 2**63 - 1]),
        np.array([True, False]),
    ],
    ids=lambda array: f"{array.dtype}-{'x'.join(map(str, array.shape))}",
)
def test_an_array_comes_back_with_its_dtype_shape_and_bits(array: np.ndarray[Any, Any]) -> None:
    found = back({"a": array})["a"]
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


#: What a message may hold: JSON values, and arrays of any dtype, shape, order and stride.
PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=5)
ARRAYS = arrays(
    st.sampled_from(["<f8", "<f4", "<f2", "<i8", "<i4", "|b1", ml_dtypes.bfloat16]),
    array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    elements=st.integers(0, 1),
).map(lambda array: array.T[..., ::-1] if array.ndim else array)
MESSAGES = st.recursive(
    PLAIN | ARRAYS,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=4), part, max_size=4),
    max_leaves=12,
)


def alike(one: Any, other: Any) -> bool:
    match one:
        case np.ndarray():
            same = isinstance(other, np.ndarray) and (one.dtype, one.shape) == (other.dtype, other.shape)
            return same and one.tobytes() == other.tobytes()
        case list():
            return len(one) == len(other) and all(map(alike, one, other))
        case dict():
            return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
        case float():
            return struct.pack("<d", one) == struct.pack("<d", other) or (math.isnan(one) and math.isnan(other))
        case _:
            return type(one) is type(other) and one == other


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(MESSAGES)
def test_every_message_comes_back_as_it_was(message: object) -> None:
    assert alike(message, back(message))


def test_an_array_that_came_back_may_be_written_to() -> None:
    found = back([np.zeros(3)])[0]
    found[0] = 1.0
    assert found.tolist() == [1, 0, 0]


def test_a_numpy_number_comes_back_as_an_array_without_axes() -> None:
    found = back({"a": np.float32(0.1)})["a"]
    assert (found.shape, found.dtype, found[()]) == ((), np.float32, np.float32(0.1))


def test_several_arrays_keep_their_places() -> None:
    message = {"b": [np.array([1.0]), {"c": np.array([2, 3])}], "a": np.array([4.0], np.float32), "d": "text"}
    found = back(message)
    assert [found["b"][0].tolist(), found["b"][1]["c"].tolist(), found["a"].tolist(), found["d"]] == [
        [1.0],
        [2, 3],
        [4.0],
        "text",
    ]


def test_plain_values_come_back_as_json_has_them() -> None:
    assert back({"a": (1, 2), "b": None, 3: "é\udc80"}) == {"a": [1, 2], "b": None, "3": "é\udc80"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.1, -0.0])
def test_a_number_comes_back_to_the_bit(value: float) -> None:
    assert struct.pack("<d", back([value])[0]) == struct.pack("<d", value)


def test_a_frame_is_two_lengths_the_text_and_the_raw_arrays() -> None:
    frame = wire.encode({"a": np.array([1.0], "<f4")})
    whole, length = struct.unpack_from("<QQ", frame)
    assert whole == len(frame) - 8
    assert json.loads(frame[16 : 16 + length]) == {"a": {"$array": ["float32", [1]]}}
    assert frame[16 + length :] == struct.pack("<f", 1.0)


@pytest.mark.parametrize("size", range(len(wire.encode([np.zeros(2)]))))
def test_a_part_of_a_frame_is_no_message_yet(size: int) -> None:
    buffer = bytearray(wire.encode([np.zeros(2)])[:size])
    before = bytes(buffer)
    assert wire.take(buffer) is None
    assert bytes(buffer) == before


def test_frames_are_taken_one_by_one() -> None:
    buffer = bytearray(wire.encode(1) + wire.encode(2) + wire.encode(3)[:4])
    assert (wire.take(buffer), wire.take(buffer), wire.take(buffer)) == (1, 2, None)
    assert len(buffer) == 4


class Dripping(io.RawIOBase):
    """A stream that gives one byte at a time, as a pipe may."""

    def __init__(self, content: bytes) -> None:
        self.content = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        return self.content.read(min(size, 1))


def test_a_message_is_received_however_little_a_stream_gives_at_a_time() -> None:
    stream: Any = Dripping(wire.encode({"a": np.arange(3.0)}) + wire.encode("next"))
    assert wire.receive(stream)["a"].tolist() == [0, 1, 2]
    assert wire.receive(stream) == "next"


@pytest.mark.parametrize("lost", [1, 9, 20])
def test_a_stream_that_ends_within_a_frame_is_at_its_end(lost: int) -> None:
    frame = wire.encode({"a": np.arange(3.0)})
    with pytest.raises(EOFError):
        wire.receive(io.BytesIO(frame[:-lost]))


def test_a_stream_that_ends_between_frames_is_at_its_end() -> None:
    with pytest.raises(EOFError):
        wire.receive(io.BytesIO())


def test_what_was_sent_is_received() -> None:
    stream = io.BytesIO()
    wire.send(stream, {"do": "cell"})
    stream.seek(0)
    assert wire.receive(stream) == {"do": "cell"}


def test_nothing_is_unpickled() -> None:
    with pytest.raises(TypeError):
        wire.encode({"a": object()})


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16"])
def test_a_dtype_is_known_by_its_name(name: str) -> None:
    assert dtype_named(name).name == name

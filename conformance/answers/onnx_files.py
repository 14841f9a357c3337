"""The layers of an ONNX model: the initializers of each BatchNormalization, and its attributes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from conformance.answers.protobuf import fields, varints
from conformance.answers.saved import Saved, Settings
from conformance.errors import UsageError
from conformance.precision import dtype_named

Array = np.ndarray[Any, np.dtype[Any]]

#: TensorProto.DataType, and the inputs of BatchNormalization beside the first.
_DTYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
_INPUTS = ("scale", "B", "input_mean", "input_var")


#: The attributes that configure it, and what each is where a node leaves it out.
_ATTRIBUTES = {"epsilon": 1e-5, "momentum": 0.9}


def decoded(content: bytes) -> Saved:
    """Return the parameters of every BatchNormalization, by the place of its node and the name of the input.

    Raises `UsageError` or `ValueError` where the content is no model.
    """
    graph = next((value for number, value in fields(content) if number == 7 and isinstance(value, bytes)), b"")
    initial = dict(_tensor(value) for number, value in fields(graph) if number == 5 and isinstance(value, bytes))
    arrays: dict[str, Array] = {}
    settings: dict[str, Settings] = {}
    for number, node in fields(graph):
        if number != 1 or not isinstance(node, bytes):
            continue
        parts = [(part, value) for part, value in fields(node) if isinstance(value, bytes)]
        inputs = [value.decode() for part, value in parts if part == 1]
        words = {part: value.decode() for part, value in parts if part in (2, 3, 4)}
        if words.get(4) != "BatchNormalization" or not all(name in initial for name in inputs[1:5]):
            continue
        place = (_shared(inputs[1:5]) or words.get(3) or words.get(2, "")).strip("/")
        arrays |= {f"{place}.{name}": initial[key] for name, key in zip(_INPUTS, inputs[1:5], strict=True)}
        given = dict(_attribute(value) for part, value in parts if part == 5)
        settings[place] = Settings(arguments={name: given.get(name, repr(_ATTRIBUTES[name])) for name in _ATTRIBUTES})
    return Saved(arrays=arrays, settings=settings)


def _attribute(content: bytes) -> tuple[str, str]:
    """Return the name of an attribute and its number as it was written: a float32 in as few digits as tell it."""
    values = dict(fields(content))
    name, number = values.get(1), values.get(2)
    text = str(np.float32(struct.unpack("<f", number)[0])) if isinstance(number, bytes) and len(number) == 4 else ""
    return name.decode() if isinstance(name, bytes) else "", text


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
    if dtype not in _DTYPES:
        return name, np.empty(0, np.float32)
    return name, np.frombuffer(data, dtype_named(_DTYPES[dtype])).reshape(shape)

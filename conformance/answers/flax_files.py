"""Flax's variables as its serialization packs them: nested mappings in MessagePack, each array as an extension of it.

https://flax.readthedocs.io/en/latest/api_reference/flax.serialization.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from conformance.precision import dtype_name, dtype_named

Array = np.ndarray[Any, np.dtype[Any]]

#: Flax's extension types of MessagePack: an array, and a scalar as an array.
_ARRAY, _SCALAR = 1, 3


def decoded(content: bytes) -> dict[str, Array]:
    """Return the arrays by the way to each: `batch_stats/norm/mean`. Raises `ValueError`."""
    return dict(_arrays(msgspec.msgpack.decode(content, ext_hook=_array), ""))


def encoded(arrays: Mapping[str, Array]) -> bytes:
    """Return the arrays as variables that `flax.serialization.from_bytes` takes."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *above, last = name.split("/")
        branch = tree
        for part in above:
            branch = branch.setdefault(part, {})
        packed = msgspec.msgpack.encode((array.shape, dtype_name(array.dtype), np.ascontiguousarray(array).tobytes()))
        branch[last] = msgspec.msgpack.Ext(_ARRAY, packed)
    return msgspec.msgpack.encode(tree)


def _arrays(tree: Any, place: str) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of a tree, each with the way to it: `batch_stats/norm/mean`."""
    match tree:
        case dict():
            for name, branch in tree.items():
                yield from _arrays(branch, f"{place}/{name}" if place else str(name))
        case np.ndarray():
            yield place, tree
        case _:
            pass


def _array(code: int, data: memoryview) -> Array | None:
    """Return an array as Flax packs it: its shape, the name of its dtype, and its bytes."""
    if code not in (_ARRAY, _SCALAR):
        return None
    shape, dtype, content = msgspec.msgpack.decode(data, type=tuple[tuple[int, ...], str, bytes])
    return np.frombuffer(content, dtype_named(dtype)).reshape(shape)

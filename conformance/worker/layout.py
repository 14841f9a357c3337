"""How an input lies in memory, by the words of the spec."""

from __future__ import annotations

from typing import Any

import numpy as np


def memory_of(name: str, configuration: Any) -> str:
    """Return how the array of that name lies in memory, in the words of the spec."""
    own = configuration.upstream_memory if name == "upstream" else None
    return str(own or configuration.memory)


def lay_out(array: np.ndarray[Any, Any], memory: str, feature_axes: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return the same values laid out in memory as the case says.

    "strided": every second element of a buffer twice as long in the last axis. "channels_last": the feature
    axes innermost, as a channels-last tensor keeps them under a features-first shape.
    """
    match memory:
        case "strided":
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            view = wide[..., ::2]
            view[...] = array
            return view
        case "channels_last":
            last = tuple(range(-len(feature_axes), 0))
            inner = np.ascontiguousarray(np.moveaxis(array, feature_axes, last))
            return np.moveaxis(inner, last, feature_axes)
        case _:
            return array

"""Faults in reading strided memory, and in writing to a caller's array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.faults.planting.layer import Layer, planted, rows


def layout_strides(array: Any) -> tuple[int, ...]:
    return np.empty(array.shape, array.dtype).strides


def misread(l: Layer, array: Any) -> Any:
    """The values as they follow one another in memory, whatever the strides."""
    return rows(l, np.lib.stride_tricks.as_strided(array, array.shape, layout_strides(array)))


def strided(l: Layer) -> bool:
    x = l.x
    return x is not None and x.ndim > 0 and x.strides[-1] == 2 * x.itemsize and x.shape[-1] > 1


def channels_last(l: Layer) -> bool:
    x = l.x
    return bool(
        x is not None
        and x.ndim > 2
        and 1 in l.configuration.feature_axes
        and x.strides[1] == x.itemsize < x.strides[-1]
    )


def written(name: str) -> Callable[..., Any]:
    """Write to the caller's array what the step has computed."""

    def write(l: Layer, quantities: Any) -> Any:
        target, source = {"input": (l.x, "output"), "upstream": (l.upstream, "grad_input")}[name]
        if l.kind == "train" and target is not None:
            target[...] = quantities[source]
        return quantities

    return write


# fmt: off
FAULTS = (
    planted("strided_misread", "Strided input is read as if it were contiguous.", "strided input misread", cases=("memory.strided-inference/rank-2", "memory.strided/features-last", "memory.strided/rank-2", "memory.strided-half/rank-2/bfloat16", "memory.strided-every-rank/rank-3-features-first"), when=strided, rows=misread),
    planted("channels_last_misread", "Channels-last input is read as if it were contiguous.", "strided input misread", cases=("memory.channels-last", "memory.channels-last-every-rank/rank-4", "memory.channels-last-every-rank/rank-3", "memory.channels-last-every-rank/rank-5", "memory.channels-last-half"), when=channels_last, rows=misread),
    planted("strided_upstream_misread", "A strided upstream gradient is read as if it were contiguous.", "strided upstream misread", cases=("memory.strided-inference/rank-2", "memory.strided/features-last", "memory.strided/rank-2", "memory.strided-half/rank-2/bfloat16", "memory.strided-every-rank/rank-3-features-first"), when=lambda l: strided(l) and l.backward, rows=misread),
    planted("input_overwritten", "The output is written into the caller's input.", "wrote to its caller's input", given=written("input")),
    planted("upstream_overwritten", "The input gradient is written into the caller's upstream gradient.", "wrote to its caller's upstream", given=written("upstream")),
)
# fmt: on

"""What is wrong of a layer that is folded into scale and shift of a narrower dtype, as for a convolution on a processor that has it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.operations.batch_norm.gradient_changes import transformed
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.situation import Situation
from conformance.precision import rounded

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]


def folded(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield that the output is s·x + t, where s = γr and t = β - γrμ, and all four are rounded to a narrower dtype."""
    for dtype in {"float32": ("bfloat16", "float16")}.get(base.configuration.dtype, ()):
        yield replace(
            base,
            cause=because("folded-in", dtype=dtype),
            only=frozenset({"output"}),
            representable=dtype,
            change_results=functools.partial(_folded, dtype),
        )


def _folded(dtype: str, situation: Situation, results: Results) -> Results:
    if "output" not in results or not situation.x.size:
        return {}
    right, healthy = results["output"], transformed(situation, results)
    with np.errstate(all="ignore"):
        slope = healthy.gamma * healthy.inverse_root
        offset = _in(dtype, healthy.beta - slope * healthy.center)
        sums = _in(dtype, situation.x) * _in(dtype, slope) + offset
        value = _in(dtype, sums)
        # The sum is made in float32: where that decides which way it is rounded, either is right.
        slack = 4 * 2.0**-24 * (np.abs(sums) + np.abs(offset))
        unfixed = np.abs(_in(dtype, sums + slack) - _in(dtype, sums - slack))
    bound = np.where(np.isfinite(unfixed), unfixed, 0).astype(np.float64)
    return {"output": replace(right, value=value, bound=bound, magnitude=np.full(value.shape, np.inf), narrower={})}


def _in(dtype: str, values: Array) -> Array:
    return rounded(values, dtype).astype(values.dtype)

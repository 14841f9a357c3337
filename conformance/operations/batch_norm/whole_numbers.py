"""What may go wrong with an input of whole numbers: something is computed in its own dtype, which cuts off or wraps around."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]


def dtypes(base: Hypothesis) -> tuple[str, ...]:
    """Return the dtypes in which an input of whole numbers may be computed: its own, and the one that JAX narrows it to."""
    given = base.configuration.input_dtype
    return () if given is None else tuple(dict.fromkeys((given, "int32")))


def squares(x: Array, dtype: str) -> Array:
    """Return squares of that dtype, which lose what is above its range."""
    return np.square(x.astype(np.int64)).astype(dtype).astype(x.dtype)


def cut(values: Array, dtype: str) -> tuple[Array, Array]:
    """Return numbers cut off to that dtype, and by how much those beyond its range may be off: what becomes of them is not fixed.

    They wrap around, or are the ends of the range, by library and by processor. A truth value is whether a number is not 0.
    """
    finite = np.where(np.isfinite(values), values, 0)
    if dtype == "bool":
        return np.asarray(finite != 0).astype(values.dtype), np.zeros(values.shape)
    ends = np.iinfo(dtype)
    whole = np.trunc(finite)
    held = np.clip(whole, ends.min, ends.max)
    return held.astype(values.dtype), np.where(held == whole, 0.0, float(ends.max) - float(ends.min))


def loosened(
    changed: Expected, right: Expected, of_squares: Array, mean: Array, roots: tuple[Array, Array]
) -> Expected:
    """Return the expectation of E[x²] - E[x]² with room for the digits that it loses.

    The error of the mean is multiplied by another root than the right one, and an error of some roundings of E[x²] + E[x]² in
    the variance is half of that, over the variance, in the root. A variance below 0, which is raised to it, has no such error.
    `roots` are the inverse roots, the new one first.
    """
    new, old = roots
    positive = of_squares > np.square(mean)
    with np.errstate(all="ignore"):
        lost = _ROUNDINGS * 2.0**-24 * (np.abs(of_squares) + np.square(mean)) * np.square(new) / 2
        lost = np.where(positive, lost, 0)
        bound = changed.bound + right.bound * np.maximum(1, new / old) + np.abs(changed.value) * lost
        largest = np.nan_to_num(np.abs(changed.value)).max(initial=0)
    bound = np.where(np.isfinite(bound), bound, changed.bound).astype(np.float64)
    # The terms are as large as what comes of them.
    return replace(changed, bound=bound, magnitude=np.maximum(changed.magnitude, float(largest)))


#: Of sums and squares in float32.
_ROUNDINGS = 32


def cut_off(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield that the output is cut off to whole numbers, or that gamma, beta or the state are before they are used."""
    dtype = base.configuration.input_dtype
    if dtype is None:
        return
    yield replace(
        base,
        cause=because("computed-in-integers", what="the output is", dtype=dtype),
        only=frozenset({"output"}),
        change_results=functools.partial(_output_cut, dtype),
    )
    learned = [name for name, on in (("gamma", base.configuration.scale), ("beta", base.configuration.center)) if on]
    for what, names in (("gamma and beta are", learned), ("moving values are", ["moving_mean", "moving_variance"])):
        yield replace(
            base,
            cause=because("computed-in-integers", what=what, dtype=dtype),
            only=frozenset({"output"}),
            change_situation=functools.partial(_state_cut, tuple(names)),
        )


def _output_cut(dtype: str, _: Situation, results: Results) -> Results:
    if "output" not in results:
        return {}
    right = results["output"]
    value, unfixed = cut(right.value, dtype)
    # Next to a whole number, rounding decides between two.
    near = np.abs(right.value - np.rint(right.value)) <= right.bound
    bound = np.where(near, 1 + right.bound, 0) + unfixed
    changed = replace(right, value=value, bound=bound.astype(np.float64), narrower={})
    return {"output": replace(changed, magnitude=np.full(value.shape, np.inf))}


def _state_cut(names: tuple[str, ...], situation: Situation) -> Situation | None:
    held = {name: np.trunc(situation.state[name]) for name in names if name in situation.state}
    return replace(situation, state={**situation.state, **held}) if held else None

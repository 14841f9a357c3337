"""What may go wrong with an input of whole numbers: something is computed in its own dtype, which cuts off or wraps around."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.operations.operation import Expected, Hypothesis, Situation

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]


def dtypes(base: Hypothesis) -> tuple[str, ...]:
    """Return the dtypes in which an input of whole numbers may be computed: its own, and the one that JAX narrows it to."""
    given = base.configuration.input_dtype
    return () if given is None else tuple(dict.fromkeys((given, "int32")))


def squares(x: Array, dtype: str) -> Array:
    """Return squares of that dtype, which lose what is above its range."""
    return np.square(x.astype(np.int64)).astype(dtype).astype(x.dtype)


def wrapped(values: Array, dtype: str) -> Array:
    """Return numbers cut off to that dtype, of which those beyond its range wrap around; a truth value is whether it is 0."""
    finite = np.where(np.isfinite(values), values, 0)
    if dtype == "bool":
        return (finite != 0).astype(values.dtype)
    return np.trunc(finite).astype(np.int64).astype(dtype).astype(values.dtype)


def saturated(values: Array, dtype: str) -> Array:
    """Return numbers cut off to that dtype, of which those beyond its range are the ends of it."""
    if dtype == "bool":
        return wrapped(values, dtype)
    ends = np.iinfo(dtype)
    return np.asarray(np.trunc(np.clip(np.nan_to_num(values), ends.min, ends.max)).astype(values.dtype))


def loosened(right: Expected, of_squares: Array, mean: Array, roots: tuple[Array, Array]) -> Expected:
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
        bound = right.bound * np.maximum(1, new / old) + np.abs(right.value) * lost
    return replace(right, bound=np.where(np.isfinite(bound), bound, right.bound).astype(np.float64))


#: Of sums and squares in float32.
_ROUNDINGS = 32
#: How a number becomes a whole one.
CASTS: tuple[Callable[[Array, str], Array], ...] = (wrapped, saturated)


def cut_off(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield that the output is cut off to whole numbers, or that gamma, beta or the state are before they are used."""
    dtype = base.configuration.input_dtype
    if dtype is None:
        return
    for cast in CASTS:
        yield replace(
            base,
            cause=because("computed-in-integers", what="the output is", dtype=dtype),
            only=frozenset({"output"}),
            change_results=functools.partial(_output_cut, cast, dtype),
        )
    learned = [name for name, on in (("gamma", base.configuration.scale), ("beta", base.configuration.center)) if on]
    for what, names in (("gamma and beta are", learned), ("moving values are", ["moving_mean", "moving_variance"])):
        yield replace(
            base,
            cause=because("computed-in-integers", what=what, dtype=dtype),
            only=frozenset({"output"}),
            change_situation=functools.partial(_state_cut, tuple(names)),
        )


def _output_cut(cast: Callable[[Array, str], Array], dtype: str, _: Situation, results: Results) -> Results:
    if "output" not in results:
        return {}
    return {"output": cut_to(results["output"], cast(results["output"].value, dtype))}


def cut_to(right: Expected, cut: Array) -> Expected:
    """Return the expectation of whole numbers in place of the right ones: no rounding is left, but near one that of another."""
    near = np.abs(right.value - np.rint(right.value)) <= right.bound
    bound = np.where(near, 1 + right.bound, 0)
    return replace(right, value=cut, bound=bound.astype(np.float64), magnitude=np.full(cut.shape, np.inf), narrower={})


def _state_cut(names: tuple[str, ...], situation: Situation) -> Situation | None:
    held = {name: np.trunc(situation.state[name]) for name in names if name in situation.state}
    return replace(situation, state={**situation.state, **held}) if held else None

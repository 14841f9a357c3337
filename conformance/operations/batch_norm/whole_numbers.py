"""What may go wrong with an input of whole numbers: something is computed in its own dtype, which cuts off or wraps around."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.operations.batch_norm.expectations import changed_to
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


def cut_off(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield that the output is cut off to whole numbers, or that gamma, beta or the state are before they are used."""
    dtype = base.configuration.input_dtype
    if dtype is None:
        return
    yield replace(
        base,
        cause=because("computed-in-integers", what="the output is", dtype=dtype),
        only=frozenset({"output"}),
        change_results=_output_cut,
    )
    learned = [name for name, on in (("gamma", base.configuration.scale), ("beta", base.configuration.center)) if on]
    for what, names in (("gamma and beta are", learned), ("moving values are", ["moving_mean", "moving_variance"])):
        yield replace(
            base,
            cause=because("computed-in-integers", what=what, dtype=dtype),
            only=frozenset({"output"}),
            change_situation=functools.partial(_state_cut, tuple(names)),
        )


def _output_cut(_: Situation, results: Results) -> Results:
    if "output" not in results:
        return {}
    right = results["output"]
    cut = np.where(np.isfinite(right.value), np.trunc(right.value), right.value)
    return {"output": changed_to(right, cut)}


def _state_cut(names: tuple[str, ...], situation: Situation) -> Situation | None:
    held = {name: np.trunc(situation.state[name]) for name in names if name in situation.state}
    return replace(situation, state={**situation.state, **held}) if held else None

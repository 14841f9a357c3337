"""The single changes of mean centering that known implementations have got wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.batch_norm.whole_numbers import cut_off, dtypes
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moving import moved, weights
from conformance.operations.situation import Situation
from conformance.operations.state_changes import state_changes
from conformance.precision import in_dtype, rounded
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

_MOVING = frozenset({"moving_mean"})
_PRODUCED = frozenset({"output", "grad_input"})


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses, the more telling first."""
    base = Hypothesis(configuration=configuration, dialect=dialect)
    yield from _moving(replace(base, only=_MOVING))
    yield from _center(replace(base, only=_PRODUCED))
    for dtype in {"float64": ("float32",), "float32": ("bfloat16", "float16")}.get(configuration.dtype, ()):
        yield replace(
            base, cause=because("input-rounded", dtype=dtype), change_situation=functools.partial(_input_in, dtype)
        )
    yield replace(base, cause=because("non-finite-left-out"), change_results=_finite_alone)
    for dtype in dtypes(base)[:1]:
        yield replace(
            base, cause=because("computed-in-integers", what="the mean is", dtype=dtype), change_results=_divided_down
        )
    yield from cut_off(base)
    yield from state_changes(base, (), {"moving_mean": 0.0})


def _moving(base: Hypothesis) -> Iterator[Hypothesis]:
    decay = base.configuration.decay
    yield base.configured(because("decay-inverted"), decay=1 - decay)
    yield base.in_dialect(because("moving-mean-not-updated"), update="none")
    yield base.configured(because("moving-mean-updated-twice"), decay=decay**2)
    yield base.configured(because("moving-mean-replaced-by-batch"), decay=0.0)
    yield base.in_dialect(because("first-batch-replaces-moving"), update="first_batch")
    yield base.in_dialect(because("cumulative-average"), update="cumulative")
    yield base.in_dialect(because("zero-debiased-average"), update="zero_debiased")
    for dtype in ("float16", "bfloat16", "float32"):
        yield base.configured(because("decay-rounded", dtype=dtype), decay=in_dtype(decay, dtype))
        yield base.configured(because("batch-weight-rounded", dtype=dtype), decay=1 - in_dtype(1 - decay, dtype))
    yield replace(base, cause=because("moving-updated-in-inference"), performed="train")
    yield replace(base, cause=because("empty-batch-averaged"), change_results=_nothing_averaged)


def _center(base: Hypothesis) -> Iterator[Hypothesis]:
    yield base.in_dialect(because("normalized-with-moving", when="before"), normalizes_with="moving_before")
    yield base.in_dialect(because("normalized-with-moving", when="after"), normalizes_with="moving_after")
    yield replace(base, cause=because("batch-statistics-in-inference"), performed="train")
    yield replace(base, cause=because("inference-in-training"), performed="infer", only=frozenset())
    yield replace(base, cause=because("mean-not-subtracted"), only=frozenset({"output"}), change_results=_uncentred)
    dtype = base.configuration.dtype
    for narrow in dict.fromkeys((dtype, "float32", "bfloat16", "float16")):
        yield replace(
            base,
            cause=because("mean-rounded", dtype=narrow),
            only=frozenset({"output"}),
            change_results=functools.partial(_mean_in, narrow),
        )

    def in_gradient(id_: str, change: Callable[[Array], Array]) -> Hypothesis:
        return replace(
            base,
            cause=because(id_),
            only=frozenset({"grad_input"}),
            change_results=functools.partial(_gradient, change),
        )

    yield in_gradient("mean-term-missing", lambda upstream: upstream)
    yield in_gradient("training-gradient-in-inference", lambda upstream: upstream - upstream.mean(axis=0))


def _input_in(dtype: str, situation: Situation) -> Situation | None:
    """Return the step with its input rounded; None where that would make an infinity of a finite value."""
    x = rounded(situation.x, dtype).astype(situation.x.dtype)
    return replace(situation, x=x) if np.array_equal(np.isfinite(x), np.isfinite(situation.x)) else None


def _divided_down(situation: Situation, results: Results) -> Results:
    """Return the centering by the mean rounded down; nothing in inference."""
    if "moving_mean" not in results or not situation.x.size:
        return {}
    mean = np.floor(situation.x.mean(axis=0))
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    values = {"output": situation.x - mean, "moving_mean": moved(situation.state["moving_mean"], mean, weight)}
    return {name: changed_to(results[name], value) for name, value in values.items() if name in results}


def _nothing_averaged(situation: Situation, results: Results) -> Results:
    """Return what the mean of no values, 0/0, leaves of an empty batch; nothing for any other."""
    if situation.x.size or "moving_mean" not in results:
        return {}
    right = results["moving_mean"]
    return {"moving_mean": replace(right, value=np.full_like(right.value, np.nan))}


def _uncentred(situation: Situation, results: Results) -> Results:
    return {"output": changed_to(results["output"], situation.x)} if "output" in results else {}


def _mean_in(dtype: str, situation: Situation, results: Results) -> Results:
    """Return x less the mean rounded to `dtype`: of values near the mean, little is left of the difference."""
    if "output" not in results or not situation.x.size:
        return {}
    mean = situation.x[0] - results["output"].value[0]
    center = rounded(np.asarray(mean), dtype).astype(situation.x.dtype)
    return {"output": changed_to(results["output"], situation.x - center)}


def _gradient(change: Callable[[Array], Array], situation: Situation, results: Results) -> Results:
    if "grad_input" not in results or situation.upstream is None or not situation.x.size:
        return {}
    return {"grad_input": changed_to(results["grad_input"], change(situation.upstream))}


def _finite_alone(situation: Situation, results: Results) -> Results:
    """Return the centering by the mean of the finite values; nothing where all are finite."""
    finite = np.isfinite(situation.x)
    if finite.all() or "moving_mean" not in results:
        return {}
    x = situation.x
    mean = np.where(finite, x, 0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, x.dtype.type)
    values = {
        "output": x - mean,
        "batch_mean": mean,
        "moving_mean": moved(situation.state["moving_mean"], mean, weight),
    }
    return {name: changed_to(results[name], value) for name, value in values.items() if name in results}

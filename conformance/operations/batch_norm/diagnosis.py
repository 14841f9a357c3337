"""The single changes of batch normalization that known implementations have got wrong.

Each is the reference with one thing changed: its configuration, its dialect, what a step starts from, or what
comes out of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from conformance.cause import UNSTABLE, Cause, because
from conformance.dialect import Dialect
from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.clipped_statistics import clipped_statistics
from conformance.operations.batch_norm.expectations import MOVING, changed_to
from conformance.operations.batch_norm.folded import folded
from conformance.operations.batch_norm.gradient_changes import gradients, transformed
from conformance.operations.batch_norm.moving_changes import moving_values
from conformance.operations.batch_norm.other_statistics import other_statistics
from conformance.operations.batch_norm.overflow import overflows
from conformance.operations.batch_norm.places import misplaced
from conformance.operations.batch_norm.whole_numbers import cut_off
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.situation import Situation
from conformance.operations.state_changes import state_changes
from conformance.precision import in_dtype, rounded
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

_PRODUCED = frozenset({"output", "grad_input", "grad_gamma", "grad_beta"})


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses, the more telling first: what explains nearly anything comes last."""
    base = Hypothesis(configuration=configuration, dialect=dialect)
    yield from overflows(base)
    yield from moving_values(base)
    yield from epsilons(base)
    yield from _normalizer(base)
    yield from gradients(base)
    yield from parameters(base)
    yield from cut_off(base)
    yield from clipped_statistics(base)
    yield from other_statistics(base)
    yield from misplaced(base)
    yield from _data(base)
    yield from folded(base)
    yield from state_changes(base, ("gamma", "beta"), {"moving_mean": 0.0, "moving_variance": 1.0})
    yield replace(base, cause=because(UNSTABLE), variance="one_pass", last=True)


def epsilons(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield what may have happened to epsilon, in every operation that has one."""
    epsilon, base = base.configuration.epsilon, replace(base, only=_PRODUCED)
    yield replace(
        base,
        cause=because("epsilon-outside-root"),
        change_situation=lambda situation: replace(situation, epsilon="outside"),
    )
    yield base.configured(because("epsilon-dropped"), epsilon=0.0)
    yield replace(
        base,
        cause=because("variance-clamped-to-epsilon"),
        change_situation=lambda situation: replace(situation, epsilon="floor"),
    )
    yield base.configured(because("epsilon-twice"), epsilon=2 * epsilon)
    yield base.configured(because("epsilon-squared"), epsilon=epsilon**2)
    yield base.configured(because("epsilon-clamped", least="1.001e-5"), epsilon=max(epsilon, 1.001e-5))
    yield base.configured(because("epsilon-fixed", value="1e-5"), epsilon=1e-5)
    for dtype in ("float16", "bfloat16"):
        yield base.configured(because("epsilon-rounded", dtype=dtype), epsilon=in_dtype(epsilon, dtype))


def _normalizer(base: Hypothesis) -> Iterator[Hypothesis]:
    base = replace(base, only=_PRODUCED)
    yield base.in_dialect(because("normalizing-correction", correction=1), normalizing_correction=1)
    yield base.in_dialect(because("normalized-with-moving", when="before"), normalizes_with="moving_before")
    yield base.in_dialect(because("normalized-with-moving", when="after"), normalizes_with="moving_after")
    yield replace(base, cause=because("batch-statistics-in-inference"), performed="train")
    # It leaves the moving values as well.
    yield replace(base, cause=because("inference-in-training"), performed="infer", only=frozenset())
    yield replace(base, cause=because("inference-one-update-late"), change_situation=_not_yet_updated)
    yield replace(base, cause=because("mean-not-subtracted"), change_results=_uncentred)


def _data(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield what may have happened to the input, and to the statistics that a step returns."""
    for dtype in {"float64": ("float32",), "float32": ("bfloat16", "float16")}.get(base.configuration.dtype, ()):
        yield replace(
            base, cause=because("input-rounded", dtype=dtype), change_situation=functools.partial(_input_in, dtype)
        )
    yield replace(
        base,
        cause=because("returned-variance-corrected"),
        only=frozenset({"batch_variance"}),
        change_results=_returned_corrected,
    )
    yield replace(
        base,
        cause=because("inverse-root-returned"),
        only=frozenset({"batch_variance"}),
        change_results=_inverse_root_returned,
    )


def _input_in(dtype: str, situation: Situation) -> Situation | None:
    """Return the step with its input rounded; None where that would make an infinity of a finite value."""
    x = rounded(situation.x, dtype).astype(situation.x.dtype)
    return replace(situation, x=x) if np.array_equal(np.isfinite(x), np.isfinite(situation.x)) else None


def _returned_corrected(situation: Situation, results: Results) -> Results:
    count = len(situation.x)
    if "batch_variance" not in results or count < 2:
        return {}
    right = results["batch_variance"]
    return {"batch_variance": changed_to(right, right.value * (situation.x.dtype.type(count) / (count - 1)))}


def _inverse_root_returned(situation: Situation, results: Results) -> Results:
    if "batch_variance" not in results or not len(situation.x):
        return {}
    root = reference.training(situation)[2].inverse_root
    # A variance of 0 has no size to which the bound of its root would be small.
    return {"batch_variance": replace(changed_to(results["batch_variance"], root), magnitude=np.abs(root))}


def parameters(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield what may have happened to gamma, beta and the upstream gradient, in every operation that has them."""

    def hypothesis(cause: Cause, change: Callable[[Mapping[str, Array]], Mapping[str, Array]]) -> Hypothesis:
        def change_situation(situation: Situation) -> Situation:
            return replace(situation, state={**situation.state, **change(situation.state)})

        return replace(base, cause=cause, change_situation=change_situation, only=_PRODUCED)

    def constant(name: str, value: float, state: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: np.full_like(state[name], value)}

    def neighbour(name: str, shift: int, state: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: np.roll(state[name], shift)}

    has = {name for name, on in (("gamma", base.configuration.scale), ("beta", base.configuration.center)) if on}
    for name, neutral in (("gamma", 1.0), ("beta", 0.0)):
        if name in has:
            yield hypothesis(because("parameter-ignored", parameter=name), functools.partial(constant, name, neutral))
            for shift in (1, -1):
                yield hypothesis(
                    because("parameter-of-neighbour", parameter=name), functools.partial(neighbour, name, shift)
                )
    if "gamma" in has:
        yield hypothesis(because("gamma-without-sign"), lambda state: {"gamma": np.abs(state["gamma"])})
    for dtype in ("float16", "bfloat16"):
        yield hypothesis(because("parameters-rounded", dtype=dtype), functools.partial(_parameters_in, has, dtype))
        yield replace(
            base,
            cause=because("upstream-rounded", dtype=dtype),
            change_situation=functools.partial(_upstream_in, dtype),
        )
    if len(has) == 2:
        yield hypothesis(
            because("gamma-and-beta-swapped"), lambda state: {"gamma": state["beta"], "beta": state["gamma"]}
        )
        yield hypothesis(because("beta-before-gamma"), lambda state: {"beta": state["beta"] * state["gamma"]})


def _not_yet_updated(situation: Situation) -> Situation:
    if situation.earlier is None:
        return situation
    before = {name: situation.earlier.state[name] for name in MOVING}
    return replace(situation, state={**situation.state, **before})


def _uncentred(situation: Situation, results: Results) -> Results:
    if not results.keys() & _PRODUCED or not situation.x.size:
        return {}
    healthy = transformed(situation, results)
    normalized = situation.x * healthy.inverse_root
    n = replace(healthy, deviation=situation.x, normalized=normalized, output=healthy.gamma * normalized + healthy.beta)
    values = {"output": n.output}
    if situation.upstream is not None:
        gradients = reference.gradients(n, situation.upstream, situation.x)
        values |= {"grad_input": gradients.input, "grad_gamma": gradients.gamma, "grad_beta": gradients.beta}
    return {name: changed_to(results[name], value) for name, value in values.items() if name in results}


def _parameters_in(names: set[str], dtype: str, state: Mapping[str, Array]) -> Mapping[str, Array]:
    return {name: rounded(state[name], dtype).astype(state[name].dtype) for name in names}


def _upstream_in(dtype: str, situation: Situation) -> Situation:
    if situation.upstream is None:
        return situation
    return replace(situation, upstream=rounded(situation.upstream, dtype).astype(situation.upstream.dtype))

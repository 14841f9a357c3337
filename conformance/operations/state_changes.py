"""What may go wrong in a step that computes no pass: a gradient step, a frozen layer, saving and loading."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.operations.batch_norm.expectations import changed_to, rounded_by
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis, StateStep
from conformance.precision import rounded

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]


def state_changes(base: Hypothesis, learned: Iterable[str], neutral: Mapping[str, float]) -> Iterator[Hypothesis]:
    """Yield the hypotheses about such steps.

    `learned` names what gradient steps move, `neutral` has what the operation's state is unless somebody sets it.
    """
    names = tuple(learned)
    if names:
        yield replace(base, cause=because("gradient-step-uphill"), change_state=_uphill)
        yield replace(base, cause=because("gradient-step-without-rate"), change_state=_without_rate)
        yield replace(base, cause=because("frozen-layer-learns"), change_state=_frozen_learns)
    for chosen in dict.fromkeys((*((name,) for name in names), names)):
        cause = because("parameter-not-moved", parameters=" and ".join(chosen))
        yield replace(base, cause=cause, only=frozenset(chosen), change_state=functools.partial(_stays, chosen))
    yield replace(base, cause=because("reload-starts-over"), change_state=_started_over)
    for dtype in ("bfloat16", "float16"):
        change = functools.partial(_loaded_in, dtype)
        yield replace(base, cause=because("reload-rounded", dtype=dtype), change_state=change)
    for name, value in neutral.items():
        change = functools.partial(_forgotten, name, value)
        yield replace(base, cause=because("reload-forgets", name=name), only=frozenset({name}), change_state=change)


def _uphill(step: StateStep, results: Results) -> Results:
    if step.kind != "sgd":
        return {}
    return {name: changed_to(results[name], 2 * step.before[name] - results[name].value) for name in step.gradients}


def _without_rate(step: StateStep, results: Results) -> Results:
    if step.kind != "sgd":
        return {}
    return {name: changed_to(results[name], step.before[name] - step.gradients[name]) for name in step.gradients}


def _frozen_learns(step: StateStep, results: Results) -> Results:
    """Return the parameters moved along the gradients that a layer would have were it not frozen."""
    if step.kind != "sgd" or not step.frozen:
        return {}
    # The right values are those before, to the bit: what is moved is rounded as a gradient step is.
    return {
        name: rounded_by(changed_to(results[name], step.before[name] - step.rate * gradient), step.before[name])
        for name, gradient in step.unfrozen_gradients.items()
        if name in results
    }


def _stays(names: tuple[str, ...], step: StateStep, results: Results) -> Results:
    if step.kind != "sgd":
        return {}
    return {name: changed_to(results[name], step.before[name]) for name in names if name in results}


def _started_over(step: StateStep, results: Results) -> Results:
    if step.kind != "reload":
        return {}
    return {name: changed_to(result, step.initial[name]) for name, result in results.items() if name in step.initial}


def _loaded_in(dtype: str, step: StateStep, results: Results) -> Results:
    if step.kind != "reload":
        return {}
    return {
        name: changed_to(result, rounded(result.value, dtype).astype(result.value.dtype))
        for name, result in results.items()
    }


def _forgotten(name: str, value: float, step: StateStep, results: Results) -> Results:
    if step.kind != "reload" or name not in results:
        return {}
    return {name: changed_to(results[name], np.full_like(results[name].value, value))}

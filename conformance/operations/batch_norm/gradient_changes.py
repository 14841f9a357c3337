"""The single changes of a batch normalization's gradients that known implementations have got wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from conformance.cause import Cause, because
from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.batch_norm.reference import Normalization
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]
#: From the transform, and from what the step gives.
_GradientChange = Callable[[Situation, Normalization, Results], Array]


def gradients(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield what may have happened to the gradients."""
    yield from _input_gradient(base)
    yield from _gradients_over_the_batch(base)
    yield from _gradients_of_other_steps(base)


def _input_gradient(base: Hypothesis) -> Iterator[Hypothesis]:
    changed = functools.partial(_gradient, base, "grad_input")
    yield changed(because("statistics-taken-for-constants"), lambda s, n, f: n.gamma * n.inverse_root * s.upstream)
    yield changed(because("mean-term-missing"), lambda s, n, f: f["grad_input"].value + _mean_term(s, n, f))
    yield changed(because("variance-term-missing"), lambda s, n, f: f["grad_input"].value + _variance_term(s, n, f))
    yield changed(
        because("training-gradient-in-inference"),
        lambda s, n, f: f["grad_input"].value - _mean_term(s, n, f) - _variance_term(s, n, f),
    )
    for of, root_variance in _OTHER_ROOTS.items():
        cause = because("gradient-with-another-root", of=of)
        change = functools.partial(_with_another_root, root_variance)
        yield replace(base, cause=cause, only=frozenset({"grad_input", "grad_gamma"}), change_results=change)
    yield changed(because("gamma-missing-from-input-gradient"), lambda s, n, f: f["grad_input"].value / n.gamma)


def transformed(situation: Situation, results: Results) -> Normalization:
    """Return how the step normalizes: a train step, which alone gives moving values, by the batch."""
    if "moving_mean" in results:
        return reference.training(situation)[2]
    return reference.inference(situation)


def _mean_term(situation: Situation, normalization: Normalization, results: Results) -> Array:
    """Return what the mean subtracts in the input gradient."""
    scale = normalization.gamma * normalization.inverse_root
    return np.asarray(scale * results["grad_beta"].value / len(situation.x))


def _variance_term(situation: Situation, normalization: Normalization, results: Results) -> Array:
    """Return what the variance subtracts in the input gradient."""
    scale = normalization.gamma * normalization.inverse_root * normalization.normalized
    return np.asarray(scale * results["grad_gamma"].value / len(situation.x))


def _gradients_over_the_batch(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield other sums than those that the gradients of gamma and beta are."""
    gamma = functools.partial(_gradient, base, "grad_gamma")
    yield gamma(because("gamma-gradient-not-normalized"), lambda s, n, f: (s.upstream * n.deviation).sum(axis=0))
    yield gamma(because("gamma-gradient-of-x"), lambda s, n, f: (s.upstream * s.x).sum(axis=0))
    averaged = because("beta-gradient-averaged")
    yield _gradient(base, "grad_beta", averaged, lambda s, n, f: f["grad_beta"].value / len(s.x))


def _gradients_of_other_steps(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield gradients of gamma and beta that are none of this step's, or not of it alone."""
    for learned, only in (("gamma", ["gamma"]), ("beta", ["beta"]), ("gamma and beta", ["gamma", "beta"])):
        learned_base = replace(base, only=frozenset(f"grad_{parameter}" for parameter in only))
        yield replace(
            learned_base, cause=because("learned-gradient-missing", learned=learned), change_results=_without_gradients
        )
        for kept, id_ in ((False, "learned-gradient-one-step-late"), (True, "learned-gradient-added-up")):
            change = functools.partial(_of_the_step_before, only, kept)
            yield replace(learned_base, cause=because(id_, learned=learned), change_results=change)


def _gradient(base: Hypothesis, quantity: str, cause: Cause, change: _GradientChange) -> Hypothesis:
    """Return the hypothesis that one gradient is another."""
    change_results = functools.partial(_with_gradient, quantity, change)
    return replace(base, cause=cause, change_results=change_results, only=frozenset({quantity}))


def _with_gradient(quantity: str, change: _GradientChange, situation: Situation, results: Results) -> Results:
    # A batch of single values that is passed on as it is has an input gradient alone.
    if not results.keys() >= {quantity, "grad_gamma", "grad_beta"} or situation.upstream is None:
        return {}
    if not situation.x.size:
        return {}
    changed = change(situation, transformed(situation, results), results)
    return {quantity: changed_to(results[quantity], changed)}


def _corrected_variance(situation: Situation) -> Array:
    return reference.corrected(reference.batch_statistics(situation.x), 1)


def _with_another_root(variance: Callable[[Situation], Array], situation: Situation, results: Results) -> Results:
    """Return the gradients of a train step whose backward pass takes another variance than the forward pass."""
    names = results.keys() & {"grad_input", "grad_gamma"}
    if "moving_mean" not in results or situation.upstream is None or len(situation.x) < 2:
        return {}
    forward = reference.training(situation)[2]
    inverse_root = 1 / reference.root(variance(situation), situation)
    backward = replace(forward, inverse_root=inverse_root, normalized=forward.deviation * inverse_root)
    gradients = reference.gradients(backward, situation.upstream, situation.x)
    values = {"grad_input": gradients.input, "grad_gamma": gradients.gamma}
    return {name: changed_to(results[name], values[name]) for name in names}


def _without_gradients(situation: Situation, results: Results) -> Results:
    del situation
    return {
        name: replace(results[name], value=0 * results[name].value)
        for name in ("grad_gamma", "grad_beta")
        if name in results
    }


def _of_the_step_before(names: Sequence[str], kept: bool, situation: Situation, results: Results) -> Results:
    """Return the gradients that the step before gave, alone or with this one's added."""
    if situation.earlier is None:
        return {}
    gradients = situation.earlier.gradients
    # What is not finite spreads, and shows nothing of where it is from.
    last = {name: gradients[name] for name in names if name in gradients and np.isfinite(gradients[name]).all()}
    return {
        f"grad_{name}": changed_to(results[f"grad_{name}"], value + results[f"grad_{name}"].value if kept else value)
        for name, value in last.items()
        if f"grad_{name}" in results
    }


#: What the root of the backward pass may be of, in place of the forward pass's variance.
_OTHER_ROOTS: dict[str, Callable[[Situation], Array]] = {
    "the variance with correction 1": _corrected_variance,
    "the moving variance before the step": lambda situation: situation.state["moving_variance"],
    "the moving variance after the step": lambda situation: reference.training(situation)[1][1],
}

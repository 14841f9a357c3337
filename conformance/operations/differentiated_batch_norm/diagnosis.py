"""The single changes that the further derivatives have been got wrong by, before those of batch normalization itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations.batch_norm.diagnosis import hypotheses as of_batch_norm
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.batch_norm.reference import Normalization, inference, total, training
from conformance.operations.differentiated_batch_norm.reference import MIXED, QUANTITIES, Derivatives, derivatives
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.situation import Situation
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]
#: From v, the transform and its derivatives.
Change = Callable[[Situation, Normalization, Derivatives], Array]

FORWARD = ("tangent_output", "second_grad_upstream")
#: What differentiates the forward derivative again.
OVER_FORWARD = ("forward_over_forward", "reverse_over_forward")


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses about the derivatives, then those that speak of any batch normalization."""
    base = Hypothesis(configuration=configuration, dialect=dialect)
    yield from _forward(base)
    yield from _second_input_gradient(base)
    yield from _second_gamma_gradient(base)
    for hypothesis in of_batch_norm(configuration, dialect):
        # What changes the step as a whole changes its derivatives as well.
        yield (
            replace(hypothesis, only=hypothesis.only | QUANTITIES)
            if "output" in hypothesis.only and hypothesis.change_results is None
            else hypothesis
        )


def _hypothesis(base: Hypothesis, quantities: Iterable[str], id_: str, change: Change) -> Hypothesis:
    """Return the hypothesis that these quantities are all the same other one."""
    names = tuple(quantities)
    change_results = functools.partial(_changed, names, change)
    return replace(base, cause=because(id_), change_results=change_results, only=frozenset(names))


def _forward(base: Hypothesis) -> Iterator[Hypothesis]:
    forward = functools.partial(_hypothesis, base, FORWARD)
    yield forward("statistics-taken-for-constants-forward", lambda s, n, d: _scale(n) * _v(s))
    yield forward(
        "mean-share-missing-forward",
        lambda s, n, d: d.values["tangent_output"] + _scale(n) * total(_v(s)) / len(s.x),
    )
    yield forward(
        "variance-share-missing-forward",
        lambda s, n, d: d.values["tangent_output"] + _scale(n) * n.normalized * d.a,
    )
    yield forward("gamma-missing-forward", lambda s, n, d: d.values["tangent_output"] / n.gamma)


def _second_input_gradient(base: Hypothesis) -> Iterator[Hypothesis]:
    second = functools.partial(_hypothesis, base, MIXED)
    yield second("second-input-gradient-missing", lambda s, n, d: 0 * s.x)
    yield second("second-input-gradient-negated", lambda s, n, d: -d.values["second_grad_input"])
    yield second(
        "second-gradient-root-constant",
        lambda s, n, d: -_scale(n) * n.inverse_root * (d.b * d.along + d.a * d.back),
    )
    yield second(
        "second-gradient-normalized-constant",
        lambda s, n, d: -_scale(n) * n.inverse_root * n.normalized * d.product,
    )
    yield second(
        "second-gradient-mean-constant",
        lambda s, n, d: d.values["second_grad_input"] - _scale(n) * n.inverse_root * d.b * total(_v(s)) / len(s.x),
    )
    yield second("second-input-gradient-halved", lambda s, n, d: d.values["second_grad_input"] / 2)
    yield replace(
        base,
        cause=because("saved-statistics-constant"),
        change_results=_saved_statistics_constant,
        only=frozenset(OVER_FORWARD),
    )


def _second_gamma_gradient(base: Hypothesis) -> Iterator[Hypothesis]:
    second = functools.partial(_hypothesis, base, ("second_grad_gamma",))
    yield second("second-gamma-gradient-missing", lambda s, n, d: 0 * n.gamma)
    yield second("second-gamma-gradient-times-gamma", lambda s, n, d: d.values["second_grad_gamma"] * n.gamma)
    yield second(
        "second-gamma-gradient-statistics-constant", lambda s, n, d: n.inverse_root * total(_v(s) * s.upstream)
    )


def _v(situation: Situation) -> Array:
    return situation.arrays["tangent"]


def _scale(n: Normalization) -> Array:
    return np.asarray(n.gamma * n.inverse_root)


def _saved_statistics_constant(situation: Situation, results: Results) -> Results:
    """Return the derivatives of γ((v - v̄)r - (x - μ)r²a), a = mean(v x̂), where μ and r follow nothing any more."""
    if situation.upstream is None or "moving_mean" not in results or not results.keys() >= {*OVER_FORWARD}:
        return {}
    n, v = training(situation)[2], _v(situation)
    d = derivatives(n, situation.upstream, v)
    centred, squared = v - total(v) / len(v), -_scale(n) * n.inverse_root
    values = {
        "forward_over_forward": squared * (d.a * v + n.normalized * total(centred * v) / len(v)),
        "reverse_over_forward": squared * (d.a * situation.upstream + d.b * centred),
    }
    return {name: changed_to(results[name], value, len(v)) for name, value in values.items()}


def _changed(quantities: tuple[str, ...], change: Change, situation: Situation, results: Results) -> Results:
    if situation.upstream is None or "tangent_output" not in results:
        return {}
    n = training(situation)[2] if "moving_mean" in results else inference(situation)
    value = change(situation, n, derivatives(n, situation.upstream, _v(situation)))
    return {name: changed_to(results[name], value, len(situation.x)) for name in quantities if name in results}

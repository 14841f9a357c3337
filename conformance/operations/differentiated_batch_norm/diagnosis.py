"""The single changes that the further derivatives have been got wrong by, before those of batch normalization itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations.batch_norm.changed import changed_to
from conformance.operations.batch_norm.diagnosis import hypotheses as of_batch_norm
from conformance.operations.batch_norm.reference import Normalization, inference, total, training
from conformance.operations.differentiated_batch_norm.reference import QUANTITIES, Derivatives, derivatives
from conformance.operations.operation import Expected, Hypothesis, Situation
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Found = dict[str, Expected]
#: From v, the transform and its derivatives.
Change = Callable[[Situation, Normalization, Derivatives], Array]

FORWARD = ("tangent_output", "second_grad_upstream")


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses about the derivatives, then those that speak of any batch normalization."""
    base = Hypothesis(name="", configuration=configuration, dialect=dialect)

    def changed(name: str, change: Change, *quantities: str) -> Hypothesis:
        came = functools.partial(_changed, quantities, change)
        return replace(base, name=name, changed=came, only=frozenset(quantities))

    forward, second = (*FORWARD,), ("second_grad_input",)
    yield changed(
        "statistics taken for constants by forward differentiation", lambda s, n, d: _scale(n) * _v(s), *forward
    )
    yield changed(
        "mean's share missing from forward differentiation",
        lambda s, n, d: d.values["tangent_output"] + _scale(n) * total(_v(s)) / len(s.x),
        *forward,
    )
    yield changed(
        "variance's share missing from forward differentiation",
        lambda s, n, d: d.values["tangent_output"] + _scale(n) * n.normalized * d.a,
        *forward,
    )
    yield changed(
        "gamma missing from forward differentiation", lambda s, n, d: d.values["tangent_output"] / n.gamma, *forward
    )
    yield changed("second gradient of the input missing", lambda s, n, d: 0 * s.x, *second)
    yield changed("second gradient of the input negated", lambda s, n, d: -d.values["second_grad_input"], *second)
    yield changed(
        "inverse root taken for a constant by the second gradient",
        lambda s, n, d: -_scale(n) * n.inverse_root * (d.b * d.along + d.a * d.back),
        *second,
    )
    yield changed(
        "normalized input taken for a constant by the second gradient",
        lambda s, n, d: -_scale(n) * n.inverse_root * n.normalized * d.product,
        *second,
    )
    yield changed(
        "mean taken for a constant of the variance by the second gradient",
        lambda s, n, d: d.values["second_grad_input"] - _scale(n) * n.inverse_root * d.b * total(_v(s)) / len(s.x),
        *second,
    )
    yield changed(
        "half of the second gradient of the input", lambda s, n, d: d.values["second_grad_input"] / 2, *second
    )
    yield changed("second gradient of gamma missing", lambda s, n, d: 0 * n.gamma, "second_grad_gamma")
    yield changed(
        "second gradient of gamma times gamma",
        lambda s, n, d: d.values["second_grad_gamma"] * n.gamma,
        "second_grad_gamma",
    )
    yield changed(
        "statistics taken for constants by the second gradient of gamma",
        lambda s, n, d: n.inverse_root * total(_v(s) * s.upstream),
        "second_grad_gamma",
    )
    for each in of_batch_norm(configuration, dialect):
        # What changes the step as a whole changes its derivatives as well.
        yield replace(each, only=each.only | QUANTITIES) if "output" in each.only and each.changed is None else each


def _v(situation: Situation) -> Array:
    return situation.arrays["tangent"]


def _scale(n: Normalization) -> Array:
    return np.asarray(n.gamma * n.inverse_root)


def _changed(quantities: tuple[str, ...], change: Change, situation: Situation, found: Found) -> Found:
    if situation.upstream is None or "tangent_output" not in found:
        return {}
    n = training(situation)[2] if "moving_mean" in found else inference(situation)
    value = change(situation, n, derivatives(n, situation.upstream, _v(situation)))
    return {name: changed_to(found[name], value, len(situation.x)) for name in quantities if name in found}

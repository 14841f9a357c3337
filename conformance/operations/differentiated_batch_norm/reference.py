"""The derivative of the output along a direction v, and the gradients of ⟨v, dx⟩: one function per clause of section 26.

With x̂ and r of the step, a = mean(v x̂), b = mean(g x̂), Pw = w - mean(w) - x̂ mean(w x̂), T = mean(v Pg):

    tangent_output = second_grad_upstream = γ r Pv           since the Jacobian is symmetric
    second_grad_gamma = r m T
    second_grad_input = -γ r² (x̂ T + b Pv + a Pg)            from dr/dx = -r² x̂/m, da/dx = r Pv/m, db/dx = r Pg/m
    forward_over_reverse = reverse_over_forward = second_grad_input      since the second derivatives are symmetric
    forward_over_forward = second_grad_input with v in the place of g

In inference, where x̂ and r follow nothing, Pw = w and the second gradient of the input is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations import batch_norm
from conformance.operations.batch_norm import terms
from conformance.operations.batch_norm.reference import Normalization, inference, total, training
from conformance.operations.differentiated_batch_norm import tolerance
from conformance.operations.expected import Expected
from conformance.operations.situation import Situation
from conformance.precision import Precision

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

#: The three orders of differentiating g's pullback dx along v that a Hessian's symmetry makes equal.
MIXED = ("second_grad_input", "forward_over_reverse", "reverse_over_forward")
#: The further derivatives that have the input's shape.
SHAPED = ("tangent_output", "second_grad_upstream", *MIXED, "forward_over_forward")
QUANTITIES = frozenset({*SHAPED, "second_grad_gamma"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Derivatives:
    """The derivatives of one step and what they are made of."""

    #: Pv and Pg, of shape (m, C).
    along: Array
    back: Array
    #: a, b and T, of shape (C,).
    a: Array
    b: Array
    product: Array
    values: Mapping[str, Array]


def derivatives(n: Normalization, upstream: Array, tangent: Array) -> Derivatives:
    """Return the derivatives of a step; where nothing follows the batch, those of inference."""
    wide, count = n.inverse_root.dtype, len(upstream)
    # A step's arrays beside its input come in the dtype of the case, whose sums are too narrow.
    upstream, tangent = upstream.astype(wide, copy=False), tangent.astype(wide, copy=False)
    follows = wide.type(1 if n.coupling else 0)
    a, b = follows * total(tangent * n.normalized) / count, follows * total(upstream * n.normalized) / count
    along = tangent - follows * total(tangent) / count - n.normalized * a
    back = upstream - follows * total(upstream) / count - n.normalized * b
    product = total(tangent * back) / count
    scale = n.gamma * n.inverse_root
    second = n.normalized * product + b * along + a * back
    values = {
        "tangent_output": scale * along,
        "second_grad_upstream": scale * along,
        "second_grad_gamma": n.inverse_root * count * product,
        "second_grad_input": -follows * scale * n.inverse_root * second,
    }
    return Derivatives(along=along, back=back, a=a, b=b, product=product, values=values)


def train(situation: Situation, worked: Precision) -> Results:
    """Return what one train step must give."""
    quantities = batch_norm.train(situation, worked)
    if not situation.x.size:
        return quantities
    with np.errstate(all="ignore"):
        return quantities | _further(situation, training(situation)[2], quantities, worked)


def infer(situation: Situation, worked: Precision) -> Results:
    """Return what one inference step must give."""
    quantities = batch_norm.infer(situation, worked)
    if not situation.x.size:
        return quantities
    with np.errstate(all="ignore"):
        return quantities | _further(situation, inference(situation), quantities, worked)


def _further(situation: Situation, n: Normalization, quantities: Results, worked: Precision) -> Results:
    tangent, upstream = situation.arrays.get("tangent"), situation.upstream
    if tangent is None or upstream is None:
        return {}
    in_domain = quantities["grad_input"].in_domain
    pulled = _expected(situation, n, upstream, in_domain, worked)
    along = _expected(situation, n, tangent, in_domain, worked)
    second = pulled["second_grad_input"]
    return pulled | dict.fromkeys(MIXED, second) | {"forward_over_forward": along["second_grad_input"]}


def _expected(situation: Situation, n: Normalization, upstream: Array, in_domain: Array, worked: Precision) -> Results:
    """Return the derivatives along v of what pulls that upstream gradient back, with their bounds."""
    tangent = situation.arrays["tangent"]
    derived = derivatives(n, upstream, tangent)
    names = [name for name in derived.values if name != "second_grad_gamma" or "gamma" in situation.state]
    sizes = tolerance.sizes(situation, n, upstream, tangent)
    limits = {
        grade: tolerance.bounds(sizes, derived.a, derived.b, derived.product, derived.values, algorithm)
        for grade, algorithm in tolerance.classes(situation, worked).items()
    }
    magnitudes = tolerance.magnitudes(sizes)
    return {
        name: Expected(
            value=derived.values[name],
            bound=limits[""][name],
            magnitude=magnitudes[name],
            in_domain=in_domain,
            narrower={grade: bounds[name] for grade, bounds in limits.items() if grade},
        )
        for name in names
    }


def train_terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    """Return the terms of one train step."""
    return {**terms.train_terms(situation), **_terms(situation, training)} if situation.x.size else {}


def infer_terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    """Return the terms of one inference step."""
    return {**terms.infer_terms(situation), **_terms(situation, lambda s: (inference(s),))} if situation.x.size else {}


def _terms(situation: Situation, performed: Any) -> Mapping[str, Mapping[str, Array]]:
    tangent, upstream = situation.arrays.get("tangent"), situation.upstream
    if tangent is None or upstream is None:
        return {}
    n = performed(situation)[-1]
    derived, own = (derivatives(replace(n, coupling=1.0), pull, tangent) for pull in (upstream, tangent))
    scale = n.gamma * n.inverse_root
    forward = {
        "γ·r·v": scale * tangent,
        "γ·r·mean(v)": scale * tangent.mean(axis=0),
        "γ·r·x̂·a": scale * n.normalized * derived.a,
    }
    squared = scale * n.inverse_root
    second = {
        "γ·r²·x̂·T": squared * n.normalized * derived.product,
        "γ·r²·b·Pv": squared * derived.b * derived.along,
        "γ·r²·a·Pg": squared * derived.a * derived.back,
    }
    return {
        "tangent_output": forward,
        "second_grad_upstream": forward,
        "second_grad_gamma": {
            "r·Σv·g": n.inverse_root * (tangent * upstream).sum(axis=0),
            "r·Σv·Pg": derived.values["second_grad_gamma"],
        },
        **dict.fromkeys(MIXED, second),
        "forward_over_forward": {
            "γ·r²·x̂·mean(v·Pv)": squared * n.normalized * own.product,
            "γ·r²·a·Pv": squared * own.a * own.along,
        },
    }

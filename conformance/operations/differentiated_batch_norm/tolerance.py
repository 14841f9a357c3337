"""How far rounding may take the further derivatives of a healthy batch normalization.

The model is that of `conformance.operations.batch_norm.tolerance`: any order of summation of height h, two passes or
Welford, centred or folded, each result the closed form or automatic differentiation, forward or reverse, of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.operations.batch_norm import tolerance
from conformance.operations.batch_norm.reference import Normalization
from conformance.operations.batch_norm.tolerance import EXACT, Algorithm, size
from conformance.operations.situation import Situation
from conformance.precision import Precision, theta

Array = np.ndarray[Any, np.dtype[Any]]
Float64 = np.ndarray[Any, np.dtype[np.float64]]

#: Roundings beside those of a sum that reach a summand: division, products with r, γ and 1/m, the sum of two sums.
_BESIDE = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Direction:
    """The sizes of v or g: its own, its mean's, that of its mean product with x̂, and with x and μ apart."""

    own: Float64
    mean: Float64
    #: |mean w|.
    sum: Float64
    product: Float64
    folded: Float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sizes:
    """What the bounds of a step are made of."""

    plain: tolerance.Sizes
    epsilon: float
    mean: Array
    variance: Array
    coupled: bool
    v: Direction
    g: Direction
    #: mean|v g|.
    both: Float64


def classes(situation: Situation, worked: Precision) -> dict[str, Algorithm]:
    """Return the widest class of algorithms, and for a grade that of two passes and pairwise sums."""
    count = len(situation.x)
    algorithms = {"": Algorithm(variance=situation.variance, worked=worked, height=max(0, count - 1))}
    if situation.graded:
        algorithms["A"] = Algorithm(
            variance="two_pass", worked=worked, height=math.ceil(math.log2(count)) if count > 1 else 0
        )
    return algorithms


def sizes(situation: Situation, n: Normalization, upstream: Array, tangent: Array) -> Sizes:
    """Return the sizes of a step."""
    plain = tolerance.sizes(situation, n)

    def direction(array: Array) -> Direction:
        own = size(array)
        folded = plain.inverse_root * ((own * plain.x).mean(axis=0) + plain.center * own.mean(axis=0))
        return Direction(
            own=own,
            mean=own.mean(axis=0),
            sum=size(array.mean(axis=0)),
            product=(own * plain.normalized).mean(axis=0),
            folded=folded,
        )

    v, g = direction(tangent), direction(upstream)
    return Sizes(
        plain=plain,
        epsilon=situation.configuration.epsilon,
        mean=n.center,
        variance=n.variance,
        coupled=bool(n.coupling),
        v=v,
        g=g,
        both=(v.own * g.own).mean(axis=0),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Errors:
    """The errors of what every derivative is made of."""

    u: float
    #: Of a mean, relative to that of the absolute summands.
    sum: float
    root: Array
    #: R, r with its error.
    inverse: Array
    #: Of x̂, shape (m, C).
    wobble: Array


def _errors(s: Sizes, algorithm: Algorithm) -> _Errors:
    """Return them: e_x̂ = Rδ + |x̂|ρ + 2u(|x̂| + Rδ) + 3uR(|x| + |μ| + δ), the last the folded form's."""
    u = algorithm.worked.unit
    bound = tolerance.statistics_bound(s.plain, s.mean, s.variance, algorithm) if s.coupled else EXACT
    root = tolerance.root_bound(s.variance, s.epsilon, bound, u)
    inverse = s.plain.inverse_root * (1 + root)
    shifted = inverse * bound.mean
    apart = 3 * u * inverse * (s.plain.x + s.plain.center + bound.mean)
    wobble = shifted + s.plain.normalized * root + 2 * u * (s.plain.normalized + shifted) + apart
    return _Errors(u=u, sum=theta(algorithm.height + _BESIDE, u), root=root, inverse=inverse, wobble=wobble)


def bounds(
    s: Sizes, a: Array, b: Array, product: Array, values: Mapping[str, Array], algorithm: Algorithm
) -> dict[str, Float64]:
    """Return the bounds by quantity; `docs/tolerances.md` derives them.

    δa = mean(|v| e_x̂) + θ(mean|v x̂| + mean|v| mean|x̂| + F_v), likewise δb, with θ = θ(h+8) and F the folded form's
    mean; the middle term is that of v - mean v taken before the product.
    δPv = θ mean|v| + |x̂| δa + e_x̂(|a| + δa) + 4u(|v| + |mean v| + |x̂ a|), likewise δPg.
    δT = θ(mean|vg| + mean|v| mean|g| + |a|(mean|g x̂| + F_g) + |b|(mean|v x̂| + F_v)) + mean(|v| δPg) + |b| δa.
    Each summand of the second gradient errs by its factors' errors, and by 8u and, through the mean that is
    subtracted, by θ of the mean of its size before terms cancel.
    """
    e, tiny, count = _errors(s, algorithm), algorithm.worked.tiny, len(s.plain.x)
    size_a, size_b, size_t = size(a), size(b), size(product)
    x, gamma = s.plain.normalized, s.plain.gamma
    if not s.coupled:
        return _inferred(s, e, values, tiny)
    error_a, error_b = (_product_error(side, s, e) + tiny for side in (s.v, s.g))
    along = _projected_error(s.v, size_a, error_a, x, e)
    back = _projected_error(s.g, size_b, error_b, x, e)
    mixed = s.both + s.v.mean * s.g.mean + size_a * (s.g.product + s.g.folded) + size_b * (s.v.product + s.v.folded)
    error_t = e.sum * mixed + (s.v.own * back).mean(axis=0) + size_b * error_a
    scale = gamma * e.inverse
    forward = scale * (along + tiny) + size(values["tangent_output"]) * (e.root + 6 * e.u) + 4 * tiny
    at_gamma = count * (e.inverse * (error_t + tiny) + s.plain.inverse_root * size_t * (e.root + 6 * e.u))
    own = x * mixed + size_b * (s.v.own + s.v.mean) + size_a * (s.g.own + s.g.mean)
    folded = 3 * e.u * e.inverse * (s.plain.x + s.plain.center) * mixed
    factors = (
        x * error_t
        + e.wobble * (size_t + error_t)
        + (size_b + error_b) * along
        + (size_a + error_a) * back
        + error_b * _projected(s.v, size_a, x)
        + error_a * _projected(s.g, size_b, x)
    )
    whole = factors + folded + 8 * e.u * own + e.sum * own.mean(axis=0)
    second = scale * e.inverse * (whole + tiny) + size(values["second_grad_input"]) * (2 * e.root + 8 * e.u) + 4 * tiny
    limits = {"tangent_output": forward, "second_grad_upstream": forward, "second_grad_gamma": at_gamma + 4 * tiny}
    return {
        name: np.asarray(limit, dtype=np.float64) for name, limit in {**limits, "second_grad_input": second}.items()
    }


def _product_error(w: Direction, s: Sizes, e: _Errors) -> Float64:
    """Return the bound on the error of mean(w x̂)."""
    level = s.plain.normalized.mean(axis=0)
    carried: Float64 = (w.own * e.wobble).mean(axis=0) + e.sum * (w.product + w.mean * level + w.folded)
    return carried


def _projected(w: Direction, product: Float64, x: Float64) -> Float64:
    """Return a size that |Pw| does not exceed."""
    return np.asarray(w.own + w.sum + x * product)


def _projected_error(w: Direction, product: Float64, error: Float64, x: Float64, e: _Errors) -> Float64:
    """Return the bound on the error of Pw = w - mean w - x̂ mean(w x̂)."""
    rounded = 4 * e.u * (w.own + w.sum + x * product)
    return np.asarray(e.sum * w.mean + x * error + e.wobble * (product + error) + rounded)


def _inferred(s: Sizes, e: _Errors, values: Mapping[str, Array], tiny: float) -> dict[str, Float64]:
    """Return the bounds of inference: products alone, of which none follows the input."""
    forward = size(values["tangent_output"]) * (e.root + 4 * e.u) + 4 * tiny
    at_gamma = len(s.plain.x) * (s.plain.inverse_root * s.both * (e.sum + e.root) + 4 * tiny)
    none = np.zeros_like(forward)
    return {
        "tangent_output": forward,
        "second_grad_upstream": forward,
        "second_grad_gamma": at_gamma,
        "second_grad_input": none,
    }


def magnitudes(s: Sizes) -> dict[str, Float64]:
    """Return the size of the terms that each quantity is made of."""
    forward = s.plain.gamma * s.plain.inverse_root * s.v.own.max(axis=0, initial=0)
    at_gamma = len(s.plain.x) * s.plain.inverse_root * (s.both + s.v.mean * s.g.mean)
    strongest = s.v.own.max(axis=0, initial=0) * s.g.own.max(axis=0, initial=0)
    second = (
        s.plain.gamma * s.plain.inverse_root**2 * strongest * np.maximum(1, s.plain.normalized.max(axis=0, initial=0))
    )
    return {
        "tangent_output": forward,
        "second_grad_upstream": forward,
        "second_grad_gamma": at_gamma,
        "second_grad_input": second if s.coupled else np.full(second.shape, np.inf),
    }

"""How far rounding may take a normalization by statistics of each sample: `docs/tolerances.md`, section 10.3.

A group's statistics, its root and what goes through them are bounded as those of a feature of batch normalization are;
what differs is that gamma and beta vary within a group, and that their gradients add up what many groups give.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.operations.batch_norm import tolerance as of_batch
from conformance.operations.batch_norm.reference import Gradients as OfBatch
from conformance.operations.batch_norm.reference import Normalization
from conformance.operations.batch_norm.tolerance import Algorithm, Sizes, StatisticsBound, size
from conformance.operations.sample_norm.groups import Kind
from conformance.operations.sample_norm.reference import Gradients, Numbers
from conformance.operations.situation import Situation
from conformance.precision import precision, theta

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bounded:
    """A pass whose statistics and root are bounded, for a class of implementations."""

    kind: Kind
    numbers: Numbers
    situation: Situation
    sizes: Sizes
    statistics: StatisticsBound
    #: ρ, the bound on the relative error of what x - c is multiplied by.
    root: Array
    algorithm: Algorithm


def bounds(kind: Kind, numbers: Numbers, situation: Situation, algorithm: Algorithm) -> dict[str, Array]:
    """Return the bound of each quantity: output and input gradient by group, (k, R), the others (C,)."""
    sizes = sizes_of(kind, numbers)
    statistics = _statistics(kind, numbers, sizes, situation, algorithm)
    bounded = _Bounded(
        kind=kind,
        numbers=numbers,
        situation=situation,
        sizes=sizes,
        statistics=statistics,
        root=_root(numbers, situation, statistics, algorithm.worked.unit),
        algorithm=algorithm,
    )
    normalized = _normalized(bounded)
    if numbers.gradients is None:
        return {"output": _output(bounded, normalized)}
    return {
        "output": _output(bounded, normalized),
        "grad_input": _input(bounded, numbers.gradients),
        **_learned(bounded, numbers.gradients, normalized),
    }


def _normalized(b: _Bounded) -> Array:
    """Return E, the bound on x̂: that of an output without gamma and beta, and one rounding more where it is cast."""
    plain = replace(b.sizes, gamma=np.ones(()), beta=np.zeros(()), output=b.sizes.normalized)
    limit = of_batch.output_bound(plain, b.root, b.statistics, b.algorithm.worked)
    cast = _cast(b.situation)
    if not cast:
        return limit
    return limit + cast * (b.sizes.normalized + limit) + cast * precision(b.situation.configuration.dtype).tiny


def _output(b: _Bounded, normalized: Array) -> Array:
    """Return the bound on y; of an x̂ that is cast |γ|E + u|y|, where the storage of y adds its product's rounding.

    Where beta is added, the product is rounded apart from the sum.
    """
    cast = _cast(b.situation)
    if not cast:
        return of_batch.output_bound(b.sizes, b.root, b.statistics, b.algorithm.worked)
    apart = cast * (b.sizes.normalized + normalized) if b.situation.configuration.center else 0.0
    return np.asarray(b.sizes.gamma * (normalized + apart) + b.algorithm.worked.unit * b.sizes.output)


def sizes_of(kind: Kind, n: Numbers) -> Sizes:
    """Return what the bounds of a pass are made of, by group."""
    x = size(n.x)
    count = max(1, len(x))
    pull = None if n.gradients is None else size(n.gradients.pull)
    total = None
    if pull is not None:
        # Where no mean is subtracted, nothing goes through the sum of the upstream gradient.
        total = pull.sum(axis=0) if kind.centred else np.zeros(pull.shape[1])
    return Sizes(
        x=x,
        level=x.sum(axis=0) / count,
        largest=x.max(axis=0, initial=0),
        normalized=size(n.normalized),
        output=size(n.output),
        gamma=size(n.gamma),
        beta=size(n.beta),
        center=size(n.center),
        inverse_root=size(n.inverse_root),
        pull=pull,
        total=total,
    )


def _statistics(kind: Kind, n: Numbers, sizes: Sizes, situation: Situation, algorithm: Algorithm) -> StatisticsBound:
    """Return the bounds on center and variance; of a mean square θ(h+3)q + 2t, a sum of squares that loses nothing."""
    worked, count = algorithm.worked, len(n.x)
    if not kind.centred:
        either = theta(algorithm.height + 3, worked.unit) * size(n.variance) + 2 * worked.tiny
        return StatisticsBound(mean=np.zeros(()), above=either, below=either)
    correction = situation.dialect.normalizing_correction
    corrects = bool(correction) and count > 1
    plain = n.variance / n.bessel if corrects else n.variance
    bound = of_batch.statistics_bound(sizes, n.center, plain, algorithm)
    return of_batch.corrected(bound, count / (count - 1), plain, worked.unit) if corrects else bound


def _root(n: Numbers, situation: Situation, bound: StatisticsBound, u: float) -> Array:
    """Return ρ. With epsilon outside the root: that of the root alone, epsilon, the sum and the reciprocal rounded.

    One rounding more where 1 + γ is formed, which scales as the root does.
    """
    outside = situation.configuration.options.get("epsilon") == "outside"
    epsilon = 0.0 if outside else situation.configuration.epsilon
    root = of_batch.root_bound(n.variance, epsilon, bound, u)
    further = 3 * outside + bool(situation.configuration.options.get("unit_offset"))
    # One over an infinite root is 0 and takes no rounding: clause 29.7.
    return np.where(np.isposinf(n.variance), 0.0, root + further * u * (1 + root))


def _input(b: _Bounded, g: Gradients) -> Array:
    """Return the bound on dx: that of batch normalization with the upstream gradient ĝ, and what the roundings of ĝ cost.

    A ĝ off by ν|ĝ| moves dx by at most ν r'(|ĝ| + Σ|ĝ|/k + 2|x̂| Σ|ĝx̂|/k).
    """
    n, sizes, root = b.numbers, b.sizes, b.root
    assert sizes.pull is not None
    assert sizes.total is not None
    u, count, options = b.algorithm.worked.unit, max(1, len(n.x)), b.situation.configuration.options
    limit = of_batch.gradients_bound(
        replace(sizes, gamma=np.ones(()), beta=np.zeros(())),
        _as_of_batch(n),
        OfBatch(beta=g.level, gamma=g.slope, input=g.input, own=n.normalized),
        root,
        b.statistics,
        b.algorithm,
    ).input
    inverse = sizes.inverse_root * (1 + root)
    products = (sizes.pull * sizes.normalized).sum(axis=0)
    rounded = u + _cast(b.situation) + u * bool(options.get("unit_offset"))
    limit = limit + rounded * inverse * (sizes.pull + sizes.total / count + 2 * sizes.normalized * products / count)
    if options.get("epsilon") != "outside":
        return np.asarray(limit)
    # The share that epsilon adds to what goes through the root is formed with a root of its own.
    further = (2 * root + 6 * u) * inverse * sizes.normalized * size(g.slope) / count
    return np.asarray(size(np.asarray(n.share)) * (limit + further))


def _as_of_batch(n: Numbers) -> Normalization:
    """Return each group as a feature of a batch, before gamma and beta."""
    return Normalization(
        gamma=np.ones(()),
        beta=np.zeros(()),
        center=n.center,
        variance=n.variance,
        coupling=1.0,
        bessel=n.bessel,
        merged=False,
        deviation=n.x,
        inverse_root=n.inverse_root,
        normalized=n.normalized,
        output=n.normalized,
    )


def _learned(b: _Bounded, g: Gradients, normalized: Array) -> dict[str, Array]:
    """Return the bounds on dγ and dβ, sums over the m values of a feature, whatever groups these are in.

    dβ: θ(h) Σ|g| + u|dβ| + t.   dγ: Σ|g|E + θ(h+3) Σ|g|(|x̂| + E) + u|dγ| + mt, E the bound on x̂.
    Where values of a feature share a group, Σgx and c·Σg may be formed apart: θ(h+4) Σ|g| r'(|x| + |c| + δ) more.
    """
    assert b.situation.upstream is not None
    n, u, tiny = b.numbers, b.algorithm.worked.unit, b.algorithm.worked.tiny
    pull = size(b.situation.upstream)
    count = len(pull)
    sequential = b.algorithm.height >= max(0, len(n.x) - 1)
    height = max(0, count - 1) if sequential else max(0, (count - 1).bit_length())
    error, reached = n.in_rows(normalized), n.in_rows(size(n.normalized))
    # A product of two numbers of the storage dtype is rounded to it.
    rounded = theta(height + 3, u) + _cast(b.situation)
    gamma = (pull * (error + rounded * (reached + error))).sum(axis=0)
    if b.kind.folds:
        folded = size(n.inverse_root) * (1 + b.root) * (size(n.x) + size(n.center) + b.statistics.mean)
        gamma = gamma + theta(height + 4, u) * (pull * n.in_rows(folded)).sum(axis=0)
    return {
        "grad_gamma": gamma + u * (size(g.gamma) + gamma) + count * tiny,
        "grad_beta": theta(height, u) * pull.sum(axis=0) + u * size(g.beta) + tiny,
    }


def _cast(situation: Situation) -> float:
    """Return the unit roundoff of the dtype to which x̂ is rounded before gamma meets it; 0 where it is not."""
    if situation.configuration.options.get("cast") != "before_gamma":
        return 0.0
    return precision(situation.configuration.dtype).unit

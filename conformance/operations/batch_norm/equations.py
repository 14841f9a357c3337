"""The equations of batch normalization with the numbers of one feature put in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.dialect import PassName
from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.reference import Normalization, Statistics
from conformance.operations.moving import weights
from conformance.operations.operation import Equation
from conformance.operations.situation import Situation
from conformance.operations.written import OUTPUTS, difference, factor, short, total, weighted

Array = np.ndarray[Any, np.dtype[Any]]

_NEUTRAL = (("gamma", 1.0), ("beta", 0.0))


def equations(situation: Situation, performs: PassName, feature: int) -> tuple[Equation, ...]:
    """Return the equations of the pass for one feature; none of an empty batch or of one that an API passes on."""
    one = alone(situation, feature)
    identity = len(one.x) == 1 and one.dialect.single_value == "identity" and performs == "train"
    if not len(one.x) or identity:
        return ()
    with np.errstate(all="ignore"):
        return tuple(_trained(one) if performs == "train" else _inferred(one))


def alone(situation: Situation, feature: int) -> Situation:
    """Return the situation of one feature, whose arrays have one column."""
    upstream = None if situation.upstream is None else situation.upstream[:, feature : feature + 1]
    return replace(
        situation,
        x=situation.x[:, feature : feature + 1],
        upstream=upstream,
        state={name: value[feature : feature + 1] for name, value in situation.state.items()},
    )


def implied(situation: Situation, feature: int, slope: float, offset: float) -> Mapping[str, float]:
    """Return the moving values of which inference makes slope·x + offset: V = (γ/slope)² - ε, M = (β - offset)/slope."""
    gamma, beta = (
        float(situation.state[name][feature]) if name in situation.state else neutral for name, neutral in _NEUTRAL
    )
    if not slope:
        return {"moving_mean": np.nan, "moving_variance": np.nan}
    variance = (gamma / slope) ** 2 - situation.configuration.epsilon
    return {"moving_mean": (beta - offset) / slope, "moving_variance": variance}


def _trained(one: Situation) -> Iterator[Equation]:
    statistics, after, normalization = reference.training(one)
    yield from _batch(one, statistics)
    yield from _transformed(one, normalization, of_batch=one.dialect.normalizes_with == "batch")
    yield from _moved(one, statistics, after)
    yield from _differentiated(one, normalization)


def _inferred(one: Situation) -> Iterator[Equation]:
    normalization = reference.inference(one)
    yield from _transformed(one, normalization, of_batch=False)
    yield from _differentiated(one, normalization)


def _batch(one: Situation, statistics: Statistics) -> Iterator[Equation]:
    x, mean, count = one.x[:, 0], float(statistics.mean[0]), statistics.count
    terms = [factor(value) for value in x]
    yield Equation(symbol="μ", numbers=f"({total(terms)})/{count}", value=mean)
    squares = [f"({difference(value, mean)})²" for value in x]
    variance = float(statistics.variance[0])
    yield Equation(symbol="σ²", numbers=f"({total(squares)})/{count}", value=variance)


def _transformed(one: Situation, n: Normalization, *, of_batch: bool) -> Iterator[Equation]:
    """Yield the root and the first few outputs."""
    center, variance = float(n.center[0]), float(n.variance[0])
    names = ("μ", "σ²") if of_batch else ("M", "V")
    if of_batch and one.dialect.normalizing_correction and len(one.x) > 1:
        count = len(one.x)
        uncorrected = variance * (count - 1) / count
        yield Equation(symbol="σ² corrected", numbers=f"{short(uncorrected)}·{count}/{count - 1}", value=variance)
    root = float(reference.root(n.variance, one)[0])
    under = f"{short(variance)} + {short(one.configuration.epsilon)}"
    yield Equation(symbol=f"√({names[1]} + ε)", numbers=f"√({under})", value=root)
    for position, symbol in enumerate(OUTPUTS[: len(one.x)]):
        numbers = f"({difference(one.x[position, 0], center)})/{short(root)}"
        if one.configuration.scale:
            numbers = f"{short(n.gamma[0])}·{numbers}"
        if one.configuration.center:
            numbers = f"{numbers} + {factor(n.beta[0])}"
        yield Equation(symbol=symbol, numbers=numbers, value=float(n.output[position, 0]))


def _moved(one: Situation, statistics: Statistics, after: tuple[Array, Array]) -> Iterator[Equation]:
    first, second = weights(one.dialect, one.configuration.decay, one.trained, one.x.dtype.type)
    weight = float(first), float(second)
    old = tuple(float(one.state[name][0]) for name in ("moving_mean", "moving_variance"))
    mean, count = float(statistics.mean[0]), statistics.count
    entering = float(reference.moving_variance_batch(one, statistics)[0])
    yield Equation(symbol="M after", numbers=weighted(weight, old[0], mean), value=float(after[0][0]))
    if one.dialect.moving_correction and count > 1:
        numbers = f"{short(statistics.variance[0])}·{count}/{count - 1}"
        yield Equation(symbol="σ² that enters V", numbers=numbers, value=entering)
    numbers = weighted(weight, old[1], entering)
    if one.dialect.update == "merge" and one.trained:
        numbers += f" + {short(weight[0] * weight[1])}·({difference(old[0], mean)})²"
    yield Equation(symbol="V after", numbers=numbers, value=float(after[1][0]))


def _differentiated(one: Situation, n: Normalization) -> Iterator[Equation]:
    """Yield the gradients: those of the parameters, and that of the first value, where the formula is the canonical one."""
    if one.upstream is None:
        return
    gradients = reference.gradients(n, one.upstream, one.x)
    g, count = one.upstream[:, 0], len(one.x)
    beta, gamma = float(gradients.beta[0]), float(gradients.gamma[0])
    yield Equation(symbol="dβ", numbers=total([factor(value) for value in g]), value=beta)
    products = [f"{factor(slope)}·{factor(value)}" for slope, value in zip(g, n.normalized[:, 0], strict=True)]
    yield Equation(symbol="dγ", numbers=total(products), value=gamma)
    scale = f"{short(n.gamma[0])}·{short(n.inverse_root[0])}"
    if not n.coupling:
        yield Equation(symbol="dx₁", numbers=f"{scale}·{factor(g[0])}", value=float(gradients.input[0, 0]))
    elif n.coupling == 1 and n.bessel == 1:
        through = f"{short(g[0])} - {factor(beta)}/{count} - {factor(n.normalized[0, 0])}·{factor(gamma)}/{count}"
        yield Equation(symbol="dx₁", numbers=f"{scale}·({through})", value=float(gradients.input[0, 0]))

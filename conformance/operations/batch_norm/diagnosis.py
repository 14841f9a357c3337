"""The single changes of batch normalization that known implementations have got wrong.

Each is the reference with one thing changed: its configuration, its dialect, what a step starts from, or what
comes out of it. A deviation is explained by the first that fits every deviating quantity within the bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.grade import UNSTABLE
from conformance.moving import moved, weights
from conformance.operation import Expected, Hypothesis, Situation
from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.reference import Normalization, Statistics
from conformance.protocol import Configuration
from conformance.recipe import rounded

Array = np.ndarray[Any, np.dtype[Any]]
Found = dict[str, Expected]

#: Roundings that a changed term may add, in units of its own size, which the reference's bound does not hold.
_EXTRA = 16


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses, the more telling first: what explains nearly anything comes last."""
    base = Hypothesis(name="", configuration=configuration, dialect=dialect)
    yield from _moving(base)
    yield from _epsilon(base)
    yield from _normalizer(base)
    yield from _gradients(base)
    yield from _parameters(base)
    yield from _statistics(base)
    yield replace(base, name=UNSTABLE, variance="one_pass")


def _config(base: Hypothesis, name: str, **fields: Any) -> Hypothesis:
    return replace(base, name=name, configuration=replace(base.configuration, **fields))


def _dialect(base: Hypothesis, name: str, **fields: Any) -> Hypothesis:
    return replace(base, name=name, dialect=replace(base.dialect, **fields))


def _moving(base: Hypothesis) -> Iterator[Hypothesis]:
    decay, other = base.configuration.decay, 1 - base.dialect.moving_correction
    moving = frozenset({"moving_mean", "moving_variance"})
    yield _dialect(base, f"moving correction {other}", moving_correction=other)
    yield _config(base, "decay inverted", decay=1 - decay)
    yield _dialect(base, "moving values not updated", update="none")
    yield _config(base, "moving values updated twice", decay=decay**2)
    yield _dialect(base, "first batch replaces the moving values", update="first_batch")
    yield _config(base, "moving values replaced by the batch's", decay=0.0)
    yield _dialect(base, "cumulative average", update="cumulative")
    yield _dialect(base, "zero-debiased average", update="zero_debiased")
    for said, count in (("samples", base.configuration.shape[0]), ("features", base.configuration.feature_count)):
        name = f"wrong count: the moving correction is of the {said}"
        yield replace(base, name=name, changed=functools.partial(_corrected_by, count))
    yield replace(base, name="standard deviations averaged", changed=_deviations_averaged)
    yield replace(base, name="moving values updated in inference", performed="train", only=moving)
    frozen = not base.dialect.frozen_implies_inference
    said = "frozen layer infers" if frozen else "frozen layer trains"
    yield _dialect(base, said, frozen_implies_inference=frozen)
    for dtype in ("float16", "bfloat16"):
        yield _config(base, f"decay rounded to {dtype}", decay=_rounded(decay, dtype))


def _epsilon(base: Hypothesis) -> Iterator[Hypothesis]:
    epsilon = base.configuration.epsilon
    yield replace(base, name="epsilon outside the root", given=lambda each: replace(each, epsilon="outside"))
    yield _config(base, "epsilon dropped", epsilon=0.0)
    yield replace(base, name="variance clamped to epsilon", given=lambda each: replace(each, epsilon="floor"))
    yield _config(base, "epsilon twice", epsilon=2 * epsilon)
    yield _config(base, "epsilon squared", epsilon=epsilon**2)
    yield _config(base, "epsilon clamped to 1.001e-5", epsilon=max(epsilon, 1.001e-5))
    yield _config(base, "epsilon 1e-5", epsilon=1e-5)
    for dtype in ("float16", "bfloat16"):
        yield _config(base, f"epsilon rounded to {dtype}", epsilon=_rounded(epsilon, dtype))


def _normalizer(base: Hypothesis) -> Iterator[Hypothesis]:
    yield _dialect(base, "normalizing correction 1", normalizing_correction=1)
    yield _dialect(base, "normalized with the moving values before the step", normalizes_with="moving_before")
    yield _dialect(base, "normalized with the moving values after the step", normalizes_with="moving_after")
    produced = frozenset({"output", "grad_input", "grad_gamma", "grad_beta"})
    yield replace(base, name="batch statistics in inference", performed="train", only=produced)
    yield replace(base, name="inference in training", performed="infer", only=produced)


def _parameters(base: Hypothesis) -> Iterator[Hypothesis]:
    def given(name: str, change: Callable[[Mapping[str, Array]], Mapping[str, Array]]) -> Hypothesis:
        def started(situation: Situation) -> Situation:
            return replace(situation, state={**situation.state, **change(situation.state)})

        return replace(base, name=name, given=started)

    def constant(name: str, value: float, of: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: np.full_like(of[name], value)}

    def neighbour(name: str, shift: int, of: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: np.roll(of[name], shift)}

    has = {name for name, on in (("gamma", base.configuration.scale), ("beta", base.configuration.center)) if on}
    for name, neutral in (("gamma", 1.0), ("beta", 0.0)):
        if name in has:
            yield given(f"{name} ignored", functools.partial(constant, name, neutral))
            for shift in (1, -1):
                yield given(f"{name} of the neighbour", functools.partial(neighbour, name, shift))
    if len(has) == 2:
        yield given("gamma and beta swapped", lambda of: {"gamma": of["beta"], "beta": of["gamma"]})
        yield given("beta added before gamma", lambda of: {"beta": of["beta"] * of["gamma"]})


def _gradients(base: Hypothesis) -> Iterator[Hypothesis]:
    def changed(name: str, quantity: str, change: Callable[[Situation, Normalization, Found], Array]) -> Hypothesis:
        def came(situation: Situation, found: Found) -> Found:
            if quantity not in found or situation.upstream is None or not situation.x.size:
                return {}
            normalization = _transform(situation, found)
            return {quantity: _with(found[quantity], change(situation, normalization, found))}

        return replace(base, name=name, changed=came, only=frozenset({quantity}))

    def mean(s: Situation, n: Normalization, found: Found) -> Array:
        return np.asarray(n.gamma * n.inverse_root * found["grad_beta"].value / len(s.x))

    def variance(s: Situation, n: Normalization, found: Found) -> Array:
        return np.asarray(n.gamma * n.inverse_root * n.normalized * found["grad_gamma"].value / len(s.x))

    def scaled(s: Situation, n: Normalization, found: Found) -> Array:
        return np.asarray(n.gamma * n.inverse_root * s.upstream)

    yield changed("statistics taken for constants", "grad_input", scaled)
    yield changed("mean term missing", "grad_input", lambda s, n, f: f["grad_input"].value + mean(s, n, f))
    yield changed("variance term missing", "grad_input", lambda s, n, f: f["grad_input"].value + variance(s, n, f))
    yield changed(
        "training's input gradient in inference",
        "grad_input",
        lambda s, n, f: f["grad_input"].value - mean(s, n, f) - variance(s, n, f),
    )
    yield changed(
        "gamma missing from the input gradient", "grad_input", lambda s, n, f: f["grad_input"].value / n.gamma
    )
    yield changed("gamma gradient not normalized", "grad_gamma", lambda s, n, f: (s.upstream * n.deviation).sum(axis=0))
    yield changed("gamma gradient of x", "grad_gamma", lambda s, n, f: (s.upstream * s.x).sum(axis=0))
    yield changed("beta gradient averaged", "grad_beta", lambda s, n, f: f["grad_beta"].value / len(s.x))


def _statistics(base: Hypothesis) -> Iterator[Hypothesis]:
    def changed(name: str, change: Callable[[Situation], Statistics]) -> Hypothesis:
        def came(situation: Situation, found: Found) -> Found:
            if "moving_mean" not in found or situation.x.shape[0] < 2:
                return {}
            return _from(situation, change(situation), found)

        return replace(base, name=name, changed=came)

    def without(situation: Situation, rows: slice) -> Statistics:
        configuration = situation.configuration
        # A row of the batch is as many rows here as it has positions.
        positions = max(1, len(situation.x) // max(1, configuration.shape[0]))
        cut = slice(None if rows.start is None else rows.start * positions, rows.stop and rows.stop * positions)
        left = situation.x[cut]
        return reference.batch_statistics(left if len(left) else situation.x)

    def in_half(dtype: str, situation: Situation) -> Statistics:
        exact = reference.batch_statistics(situation.x)
        mean, variance = (
            rounded(np.asarray(each), dtype).astype(situation.x.dtype) for each in (exact.mean, exact.variance)
        )
        return replace(exact, mean=mean, variance=variance)

    def over_one_more(situation: Situation) -> Statistics:
        exact = reference.batch_statistics(situation.x)
        return replace(exact, variance=exact.variance * (exact.count / (exact.count + 1)))

    yield changed("wrong count: one value more than there is", over_one_more)
    yield changed("tail dropped from the statistics", lambda each: without(each, slice(None, -1)))
    yield changed("head dropped from the statistics", lambda each: without(each, slice(1, None)))
    for dtype in ("float16", "bfloat16"):
        yield changed(f"statistics in {dtype}", functools.partial(in_half, dtype))


def _from(situation: Situation, statistics: Statistics, found: Found) -> Found:
    """Return what a train step gives from other statistics than the batch's, by the closed form."""
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    normalization = reference.normalize(situation, statistics.mean, statistics.variance, 1.0)
    values = {
        "batch_mean": statistics.mean,
        "batch_variance": statistics.variance,
        "moving_mean": moved(situation.state["moving_mean"], statistics.mean, weight),
        "moving_variance": moved(
            situation.state["moving_variance"],
            reference.corrected(statistics, situation.dialect.moving_correction),
            weight,
        ),
        "output": normalization.output,
    }
    if situation.upstream is not None:
        given = reference.gradients(normalization, situation.upstream, situation.x)
        values |= {"grad_input": given.input, "grad_gamma": given.gamma, "grad_beta": given.beta}
    return {name: _with(found[name], value) for name, value in values.items() if name in found}


def _transform(situation: Situation, found: Found) -> Normalization:
    if "moving_mean" in found:
        return reference.training(situation)[2]
    return reference.inference(situation)


def _with(expected: Expected, value: Array) -> Expected:
    """Return the expectation with another value, within the same bound and some roundings of the change."""
    change = np.abs(value - expected.value).astype(np.float64)
    return replace(expected, value=value, bound=expected.bound + _EXTRA * 2.0**-24 * change, narrower={})


def _deviations_averaged(situation: Situation, found: Found) -> Found:
    if "moving_variance" not in found or not situation.x.size:
        return {}
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    entering = reference.corrected(reference.batch_statistics(situation.x), situation.dialect.moving_correction)
    value = moved(np.sqrt(situation.state["moving_variance"]), np.sqrt(entering), weight) ** 2
    return {**found, "moving_variance": _with(found["moving_variance"], value)}


def _corrected_by(count: int, situation: Situation, found: Found) -> Found:
    """Return the moving variance with the factor n/(n - 1) of another count than that of the values."""
    if "moving_variance" not in found or not situation.x.size or count < 2:
        return {}
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    entering = reference.batch_statistics(situation.x).variance * (situation.x.dtype.type(count) / (count - 1))
    value = moved(situation.state["moving_variance"], np.asarray(entering), weight)
    return {**found, "moving_variance": _with(found["moving_variance"], value)}


def _rounded(value: float, dtype: str) -> float:
    return float(rounded(np.array([value]), dtype)[0])

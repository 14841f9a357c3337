"""Batch renormalization by exact rational arithmetic: the second reference of section 23 of `spec/semantics.md`.

It shares nothing with the first reference. Roots are those of `rational.inverse_root`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from conformance.operations import rational
from conformance.operations.batch_norm import rational as plain
from conformance.operations.rational import Feature, Numbers, Passes, Quantities, Rule, by_feature, summed


def train(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a train step."""
    if not feature.x:
        return _untouched(feature)
    mean, variance = rational.mean(feature.x), rational.variance(feature.x)
    inverse = rational.inverse_root(variance + rule.epsilon)
    # s = (σ²+ε)·(σ²+ε)^(-1/2), so that its error is that of the inverse; 0 where the sum is.
    spread = Fraction(0) if inverse is None else (variance + rule.epsilon) * inverse
    quantities: Quantities = {
        "batch_mean": [mean],
        "batch_variance": [variance],
        **_averages(feature, rule, mean, spread),
    }
    correction = _correction(feature, rule, mean, spread)
    if inverse is None or correction is None:
        lost = {"output": None} if feature.upstream is None else {"output": None, "grad_input": None}
        return {**quantities, **lost}
    return {**quantities, **_transformed(feature, mean, inverse, *correction)}


def _averages(feature: Feature, rule: Rule, mean: Fraction, spread: Fraction) -> Quantities:
    """Return the averages after the step, clauses 23.5 and 23.6."""
    state, slow = feature.state, Fraction(rule.options["renorm_decay"])
    after = {
        "moving_mean": _moved(rule, state["moving_mean"], mean, rule.decay),
        "moving_deviation": _moved(rule, state["moving_deviation"], spread, rule.decay),
        "renorm_mean": _moved(rule, state["renorm_mean"], mean, slow),
        "renorm_deviation": _moved(rule, state["renorm_deviation"], spread, slow),
    }
    after["moving_variance"] = max(after["moving_deviation"] ** 2 - rule.epsilon, Fraction(0))
    return {name: [value] for name, value in after.items()}


def _moved(rule: Rule, old: Fraction, batch: Fraction, decay: Fraction) -> Fraction:
    moved = rational.moved(
        rational.Rule(dialect=rule.dialect, decay=decay, epsilon=rule.epsilon, trained=rule.trained), old, batch
    )
    assert moved is not None
    return moved


def _correction(feature: Feature, rule: Rule, mean: Fraction, spread: Fraction) -> tuple[Fraction, Fraction] | None:
    """Return r and d, clauses 23.1 to 23.4; None where the average is nothing."""
    average = feature.state["renorm_deviation"]
    if average * abs(average) < rule.epsilon:
        inverse = rational.inverse_root(rule.epsilon)
        assert inverse is not None
        average = rule.epsilon * inverse
    if not average:
        return None
    r, d = spread / average, (mean - feature.state["renorm_mean"]) / average
    low, high, reach = (_limit(rule.options, name, rule.trained) for name in ("rmin", "rmax", "dmax"))
    r = r if low is None else max(r, low)
    r = r if high is None else min(r, high)
    return r, d if reach is None else min(max(d, -reach), reach)


def _limit(options: Mapping[str, Any], name: str, trained: int) -> Fraction | None:
    """Return the limit of the step: of a list that of its turn, or the last."""
    limit = options.get(name)
    if limit is None:
        return None
    if isinstance(limit, int | float):
        return Fraction(limit)
    return Fraction(list(limit)[: trained + 1][-1])


def _transformed(feature: Feature, mean: Fraction, inverse: Fraction, r: Fraction, d: Fraction) -> Quantities:
    """Return the output and the gradients, r and d held constant: clauses 23.1, 23.7 and 23.8."""
    gamma, beta = plain.gamma_of(feature), plain.beta_of(feature)
    normalized = [(value - mean) * inverse for value in feature.x]
    quantities: Quantities = {"output": [gamma * (x_hat * r + d) + beta for x_hat in normalized]}
    upstream = feature.upstream
    if upstream is None:
        return quantities
    quantities["grad_input"] = _grad_input(upstream, normalized, gamma * r * inverse)
    if "gamma" in feature.state:
        total = summed(g * (x_hat * r + d) for g, x_hat in zip(upstream, normalized, strict=True))
        quantities["grad_gamma"] = [total]
    if "beta" in feature.state:
        quantities["grad_beta"] = [plain.grad_beta(upstream)]
    return quantities


def _grad_input(upstream: Numbers, normalized: Numbers, scale: Fraction) -> Numbers:
    """Return the projection of scale·g off the constants and off x̂, whose mean square is what the variance gives it.

    With h = scale·g: dx = h - mean(h) - x̂·mean(h·x̂), the chain rule through μ and σ² of x̂.
    """
    count = len(upstream)
    pulled = [scale * g for g in upstream]
    level = summed(pulled) / count
    slope = summed(h * x_hat for h, x_hat in zip(pulled, normalized, strict=True)) / count
    return [h - level - x_hat * slope for h, x_hat in zip(pulled, normalized, strict=True)]


def _untouched(feature: Feature) -> Quantities:
    """Return what no samples give: nothing out, zero gradients, the state as it is (16)."""
    quantities: Quantities = {"output": [], **{name: [value] for name, value in feature.state.items()}}
    if feature.upstream is None:
        return quantities
    return {**quantities, "grad_input": [], **plain.no_gradients(feature)}


PASSES = Passes(train=by_feature(train), infer=plain.PASSES.infer)

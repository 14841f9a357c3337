"""Centering of one feature by exact arithmetic: the second reference of `spec/semantics.md`, section 20.

It shares no formula and no code with the first one beside it.
"""

from __future__ import annotations

from fractions import Fraction

from conformance.operations.rational import Feature, Passes, Quantities, Rule, by_feature, mean, moved


def train(feature: Feature, rule: Rule) -> Quantities:
    """Return every quantity of a train step of centering, clauses 20.1 to 20.5 and 20.7."""
    x, old, upstream = feature.x, feature.state["moving_mean"], feature.upstream
    if not x:
        return {"output": [], "moving_mean": [old], **({} if upstream is None else {"grad_input": []})}
    batch = mean(x)
    after = moved(rule, old, batch)
    center: Fraction | None = batch
    share: Fraction | None = Fraction(1)
    match rule.dialect.normalizes_with:
        case "batch":
            pass
        case "moving_before":
            center, share = old, Fraction(0)
        case "moving_after":
            # What one unit of the batch's mean adds to the moving one: every update is affine in it.
            center, share = after, moved(rule, Fraction(0), Fraction(1))
    quantities: Quantities = {"batch_mean": [batch], "moving_mean": None if after is None else [after]}
    quantities["output"] = None if center is None else [value - center for value in x]
    if upstream is not None:
        through = None if share is None else share * mean(upstream)
        quantities["grad_input"] = None if through is None else [g - through for g in upstream]
    return quantities


def infer(feature: Feature, rule: Rule) -> Quantities:  # noqa: ARG001 - inference follows no rule
    """Return every quantity of an inference step of centering, clauses 20.4 to 20.6."""
    center = feature.state["moving_mean"]
    quantities: Quantities = {"output": [value - center for value in feature.x]}
    return quantities if feature.upstream is None else {**quantities, "grad_input": feature.upstream}


PASSES = Passes(train=by_feature(train), infer=by_feature(infer))

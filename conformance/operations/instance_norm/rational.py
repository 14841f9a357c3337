"""Instance normalization by exact rational arithmetic: clauses 31.1 to 31.4."""

from __future__ import annotations

from conformance.operations.batch_norm import rational as of_batch
from conformance.operations.rational import (
    Beyond,
    Entry,
    Exact,
    NotFiniteError,
    Passes,
    Rule,
    Step,
    mean,
    moved,
    rationals,
    summed,
    variance,
)
from conformance.operations.sample_norm.rational import by_channels, performed

_OWN = performed(by_channels, centred=True)


def train(step: Step, rule: Rule) -> Exact:
    """Return every number of a train step."""
    exact = _OWN(step, rule)
    if not rule.options.get("tracked"):
        return exact
    features = range(len(step.x))
    return {
        **exact,
        "moving_mean": [_moved(step, rule, feature, "moving_mean") for feature in features],
        "moving_variance": [_moved(step, rule, feature, "moving_variance") for feature in features],
    }


def infer(step: Step, rule: Rule) -> Exact:
    """Return every number of an inference."""
    return of_batch.PASSES.infer(step, rule) if rule.options.get("tracked") else _OWN(step, rule)


def _moved(step: Step, rule: Rule, feature: int, name: str) -> Entry:
    """Return a·M + (1 - a)·(the mean over the samples of their own means or variances)."""
    try:
        (old,) = rationals([step.state[name][feature]])
        values = rationals(step.x[feature])
    except NotFiniteError:
        return Beyond.FRACTIONS
    length = len(values) // max(1, step.samples)
    if not values:
        return old
    parts = [values[start : start + length] for start in range(0, len(values), length)]
    own = [mean(part) if name == "moving_mean" else variance(part, rule.dialect.moving_correction) for part in parts]
    return moved(rule, old, summed(own) / len(own))


PASSES = Passes(train=train, infer=infer)

"""An operation whose statistics and state have one value per sample: y = x - μ, μ the mean of the sample's features.

In inference y = x - M, with M moved by μ. It stands here alone, and no other module knows that its state is not one
value per feature: what it proves is that none has to.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import CANONICAL
from conformance.operations import rational
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moving import moved, moved_bound, weights
from conformance.operations.operation import Operation, Pass, Quantity
from conformance.operations.rational import Beyond, Entry, Exact, Rule, Step
from conformance.operations.score import fit
from conformance.operations.situation import Situation
from conformance.precision import Precision, theta

Array = np.ndarray[Any, np.dtype[Any]]


def train(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one train step must give."""
    x, old = situation.x, situation.state["moving_level"]
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, x.dtype.type)
    level = x.mean(axis=1)
    within = theta(x.shape[1] + 1, worked.unit) * np.abs(x).mean(axis=1) + 2 * worked.tiny
    after = moved(old, level, weight)
    quantities = {
        "sample_level": _expected(situation, level, within),
        "moving_level": _expected(situation, after, moved_bound(old, level, within, weight, worked)),
        **_outputs(situation, level, within, worked),
    }
    if situation.upstream is not None:
        g = situation.upstream
        pull = theta(g.shape[1] + 1, worked.unit) * np.abs(g).mean(axis=1, keepdims=True) + 2 * worked.tiny
        value = g - g.mean(axis=1, keepdims=True)
        bound = pull + worked.unit * (np.abs(value) + pull)
        quantities["grad_input"] = _expected(situation, value, np.broadcast_to(bound, g.shape))
    return quantities


def infer(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one inference step must give."""
    old = situation.state["moving_level"]
    quantities = _outputs(situation, old, np.zeros(old.shape), worked)
    if situation.upstream is not None:
        quantities["grad_input"] = _expected(situation, situation.upstream, np.zeros(situation.x.shape))
    return quantities


def _outputs(situation: Situation, center: Array, within: Array, worked: Precision) -> dict[str, Expected]:
    value = situation.x - center[:, np.newaxis]
    bound = within[:, np.newaxis] + worked.unit * (np.abs(value) + within[:, np.newaxis]) + worked.tiny
    return {"output": _expected(situation, value, bound)}


def _expected(situation: Situation, value: Array, bound: Array) -> Expected:
    size = np.abs(situation.x).max(axis=1) + np.abs(situation.state["moving_level"]) + 1
    by_value = size[:, np.newaxis] if value.ndim == 2 else size
    return Expected(
        value=value,
        bound=np.asarray(bound, dtype=np.float64),
        magnitude=np.asarray(by_value, dtype=np.float64),
        in_domain=np.ones(by_value.shape, dtype=bool),
    )


def train_exactly(step: Step, rule: Rule) -> Exact:
    """Return every number of a train step, sample by sample."""
    rows = [_row(step.x, sample) for sample in range(step.samples)]
    levels = [None if row is None else rational.mean(row) for row in rows]
    old = [_fraction(value) for value in step.state["moving_level"]]
    exact: Exact = {
        "sample_level": [Beyond.FRACTIONS if level is None else level for level in levels],
        "moving_level": [
            rational.moved(rule, before, level)
            if isinstance(before, Fraction) and level is not None
            else Beyond.FRACTIONS
            for before, level in zip(old, levels, strict=True)
        ],
        "output": _less(step.x, [Beyond.FRACTIONS if level is None else level for level in levels]),
    }
    if step.upstream is not None:
        pulls = [_row(step.upstream, sample) for sample in range(step.samples)]
        means = [Beyond.FRACTIONS if pull is None else rational.mean(pull) for pull in pulls]
        exact["grad_input"] = _less(step.upstream, means)
    return exact


def infer_exactly(step: Step, rule: Rule) -> Exact:
    """Return every number of an inference step."""
    old = [_fraction(value) for value in step.state["moving_level"]]
    exact: Exact = {"moving_level": list(old), "output": _less(step.x, old)}
    if step.upstream is not None:
        exact["grad_input"] = _less(step.upstream, [Fraction()] * step.samples)
    return exact


def _row(columns: list[list[float]], sample: int) -> list[Fraction] | None:
    try:
        return rational.rationals(column[sample] for column in columns)
    except rational.NotFiniteError:
        return None


def _fraction(value: float) -> Fraction | Beyond:
    return Fraction(value) if np.isfinite(value) else Beyond.FRACTIONS


def _less(columns: list[list[float]], centers: Sequence[Fraction | Beyond]) -> list[Entry]:
    """Return x - c, row by row."""
    entries: list[Entry] = []
    for sample, center in enumerate(centers):
        row = _row(columns, sample)
        if row is None or isinstance(center, Beyond):
            entries.extend([Beyond.FRACTIONS] * len(columns))
        else:
            entries.extend(value - center for value in row)
    return entries


def observe(passes: Sequence[Pass], worked: Precision) -> dict[str, str]:
    """Return whether the state moves as configured."""
    seen = [
        fit(each.after["moving_level"], train(each.situation, worked)["moving_level"], worked).within
        for each in passes
        if each.kind == "train" and len(each.after["moving_level"]) == len(each.situation.x)
    ]
    return {"decay": "as configured" if all(seen) else "unknown"}


def _hypotheses(configuration: Any, dialect: Any) -> list[Hypothesis]:
    still = Hypothesis(
        cause=because("moving-not-updated"),
        configuration=configuration,
        dialect=dialect,
        change_results=lambda situation, quantities: {
            **quantities,
            "moving_level": _expected(situation, situation.state["moving_level"], np.zeros(len(situation.x))),
        },
    )
    return [still]


PER_SAMPLE = Operation(
    name="per_sample",
    dialect=CANONICAL,
    ladder="",
    quantities={
        "moving_level": Quantity(role="state", shape="samples"),
        "output": Quantity(role="output", shape="input"),
        "sample_level": Quantity(role="statistic", shape="samples"),
        "grad_input": Quantity(role="gradient", shape="input", by="input"),
    },
    initial={"moving_level": 0.5},
    formulas={"train": "y = x - μ", "infer": "y = x - M", "freeze": "-", "unfreeze": "-", "reload": "-"},
    train=train,
    infer=infer,
    rational=rational.Passes(train=train_exactly, infer=infer_exactly),
    observers={"fake": observe},
    hypotheses=_hypotheses,
    train_terms=lambda _: {},
    infer_terms=lambda _: {},
)

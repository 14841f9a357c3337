"""Batch normalization that keeps no moving values: inference normalizes with its own batch, as training does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations import batch_norm
from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.batch_norm.overflow import overflows
from conformance.operations.batch_norm.terms import train_terms
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.situation import Situation
from conformance.operations.untracked_batch_norm import rational
from conformance.precision import Precision, working
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]

_MOVING = ("moving_mean", "moving_variance")


def performed(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what a train or an inference step must give: a train step's results but for the moving values."""
    quantities = batch_norm.train(_beside_some(situation), worked)
    return {name: quantity for name, quantity in quantities.items() if name not in _MOVING}


def _beside_some(situation: Situation) -> Situation:
    """Return the situation with moving values, which normalize nothing."""
    zero = np.zeros(situation.x.shape[1], dtype=situation.x.dtype)
    return replace(situation, state={**situation.state, "moving_mean": zero, "moving_variance": zero + 1})


def _terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    return {name: quantity for name, quantity in train_terms(_beside_some(situation)).items() if name not in _MOVING}


def _hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    base = Hypothesis(configuration=configuration, dialect=dialect)

    def change_results(situation: Situation, quantities: dict[str, Expected]) -> dict[str, Expected]:
        neutral = batch_norm.infer(_beside_some(situation), working(configuration.dtype))
        return {name: quantity for name, quantity in neutral.items() if name in quantities}

    yield replace(base, cause=because("normalized-with-neutral"), change_results=change_results)
    yield from overflows(base)
    yield replace(
        base, cause=because("normalizing-correction", correction=1), dialect=replace(dialect, normalizing_correction=1)
    )
    yield replace(
        base,
        cause=because("epsilon-outside-root"),
        change_situation=lambda situation: replace(situation, epsilon="outside"),
    )
    for change, epsilon in (
        ("dropped", 0.0),
        ("twice", 2 * configuration.epsilon),
        ("squared", configuration.epsilon**2),
    ):
        yield replace(base, cause=because(f"epsilon-{change}"), configuration=replace(configuration, epsilon=epsilon))


UNTRACKED_BATCH_NORM = replace(
    BATCH_NORM,
    name="untracked_batch_norm",
    ladder="",
    quantities={name: quantity for name, quantity in BATCH_NORM.quantities.items() if name not in _MOVING},
    initial={name: value for name, value in BATCH_NORM.initial.items() if name not in _MOVING},
    formulas={
        **BATCH_NORM.formulas,
        **dict.fromkeys(
            ("train", "infer"),
            "μ = Σx/m,  σ² = Σ(x-μ)²/m,  x̂ = (x-μ)/√(σ²+ε),  y = γ·x̂ + β;  "
            "dβ = Σg,  dγ = Σg·x̂,  dx = γ/√(σ²+ε) · (g - dβ/m - x̂·dγ/m)",
        ),
    },
    train=performed,
    infer=performed,
    rational=rational.PASSES,
    observers={},
    hypotheses=_hypotheses,
    train_terms=_terms,
    infer_terms=_terms,
    equations=None,
    implied=None,
)

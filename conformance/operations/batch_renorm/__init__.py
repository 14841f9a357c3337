"""Batch renormalization: batch normalization whose training is carried to slow averages of its statistics.

Ioffe 2017, "Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized Models", algorithm 1, with
a pair of averages of its own for inference, as the layers have it that offer it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.dialect import CANONICAL
from conformance.operations import batch_norm, observers
from conformance.operations.batch_norm import Step, classes_of, expected
from conformance.operations.batch_norm import reference as plain
from conformance.operations.batch_norm import tolerance as plain_tolerance
from conformance.operations.batch_norm.tolerance import Algorithm
from conformance.operations.batch_renorm import diagnosis, rational, reference, terms, tolerance
from conformance.operations.batch_renorm.options import Options, renorm_decay
from conformance.operations.batch_renorm.reference import Training
from conformance.operations.expected import Expected
from conformance.operations.operation import Operation, Quantity
from conformance.operations.situation import Situation
from conformance.precision import Precision

Array = np.ndarray[Any, np.dtype[Any]]


def train(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one train step must give; an empty batch changes nothing."""
    if situation.x.shape[0] == 0:
        return batch_norm.train(situation, worked)
    with np.errstate(all="ignore"):
        training = reference.training(situation)
        gradients = None
        if situation.upstream is not None:
            gradients = plain.gradients(training.normalization, situation.upstream, situation.x)
        sizes = plain_tolerance.sizes(situation, training.normalization)
        step = Step(situation=situation, normalization=training.normalization, gradients=gradients, sizes=sizes)
        classes = {
            grade: _bounds(step, training, algorithm) for grade, algorithm in classes_of(situation, worked).items()
        }
        values = reference.quantities(training, gradients)
        return expected(step, values, classes, worked, _sizes(step, training))


def infer(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one inference step must give: that of batch normalization, by moving mean and variance."""
    return batch_norm.infer(situation, worked)


def _bounds(step: Step, training: Training, algorithm: Algorithm) -> dict[str, Array]:
    situation, worked = step.situation, algorithm.worked
    epsilon, variance = situation.configuration.epsilon, training.statistics.variance
    bound = plain_tolerance.statistics_bound(step.sizes, training.statistics.mean, variance, algorithm)
    deviation = tolerance.deviation_bound(variance, epsilon, bound, worked.unit)
    wrong = tolerance.correction_bound(situation, training.correction, bound.mean, deviation, worked)
    root = plain_tolerance.root_bound(variance, epsilon, bound, worked.unit)
    bounds = {
        "batch_mean": bound.mean,
        "batch_variance": bound.variance,
        **tolerance.averages_bound(situation, training, bound, deviation, worked),
        "output": tolerance.output_bound(situation, step.sizes, training.correction, wrong, root, bound, worked),
    }
    if step.gradients is None:
        return bounds
    limits = tolerance.gradients_bound(step.sizes, training, step.gradients, wrong, root, bound, algorithm)
    return {**bounds, "grad_gamma": limits.gamma, "grad_beta": limits.beta, "grad_input": limits.input}


def _sizes(step: Step, training: Training) -> dict[str, Array]:
    """Return the size of the terms of what batch normalization has not, or has not like this, per feature."""
    situation, sizes = step.situation, step.sizes
    state, count = situation.state, len(situation.x)
    gamma, beta = reference.parameters(situation, training.deviation)
    r, d = np.abs(training.correction.r), np.abs(training.correction.d)
    farthest = np.maximum.reduce(sizes.normalized, axis=0, initial=0)
    spread = np.sqrt(np.einsum("ij,ij->j", situation.x, situation.x) / count + situation.configuration.epsilon)
    moved = spread + np.abs(state["moving_deviation"])
    total = np.zeros(1) if sizes.total is None else sizes.total
    return {
        "renorm_mean": sizes.level + np.abs(state["renorm_mean"]),
        "renorm_deviation": spread + np.abs(state["renorm_deviation"]),
        "moving_deviation": moved,
        "moving_variance": moved**2,
        "output": np.abs(gamma) * (r * (farthest + 1) + d) + np.abs(beta),
        "grad_gamma": total * (r * np.maximum(1, farthest) + d),
    }


_AVERAGES = ("moving_mean", "moving_deviation", "renorm_mean", "renorm_deviation", "moving_variance")


BATCH_RENORM = Operation(
    name="batch_renorm",
    dialect=CANONICAL,
    ladder="",
    quantities={
        **{name: batch_norm.QUANTITIES[name] for name in ("gamma", "beta")},
        **dict.fromkeys(_AVERAGES, Quantity(role="state")),
        **dict.fromkeys(("renorm_mean", "renorm_deviation"), Quantity(role="state", decay=renorm_decay)),
        **{
            name: quantity
            for name, quantity in batch_norm.QUANTITIES.items()
            if quantity.role not in ("learned", "state")
        },
    },
    initial={
        "gamma": 1.0,
        "beta": 0.0,
        "moving_mean": 0.0,
        "moving_variance": 1.0,
        "moving_deviation": 1.0,
        "renorm_mean": 0.0,
        "renorm_deviation": 1.0,
    },
    formulas={
        "train": (
            "μ = Σx/m,  s = √(Σ(x-μ)²/m + ε),  σ = max(D, √ε);  r = clip(s/σ, rmin, rmax),  "
            "d = clip((μ-R)/σ, -dmax, dmax),  x̂ = (x-μ)/s,  y = γ·(x̂·r + d) + β;  "
            "R ← b·R + (1-b)·μ,  D ← b·D + (1-b)·s,  M ← a·M + (1-a)·μ,  S ← a·S + (1-a)·s,  V = max(S²-ε, 0);  "
            "dβ = Σg,  dγ = Σg·(x̂·r + d),  dx = γ·r/s · (g - Σg/m - x̂·Σ(g·x̂)/m)"
        ),
        **{kind: batch_norm.BATCH_NORM.formulas[kind] for kind in ("infer", "sgd", "reload", "freeze", "unfreeze")},
    },
    train=train,
    infer=infer,
    rational=rational.PASSES,
    observers={
        "renorm": lambda passes, worked: {
            **observers.empty_batch(passes),
            **observers.frozen_implies_inference(passes, train, infer, worked),
        }
    },
    hypotheses=diagnosis.hypotheses,
    train_terms=terms.train_terms,
    infer_terms=batch_norm.BATCH_NORM.infer_terms,
    options=Options,
)

"""The terms that each quantity of batch normalization adds up, for weighing numbers that nothing explains.

r is (σ²+ε)^(-1/2), of the moving variance in inference; x̂ is (x-μ)r.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.reference import Normalization, Statistics
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]
Terms = Mapping[str, Mapping[str, Array]]


def train_terms(situation: Situation) -> Terms:
    """Return the terms of one train step; none of an empty batch, which has no statistics."""
    if not situation.x.size:
        return {}
    statistics, _, normalization = reference.training(situation)
    return {**_moving(situation, statistics), **_transformed(situation, normalization)}


def infer_terms(situation: Situation) -> Terms:
    """Return the terms of one inference step, and the batch's that a step might wrongly take in."""
    if not situation.x.size:
        return {}
    statistics = reference.batch_statistics(situation.x)
    return {**_moving(situation, statistics), **_transformed(situation, reference.inference(situation))}


def _moving(situation: Situation, statistics: Statistics) -> Terms:
    old_mean, old_variance = situation.state["moving_mean"], situation.state["moving_variance"]
    entering = reference.moving_variance_batch(situation, statistics)
    return {
        "batch_mean": {"batch": statistics.mean, "old": old_mean},
        "batch_variance": {"batch": statistics.variance, "old": old_variance},
        "moving_mean": {"old": old_mean, "batch": statistics.mean},
        "moving_variance": {"old": old_variance, "batch": entering},
    }


def _transformed(situation: Situation, n: Normalization) -> Terms:
    scale = n.gamma * n.inverse_root
    terms = {"output": {"γ·r·x": scale * situation.x, "γ·r·μ": scale * n.center, "β": n.beta}}
    if situation.upstream is None:
        return terms
    upstream, count = situation.upstream, len(situation.x)
    grad_beta, grad_gamma = upstream.sum(axis=0), (upstream * n.normalized).sum(axis=0)
    return {
        **terms,
        "grad_input": {
            "γ·r·g": scale * upstream,
            "γ·r·mean(g)": scale * grad_beta / count,
            "γ·r·x̂·mean(g·x̂)": scale * n.normalized * grad_gamma / count,
        },
        "grad_gamma": {"Σg·x̂": grad_gamma, "Σg": grad_beta},
        "grad_beta": {"Σg": grad_beta, "Σg·x̂": grad_gamma},
    }

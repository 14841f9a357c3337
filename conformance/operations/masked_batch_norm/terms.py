"""The terms that each quantity of a masked train step adds up, for weighing numbers that nothing explains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.operations.masked_batch_norm import reference
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]


def train_terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    """Return the terms of one train step, none where no position counts; w·x̂ and x̂ are apart in dx."""
    if not reference.counts(situation).any():
        return {}
    trained = reference.training(situation)
    n, statistics = trained.normalization, trained.statistics
    old_mean, old_variance = situation.state["moving_mean"], situation.state["moving_variance"]
    scale = n.gamma * n.inverse_root
    terms = {
        "batch_mean": {"batch": statistics.mean, "old": old_mean},
        "batch_variance": {"batch": statistics.variance, "old": old_variance},
        "moving_mean": {"old": old_mean, "batch": statistics.mean},
        "moving_variance": {"old": old_variance, "batch": statistics.variance},
        "output": {"γ·r·x": scale * situation.x, "γ·r·μ": scale * n.center, "β": n.beta},
    }
    if situation.upstream is None:
        return terms
    g = reference.gradients(n, situation.upstream, trained.counted)
    counted = np.where(trained.counted[:, np.newaxis], n.normalized, 0)
    return {
        **terms,
        "grad_input": {
            "γ·r·g": scale * situation.upstream,
            "γ·r·w·Σg/k": np.where(trained.counted[:, np.newaxis], scale * g.beta / statistics.count, 0),
            "γ·r·w·x̂·Σ(g·x̂)/k": scale * counted * g.gamma / statistics.count,
        },
        "grad_gamma": {"Σg·x̂": g.gamma, "Σg": g.beta},
        "grad_beta": {"Σg": g.beta, "Σg·x̂": g.gamma},
    }

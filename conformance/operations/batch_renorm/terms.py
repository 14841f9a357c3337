"""The terms that each quantity of batch renormalization adds up, for weighing numbers that nothing explains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.operations.batch_norm import reference as plain
from conformance.operations.batch_renorm import reference
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]


def train_terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    """Return the terms of one train step, s being √(σ²+ε); none of an empty batch, which has no statistics."""
    if not situation.x.size:
        return {}
    step = reference.training(situation)
    n, state, mean = step.normalization, situation.state, step.statistics.mean
    gamma, beta = reference.parameters(situation, mean)
    scale = n.gamma * n.inverse_root
    old = {f"{pair}_{kind}": state[f"{pair}_{kind}"] for pair in ("moving", "renorm") for kind in ("mean", "deviation")}
    batch = {"mean": mean, "deviation": step.deviation}
    terms = {name: {"old": value, "batch": batch[name.rpartition("_")[2]]} for name, value in old.items()}
    terms["moving_variance"] = {"S²": step.after["moving_deviation"] ** 2, "ε": _constant(situation)}
    terms["output"] = {
        "γ·r·x/s": scale * situation.x,
        "γ·r·μ/s": scale * mean,
        "γ·d": gamma * step.correction.d,
        "β": beta,
    }
    if situation.upstream is None:
        return terms
    g = plain.gradients(n, situation.upstream, situation.x)
    count = len(situation.x)
    return {
        **terms,
        "grad_input": {
            "γ·r·g/s": scale * situation.upstream,
            "γ·r·mean(g)/s": scale * g.beta / count,
            "γ·r·x̂·mean(g·x̂)/s": scale * n.normalized * g.gamma / count,
        },
        "grad_gamma": {"r·Σg·x̂": step.correction.r * g.gamma, "d·Σg": step.correction.d * g.beta},
        "grad_beta": {"Σg": g.beta, "Σg·x̂": g.gamma},
    }


def _constant(situation: Situation) -> Array:
    return np.full(situation.configuration.feature_count, situation.configuration.epsilon, situation.x.dtype)

"""The terms that each quantity adds up, for weighing numbers that nothing explains; r is what 1/√(σ²+ε) is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.operations.batch_norm.reference import total
from conformance.operations.sample_norm.groups import Kind, gathered
from conformance.operations.sample_norm.reference import computed
from conformance.operations.situation import Situation

Array = np.ndarray[Any, np.dtype[Any]]


def terms(kind: Kind, situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    """Return the terms of one step; none of a step without values."""
    if not situation.x.size:
        return {}
    with np.errstate(all="ignore"):
        n = computed(kind, situation)
    scale = n.gamma * n.inverse_root
    output = {"γ·r·x": scale * n.x, "γ·r·μ": scale * n.center, "β": n.beta}
    quantities = {"output": {name: n.in_rows(term) for name, term in output.items() if kind.centred or "μ" not in name}}
    g = n.gradients
    if g is None or situation.upstream is None:
        return quantities
    count = len(n.x)
    by_group = {
        "r·γ·g": n.inverse_root * g.pull,
        "r·mean(γ·g)": n.inverse_root * g.level / count,
        "r·x̂·mean(γ·g·x̂)": n.inverse_root * n.normalized * g.slope / count,
        "r·g": n.inverse_root * gathered(situation.upstream, n.members),
    }
    return quantities | {
        "grad_input": {name: n.in_rows(np.broadcast_to(term, n.x.shape)) for name, term in by_group.items()},
        "grad_gamma": {"Σg·x̂": g.gamma, "Σg": g.beta, "Σg·x": total(situation.upstream * situation.x)},
        "grad_beta": {"Σg": g.beta, "Σg·x̂": g.gamma},
    }

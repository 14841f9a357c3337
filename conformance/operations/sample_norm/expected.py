"""What each quantity of a step must be, of any operation that normalizes by statistics of each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.operations.batch_norm import classes_of
from conformance.operations.batch_norm.overflow import Reach, domains
from conformance.operations.batch_norm.tolerance import Sizes
from conformance.operations.expected import Expected
from conformance.operations.sample_norm.groups import Kind
from conformance.operations.sample_norm.reference import Numbers, computed
from conformance.operations.sample_norm.tolerance import bounds, sizes_of
from conformance.operations.situation import Situation
from conformance.precision import Precision

Array = np.ndarray[Any, np.dtype[Any]]
#: The quantities that are computed by group, and of the input's shape.
_BY_GROUP = ("output", "grad_input")


def performed(kind: Kind, situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what a step must give, in training and in inference alike."""
    with np.errstate(all="ignore"):
        n = computed(kind, situation)
        # Of no values no variance is computed, whatever a hypothesis says of how.
        variance = situation.variance if n.x.size else "welford"
        algorithms = classes_of(replace(situation, x=n.x, variance=variance), worked)
        classes = {grade: bounds(kind, n, situation, algorithm) for grade, algorithm in algorithms.items()}
        sizes = sizes_of(kind, n)
        held, inside = _magnitudes(n, sizes, situation), _domains(n, sizes, situation, worked)
        values = {"output": n.output}
        if n.gradients is not None:
            g = n.gradients
            values |= {"grad_input": g.input, "grad_gamma": g.gamma, "grad_beta": g.beta}
        return {
            name: Expected(
                value=_shaped(n, name, value),
                bound=_bound(n, name, classes[""]),
                magnitude=np.asarray(_shaped(n, name, held[name]), dtype=np.float64),
                in_domain=_shaped(n, name, inside[name]),
                narrower={grade: _bound(n, name, by_name) for grade, by_name in classes.items() if grade},
            )
            for name, value in values.items()
        }


def _shaped(n: Numbers, name: str, by_group: Array) -> Array:
    return n.in_rows(by_group) if name in _BY_GROUP else by_group


def _bound(n: Numbers, name: str, by_name: Mapping[str, Array]) -> Array:
    return np.asarray(_shaped(n, name, np.asarray(by_name[name], dtype=np.float64)), dtype=np.float64)


def _magnitudes(n: Numbers, sizes: Sizes, situation: Situation) -> dict[str, Array]:
    """Return the size of the terms each quantity is made of."""
    normalized = np.nan_to_num(sizes.normalized, nan=0.0, posinf=0.0)
    farthest = normalized.max(axis=0, initial=0)
    magnitudes = {"output": sizes.gamma * (farthest + 1) + sizes.beta}
    if sizes.pull is None or situation.upstream is None or n.gradients is None:
        return magnitudes
    pull = np.abs(situation.upstream).astype(np.float64)
    carried = np.abs(n.gradients.level) + farthest * np.abs(n.gradients.slope)
    strongest = sizes.pull.max(axis=0, initial=0) + carried / max(1, len(n.x))
    largest = n.in_rows(normalized).max(axis=0, initial=0)
    return magnitudes | {
        "grad_input": np.asarray(sizes.inverse_root * strongest),
        "grad_beta": pull.sum(axis=0),
        "grad_gamma": pull.sum(axis=0) * np.maximum(1, largest),
    }


def _domains(n: Numbers, sizes: Sizes, situation: Situation, worked: Precision) -> dict[str, Array]:
    """Return whether every intermediate stays within the range: by group, of γ and β for all groups of their feature."""
    pull = np.zeros(sizes.level.shape) if sizes.pull is None else sizes.pull.sum(axis=0)
    reach = Reach(
        measured=True,
        sums=sizes.level * len(n.x),
        squares=(n.x * n.x).sum(axis=0),
        largest=sizes.largest,
        root=np.sqrt(n.variance + situation.configuration.epsilon),
        gamma=sizes.gamma.max(axis=0, initial=0),
        beta=sizes.beta.max(axis=0, initial=0),
        pull=pull,
    )
    inside = domains(reach, worked)
    of_features = np.asarray(n.in_rows(inside[""]).all(axis=0))
    total = 0.0 if situation.upstream is None else np.abs(situation.upstream).sum(axis=0)
    return {
        "output": inside["output"],
        "grad_input": inside[""],
        "grad_gamma": np.asarray(of_features),
        "grad_beta": np.asarray(~(total >= worked.largest) | ~np.isfinite(total)),
    }

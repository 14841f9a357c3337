"""Instance normalization with moving values: what a train step leaves of them, and inference by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.operations import batch_norm
from conformance.operations.batch_norm import tolerance
from conformance.operations.batch_norm.terms import infer_terms as of_batch_norm
from conformance.operations.expected import Expected
from conformance.operations.moving import debiasing, moved, moved_bound, weights
from conformance.operations.sample_norm.expected import performed
from conformance.operations.sample_norm.groups import Kind, channels
from conformance.operations.sample_norm.reference import Numbers, computed
from conformance.operations.sample_norm.terms import terms
from conformance.operations.sample_norm.tolerance import sizes_of
from conformance.operations.situation import Situation
from conformance.precision import Precision, theta

Array = np.ndarray[Any, np.dtype[Any]]

KIND = Kind(members=channels, folds=True)
MOVING = ("moving_mean", "moving_variance")


def tracked(situation: Situation) -> bool:
    """Return whether the layer has moving values."""
    return bool(situation.configuration.options.get("tracked"))


def train(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what a train step must give; a batch without values moves nothing."""
    quantities = performed(KIND, situation, worked)
    if not tracked(situation):
        return quantities
    if not situation.x.size:
        return quantities | {name: _kept(situation.state[name]) for name in MOVING}
    with np.errstate(all="ignore"):
        return quantities | _moved(situation, worked)


def infer(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what an inference must give: by the moving values, or as in training where there are none."""
    return batch_norm.infer(situation, worked) if tracked(situation) else performed(KIND, situation, worked)


def infer_terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    """Return the terms of one inference."""
    return of_batch_norm(situation) if tracked(situation) else terms(KIND, situation)


def _kept(value: Array) -> Expected:
    none = np.zeros(value.shape)
    return Expected(value=value, bound=none, magnitude=np.full(value.shape, np.inf), in_domain=none == 0)


def entering(situation: Situation, numbers: Numbers) -> dict[str, Array]:
    """Return what moves the moving values: the means over the samples of their own means and variances."""
    samples = situation.shape[0] if situation.shape else len(situation.x)
    count, correction = len(numbers.x), situation.dialect.moving_correction
    factor = situation.x.dtype.type(count) / max(1, count - correction)
    variances = factor * numbers.variance / numbers.bessel
    return {
        "moving_mean": np.asarray(numbers.center.reshape(samples, -1).mean(axis=0)),
        "moving_variance": np.asarray(variances.reshape(samples, -1).mean(axis=0)),
    }


def _moved(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return the moving values after a train step: within the mean of the groups' bounds, and of adding them up."""
    n = computed(KIND, replace(situation, upstream=None))
    sizes = sizes_of(KIND, n)
    samples, count = situation.shape[0] if situation.shape else len(situation.x), len(n.x)
    algorithm = batch_norm.classes_of(replace(situation, x=n.x, graded=False), worked)[""]
    bound = tolerance.statistics_bound(sizes, n.center, n.variance / n.bessel, algorithm)
    if situation.dialect.moving_correction and count > 1:
        bound = tolerance.corrected(bound, count / (count - 1), n.variance / n.bessel, worked.unit)
    batch = entering(situation, n)
    limits = {"moving_mean": bound.mean, "moving_variance": bound.variance}
    terms_ = {"moving_mean": sizes.level, "moving_variance": (sizes.x**2).mean(axis=0)}
    rule = situation.dialect, situation.configuration.decay, situation.trained
    weight, debiased = weights(*rule, situation.x.dtype.type), debiasing(*rule)
    result = {}
    for name in MOVING:
        old, size = situation.state[name], terms_[name].reshape(samples, -1).mean(axis=0)
        limit = limits[name].reshape(samples, -1).mean(axis=0) + theta(samples + 1, worked.unit) * size
        result[name] = Expected(
            value=moved(old, batch[name], weight),
            bound=moved_bound(old, batch[name], limit, weight, worked, debiased),
            magnitude=np.asarray(size + np.abs(old), dtype=np.float64),
            in_domain=np.asarray((size * count < worked.largest) | ~np.isfinite(size)),
        )
    return result

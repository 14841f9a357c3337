"""Mean centering: batch normalization's mean without its variance.

y = x - μ in training, y = x - M in inference; μ over every axis outside the feature axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations import observers
from conformance.operations.batch_norm.reference import batch_mean
from conformance.operations.moving import debiasing, moved, moved_bound, weights
from conformance.operations.operation import Expected, Hypothesis, Operation, Situation, Traffic
from conformance.precision import Precision, theta
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]


def train(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one train step must give; an empty batch changes nothing.

    y = x - c within δ + u(|x-c| + δ); dx = g - b·mean g within δ' + u(|dx| + δ'). c is μ, with δ = θ(h+2) mean|x|
    and b = 1; in a dialect M before the step, with δ = 0 and b = 0, or M after it, with its bound and b its v.
    """
    x, upstream, old = situation.x, situation.upstream, situation.state["moving_mean"]
    count = x.shape[0]
    if count == 0:
        values = {"output": x, "grad_input": x, "moving_mean": old}
        bounds = {name: np.zeros(value.shape) for name, value in values.items()}
        return _expected(situation, values, bounds, worked)
    with np.errstate(all="ignore"):
        weight = weights(situation.dialect, situation.configuration.decay, situation.trained, x.dtype.type)
        debiased = debiasing(situation.dialect, situation.configuration.decay, situation.trained)
        mean = batch_mean(x)
        mean_bound = _mean_bound(x, worked)
        after, after_bound = moved(old, mean, weight), moved_bound(old, mean, mean_bound, weight, worked, debiased)
        center, center_bound, coupling = mean, mean_bound, x.dtype.type(1)
        match situation.dialect.normalizes_with:
            case "batch":
                pass
            case "moving_before":
                center, center_bound, coupling = old, np.zeros_like(mean_bound), x.dtype.type(0)
            case "moving_after":
                center, center_bound, coupling = after, after_bound, weight[1]
        values = {"output": x - center, "batch_mean": mean, "moving_mean": after}
        bounds = {
            "output": _difference_bound(values["output"], center_bound, worked),
            "batch_mean": mean_bound,
            "moving_mean": after_bound,
        }
        if upstream is not None:
            values["grad_input"] = upstream - coupling * batch_mean(upstream)
            taken = float(coupling) * _mean_bound(upstream, worked)
            bounds["grad_input"] = _difference_bound(values["grad_input"], taken, worked)
        return _expected(situation, values, bounds, worked)


def infer(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one inference step must give: y = x - M, rounded once; dx = g, exactly."""
    output = situation.x - situation.state["moving_mean"]
    values, bounds = {"output": output}, {"output": worked.unit * np.abs(output) + worked.tiny}
    if situation.upstream is not None:
        values["grad_input"] = situation.upstream
        bounds["grad_input"] = np.zeros(situation.upstream.shape)
    return _expected(situation, values, bounds, worked)


def _mean_bound(x: Array, worked: Precision) -> Array:
    return np.asarray(theta(x.shape[0] + 1, worked.unit) * np.abs(x).mean(axis=0) + 2 * worked.tiny)


def _difference_bound(value: Array, mean_bound: Array, worked: Precision) -> Array:
    return np.asarray(mean_bound + worked.unit * (np.abs(value) + mean_bound) + worked.tiny)


def _expected(
    situation: Situation, values: dict[str, Array], bounds: dict[str, Array], worked: Precision
) -> dict[str, Expected]:
    size = np.abs(situation.x).max(axis=0, initial=0)
    pull = size if situation.upstream is None else np.abs(situation.upstream).max(axis=0, initial=0)
    held = size + np.abs(situation.state["moving_mean"])
    sums = np.abs(situation.x).sum(axis=0)
    in_domain = (sums < worked.largest) | ~np.isfinite(sums)
    result = {}
    for name, value in values.items():
        magnitude = pull if name == "grad_input" else held
        limit = np.asarray(bounds[name], dtype=np.float64)
        result[name] = Expected(
            value=value,
            bound=limit,
            magnitude=np.where(magnitude > 0, magnitude, np.inf).astype(np.float64),
            in_domain=in_domain,
        )
    return result


def _hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    def change(id_: str, decay: float = configuration.decay, **fields: Any) -> Hypothesis:
        return Hypothesis(
            cause=because(id_), configuration=replace(configuration, decay=decay), dialect=replace(dialect, **fields)
        )

    yield change("decay-inverted", 1 - configuration.decay)
    yield change("moving-mean-not-updated", update="none")
    yield change("moving-mean-updated-twice", configuration.decay**2)
    yield change("moving-mean-replaced-by-batch", 0.0)


def _terms(situation: Situation, center: Array) -> dict[str, dict[str, Array]]:
    """Return the terms that each quantity adds up, of values that are not none."""
    x, upstream, old = situation.x, situation.upstream, situation.state["moving_mean"]
    if not x.size:
        return {}
    found = {"output": {"x": x, "μ": center}, "moving_mean": {"old": old, "batch": batch_mean(x)}}
    if upstream is not None:
        found["grad_input"] = {"g": upstream, "mean(g)": batch_mean(upstream)}
    return found


CENTERING = Operation(
    name="centering",
    dialect=Dialect(frozen_implies_inference=True),
    ladder="",
    state=lambda _: ("moving_mean",),
    initial={"moving_mean": 0.0},
    formulas={
        "train": "μ = Σx/m,  y = x - μ;  M ← a·M + (1-a)·μ;  dx = g - Σg/m",
        "infer": "y = x - M;  dx = g",
        "reload": "the state after loading = the state before saving, bit for bit",
        "freeze": "the state stays as it is; a frozen layer infers",
        "unfreeze": "the state stays as it is",
    },
    train=train,
    infer=infer,
    observers={
        "centering": lambda passes, worked: {
            **observers.empty_batch(passes),
            **observers.later_update(passes, train, worked),
            **observers.state(passes, infer, worked),
            **observers.statistics_dtype(passes),
        },
        "freezing": lambda passes, worked: observers.frozen_implies_inference(passes, train, infer, worked),
    },
    hypotheses=_hypotheses,
    train_terms=lambda situation: _terms(situation, batch_mean(situation.x)),
    infer_terms=lambda situation: _terms(situation, situation.state["moving_mean"]),
    by_feature=True,
    # Two or three each way: what comes in, what goes out, and what comes in a second time for its mean.
    traffic={"infer": Traffic(2, 2), "train_forward": Traffic(2, 3), "train": Traffic(2 + 2, 3 + 3)},
)

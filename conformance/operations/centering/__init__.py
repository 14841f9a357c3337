"""Mean centering: batch normalization's mean without its variance.

y = x - μ in training, y = x - M in inference; μ over every axis outside the feature axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations import observers
from conformance.operations.batch_norm.reference import batch_mean
from conformance.operations.centering import diagnosis, equations, rational
from conformance.operations.expected import Expected
from conformance.operations.moving import debiasing, moved, moved_bound, weights
from conformance.operations.operation import Operation, Quantity, Traffic
from conformance.operations.situation import Situation
from conformance.precision import Precision, theta

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
        return _expected(
            situation, values, {"": {name: np.zeros(value.shape) for name, value in values.items()}}, worked
        )
    with np.errstate(all="ignore"):
        weight = weights(situation.dialect, situation.configuration.decay, situation.trained, x.dtype.type)
        mean = batch_mean(x)
        after = moved(old, mean, weight)
        center, coupling = mean, x.dtype.type(1)
        match situation.dialect.normalizes_with:
            case "batch":
                pass
            case "moving_before":
                center, coupling = old, x.dtype.type(0)
            case "moving_after":
                center, coupling = after, weight[1]
        values = {"output": x - center, "batch_mean": mean, "moving_mean": after}
        if upstream is not None:
            values["grad_input"] = upstream - coupling * batch_mean(upstream)
        # The sums of the widest class are sequential; those of class A, for whom asks, pairwise.
        heights = {"": count - 1, **({"A": (count - 1).bit_length()} if situation.graded else {})}
        classes = {
            grade: _train_bounds(situation, values, float(coupling), height, worked)
            for grade, height in heights.items()
        }
        return _expected(situation, values, classes, worked)


def _train_bounds(
    situation: Situation, values: Mapping[str, Array], coupling: float, height: int, worked: Precision
) -> dict[str, Array]:
    """Return the bounds of a train step whose sums have that height: `docs/tolerances.md`, section 10."""
    x, old, mean = situation.x, situation.state["moving_mean"], values["batch_mean"]
    rule = situation.dialect, situation.configuration.decay, situation.trained
    mean_bound = _mean_bound(x, height, worked)
    after_bound = moved_bound(old, mean, mean_bound, weights(*rule, x.dtype.type), worked, debiasing(*rule))
    center_bound = {
        "batch": mean_bound,
        "moving_before": np.zeros_like(mean_bound),
        "moving_after": after_bound,
    }[situation.dialect.normalizes_with]
    bounds = {
        "output": _difference_bound(values["output"], center_bound, worked),
        "batch_mean": mean_bound,
        "moving_mean": after_bound,
    }
    if situation.upstream is not None:
        subtracted = coupling * _mean_bound(situation.upstream, height, worked)
        bounds["grad_input"] = _difference_bound(values["grad_input"], subtracted, worked)
    return bounds


def infer(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one inference step must give: y = x - M, rounded once; dx = g, exactly."""
    output = situation.x - situation.state["moving_mean"]
    values, bounds = {"output": output}, {"output": worked.unit * np.abs(output) + worked.tiny}
    if situation.upstream is not None:
        values["grad_input"] = situation.upstream
        bounds["grad_input"] = np.zeros(situation.upstream.shape)
    return _expected(situation, values, {"": bounds}, worked)


def _mean_bound(x: Array, height: int, worked: Precision) -> Array:
    return np.asarray(theta(height + 2, worked.unit) * np.abs(x).mean(axis=0) + 2 * worked.tiny)


def _difference_bound(value: Array, mean_bound: Array, worked: Precision) -> Array:
    return np.asarray(mean_bound + worked.unit * (np.abs(value) + mean_bound) + worked.tiny)


def _expected(
    situation: Situation, values: Mapping[str, Array], classes: Mapping[str, Mapping[str, Array]], worked: Precision
) -> dict[str, Expected]:
    """Return the values with their bounds by class, the widest under ""."""
    size = np.abs(situation.x).max(axis=0, initial=0)
    pull = size if situation.upstream is None else np.abs(situation.upstream).max(axis=0, initial=0)
    held = size + np.abs(situation.state["moving_mean"])
    sums = np.abs(situation.x).sum(axis=0)
    in_domain = (sums < worked.largest) | ~np.isfinite(sums)
    result = {}
    for name, value in values.items():
        magnitude = pull if name == "grad_input" else held
        limits = {grade: np.asarray(bounds[name], dtype=np.float64) for grade, bounds in classes.items()}
        result[name] = Expected(
            value=value,
            bound=limits.pop(""),
            magnitude=np.where(magnitude > 0, magnitude, np.inf).astype(np.float64),
            in_domain=in_domain,
            narrower=limits,
        )
    return result


def _terms(situation: Situation, center: Array) -> dict[str, dict[str, Array]]:
    """Return the terms that each quantity adds up, of values that are not none."""
    x, upstream, old = situation.x, situation.upstream, situation.state["moving_mean"]
    if not x.size:
        return {}
    quantities = {"output": {"x": x, "μ": center}, "moving_mean": {"old": old, "batch": batch_mean(x)}}
    if upstream is not None:
        quantities["grad_input"] = {"g": upstream, "mean(g)": batch_mean(upstream)}
    return quantities


CENTERING = Operation(
    name="centering",
    dialect=Dialect(frozen_implies_inference=True),
    ladder="",
    quantities={
        "moving_mean": Quantity(role="state"),
        "output": Quantity(role="output", shape="input"),
        "batch_mean": Quantity(role="statistic"),
        "grad_input": Quantity(role="gradient", shape="input", by="input"),
    },
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
    rational=rational.PASSES,
    observers={
        "centering": lambda passes, worked: {
            **observers.empty_batch(passes),
            **observers.later_update(passes, train, worked),
            **observers.state(passes, infer, worked),
            **observers.statistics_dtype(passes),
        },
        "freezing": lambda passes, worked: observers.frozen_implies_inference(passes, train, infer, worked),
    },
    hypotheses=diagnosis.hypotheses,
    train_terms=lambda situation: _terms(situation, batch_mean(situation.x)),
    infer_terms=lambda situation: _terms(situation, situation.state["moving_mean"]),
    by_feature=True,
    equations=equations.equations,
    implied=equations.implied,
    # Two or three each way: what comes in, what goes out, and what comes in a second time for its mean.
    traffic={"infer": Traffic(2, 2), "train_forward": Traffic(2, 3), "train": Traffic(2 + 2, 3 + 3)},
)

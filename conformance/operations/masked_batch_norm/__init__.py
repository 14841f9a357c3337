"""Batch normalization by the statistics of the positions that a mask counts: `spec/semantics.md`, section 22."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations import batch_norm, observers
from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.batch_norm.overflow import Reach, domains
from conformance.operations.batch_norm.reference import Gradients
from conformance.operations.batch_norm.tolerance import Algorithm, output_bound, root_bound, size, sizes
from conformance.operations.expected import Expected
from conformance.operations.masked_batch_norm import diagnosis, rational, reference, tolerance
from conformance.operations.masked_batch_norm.reference import Trained
from conformance.operations.masked_batch_norm.terms import train_terms
from conformance.operations.masked_batch_norm.tolerance import Class
from conformance.operations.operation import Operation
from conformance.operations.situation import Situation
from conformance.precision import Precision

Array = np.ndarray[Any, np.dtype[Any]]


def train(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one train step must give; where no position counts, the state alone, as it was (22.8)."""
    if situation.x.shape[0] == 0:
        return batch_norm.train(situation, worked)
    if not reference.counts(situation).any():
        return _kept(situation)
    with np.errstate(all="ignore"):
        trained = reference.training(situation)
        gradients = None
        if situation.upstream is not None:
            gradients = reference.gradients(trained.normalization, situation.upstream, trained.counted)
        classes = {
            grade: _bounds(situation, trained, gradients, class_)
            for grade, class_ in _classes(situation, trained, worked).items()
        }
        return _expected(situation, trained, _values(trained, gradients), classes, worked)


def _classes(situation: Situation, trained: Trained, worked: Precision) -> dict[str, Class]:
    """Return the widest class that the situation admits, and for a grade the narrower ones, as batch normalization."""
    counts = trained.statistics.count, situation.x.shape[0]

    def class_of(variance: Any, heights: tuple[int, int]) -> Class:
        counted, whole = (Algorithm(variance=variance, worked=worked, height=height) for height in heights)
        return Class(counted=counted, all=whole)

    sequential = counts[0] - 1, counts[1] - 1
    classes = {"": class_of(situation.variance, sequential)}
    if situation.graded:
        classes["A"] = class_of("two_pass", (math.ceil(math.log2(counts[0])), math.ceil(math.log2(counts[1]))))
        classes["D"] = class_of("two_pass", sequential)
    return classes


def _values(trained: Trained, gradients: Gradients | None) -> dict[str, Array]:
    values = {
        "batch_mean": trained.statistics.mean,
        "batch_variance": trained.statistics.variance,
        "moving_mean": trained.after[0],
        "moving_variance": trained.after[1],
        "output": trained.normalization.output,
    }
    if gradients is not None:
        values |= {"grad_input": gradients.input, "grad_gamma": gradients.gamma, "grad_beta": gradients.beta}
    return values


def _bounds(situation: Situation, trained: Trained, gradients: Gradients | None, class_: Class) -> dict[str, Array]:
    n, worked = trained.normalization, class_.counted.worked
    statistics = tolerance.statistics_bound(situation, trained, class_.counted)
    moving_mean, moving_variance = tolerance.moving_bounds(situation, trained, statistics, class_.counted)
    root = root_bound(n.variance, situation.configuration.epsilon, statistics, worked.unit)
    measured = sizes(situation, n)
    bounds = {
        "batch_mean": statistics.mean,
        "batch_variance": statistics.variance,
        "moving_mean": moving_mean,
        "moving_variance": moving_variance,
        "output": output_bound(measured, root, statistics, worked),
    }
    if gradients is not None:
        limits = tolerance.gradients_bound(measured, n, gradients, root, statistics, trained.counted, class_.all)
        bounds |= {"grad_input": limits.input, "grad_gamma": limits.gamma, "grad_beta": limits.beta}
    return bounds


def _expected(
    situation: Situation,
    trained: Trained,
    values: Mapping[str, Array],
    classes: Mapping[str, Mapping[str, Array]],
    worked: Precision,
) -> dict[str, Expected]:
    counted = situation.x[trained.counted]
    squares = np.einsum("ij,ij->j", counted, counted)
    magnitudes = _magnitudes(situation, trained, squares)
    inside = domains(_reach(situation, trained, squares), worked)
    return {
        name: Expected(
            value=value,
            bound=np.asarray(classes[""][name], dtype=np.float64),
            magnitude=np.asarray(magnitudes[name], dtype=np.float64),
            in_domain=inside.get(name, inside[""]),
            narrower={grade: bounds[name] for grade, bounds in classes.items() if grade},
        )
        for name, value in values.items()
    }


def _reach(situation: Situation, trained: Trained, squares: Array) -> Reach:
    n, counted = trained.normalization, size(situation.x[trained.counted])
    return Reach(
        measured=True,
        sums=counted.sum(axis=0),
        squares=squares,
        # A position that does not count is normalized too.
        largest=np.nan_to_num(size(situation.x), nan=0.0, posinf=0.0).max(axis=0, initial=0),
        root=np.sqrt(n.variance + situation.configuration.epsilon),
        gamma=size(n.gamma),
        beta=size(n.beta),
        pull=np.zeros_like(squares) if situation.upstream is None else size(situation.upstream).sum(axis=0),
    )


def _magnitudes(situation: Situation, trained: Trained, squares: Array) -> dict[str, Array]:
    """Return the size of the terms each quantity is made of, per feature; dx is also made of those of dγ."""
    n, count = trained.normalization, trained.statistics.count
    level = size(situation.x[trained.counted]).mean(axis=0)
    # What does not count may be no number: the size of the feature is that of its finite values.
    farthest = np.nan_to_num(size(n.normalized), nan=0.0, posinf=0.0).max(axis=0)
    magnitudes = {
        "batch_mean": level,
        "batch_variance": squares / count,
        "moving_mean": level + np.abs(situation.state["moving_mean"]),
        "moving_variance": squares / count + np.abs(situation.state["moving_variance"]),
        "output": size(n.gamma) * (farthest + 1) + size(n.beta),
    }
    if situation.upstream is not None:
        pull = size(situation.upstream)
        whole = pull.sum(axis=0)
        magnitudes["grad_beta"] = whole
        magnitudes["grad_gamma"] = whole * np.maximum(1, farthest)
        strongest = pull.max(axis=0) + whole * np.maximum(1, farthest) ** 2 / count
        magnitudes["grad_input"] = size(n.gamma) * size(n.inverse_root) * strongest
    return magnitudes


def _kept(situation: Situation) -> dict[str, Expected]:
    """Return the moving values as they were: there are no statistics, and what comes out is not fixed."""
    state = {name: situation.state[name] for name in ("moving_mean", "moving_variance")}
    return {
        name: Expected(
            value=value,
            bound=np.zeros(value.shape),
            magnitude=np.full(value.shape, np.inf),
            in_domain=np.ones(value.shape, dtype=np.bool_),
        )
        for name, value in state.items()
    }


MASKED_BATCH_NORM = Operation(
    name="masked_batch_norm",
    dialect=Dialect(),
    ladder="",
    quantities=BATCH_NORM.quantities,
    initial=BATCH_NORM.initial,
    formulas={
        **BATCH_NORM.formulas,
        "train": (
            "k = Σw,  μ = Σw·x/k,  σ² = Σw·(x-μ)²/k,  x̂ = (x-μ)/√(σ²+ε),  y = γ·x̂ + β;  "
            "M ← a·M + (1-a)·μ,  V ← a·V + (1-a)·σ²;  "
            "dβ = Σg,  dγ = Σg·x̂,  dx = γ/√(σ²+ε) · (g - w·(dβ + x̂·dγ)/k);  w is 1 where x counts, else 0"
        ),
    },
    train=train,
    infer=batch_norm.infer,
    rational=rational.PASSES,
    observers={"masked": lambda passes, worked: observers.statistics_dtype(passes)},  # noqa: ARG005 - exact
    hypotheses=diagnosis.hypotheses,
    train_terms=train_terms,
    infer_terms=BATCH_NORM.infer_terms,
    arrays={"mask": "mask"},
)

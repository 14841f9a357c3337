"""Batch normalization: what each quantity of a step must be, within which bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.dialect import CANONICAL
from conformance.dialect import Dialect as Dialect
from conformance.operations import observers
from conformance.operations.batch_norm import diagnosis, equations, probe, rational, reference, terms, tolerance
from conformance.operations.batch_norm.expectations import MOVING
from conformance.operations.batch_norm.overflow import Reach, domains
from conformance.operations.batch_norm.reference import Gradients, Normalization, Statistics
from conformance.operations.batch_norm.tolerance import EXACT, Algorithm, Measured, Sizes, StatisticsBound
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis as Hypothesis
from conformance.operations.kept import kept
from conformance.operations.moving import debiasing, moved_bound, weights
from conformance.operations.operation import Operation, Quantity, Traffic
from conformance.operations.situation import Situation
from conformance.precision import Precision
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One step by the reference, and the sizes that its bounds are made of."""

    situation: Situation
    normalization: Normalization
    gradients: Gradients | None
    sizes: Sizes


_GRADIENTS = frozenset({"grad_input", "grad_gamma", "grad_beta"})
_OUTPUT = frozenset({"output"})
_TRANSFORMED = _GRADIENTS | _OUTPUT
#: Where the domain is not asked for.
_ANYWHERE = np.ones((), dtype=np.bool_)


def train(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one train step must give; an empty batch changes nothing."""
    if situation.x.shape[0] == 0:
        return _empty(situation)
    if situation.x.shape[0] == 1 and situation.dialect.single_value == "identity":
        return _identity(situation)
    with np.errstate(all="ignore"):
        if not _wanted(situation, _TRANSFORMED):
            return _statistics_alone(situation, worked)
        statistics, after, normalization = reference.training(situation)
        outputs, gradients = _outputs(situation, normalization)
        sizes = tolerance.sizes(situation, normalization)
        step = Step(situation=situation, normalization=normalization, gradients=gradients, sizes=sizes)
        classes = {
            grade: _train_bounds(step, statistics, after, algorithm)
            for grade, algorithm in classes_of(situation, worked).items()
        }
        values = {
            "batch_mean": statistics.mean,
            "batch_variance": statistics.variance,
            "moving_mean": after[0],
            "moving_variance": after[1],
            **outputs,
        }
        return expected(step, values, classes, worked)


def _statistics_alone(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what a train step must give of statistics and moving values, where nothing else is wanted: no transform."""
    statistics, after = reference.moving(situation)
    sizes, squares = tolerance.sizes_of_batch(situation.x), _squares(situation.x)
    algorithm = Algorithm(variance=situation.variance, worked=worked, height=max(0, situation.x.shape[0] - 1))
    _, bounds = _statistics_bounds(situation, sizes, statistics, after, algorithm)
    magnitudes = _magnitudes_of_statistics(situation, sizes, squares)
    values = {
        "batch_mean": statistics.mean,
        "batch_variance": statistics.variance,
        "moving_mean": after[0],
        "moving_variance": after[1],
    }
    return {
        name: Expected(
            value=value,
            bound=np.asarray(bounds[name], dtype=np.float64),
            magnitude=np.asarray(magnitudes[name], dtype=np.float64),
            in_domain=_ANYWHERE,
        )
        for name, value in values.items()
        if name in situation.wanted
    }


def infer(situation: Situation, worked: Precision) -> dict[str, Expected]:
    """Return what one inference step must give."""
    with np.errstate(all="ignore"):
        normalization = reference.inference(situation)
        outputs, gradients = _outputs(situation, normalization)
        sizes = tolerance.sizes(situation, normalization)
        step = Step(situation=situation, normalization=normalization, gradients=gradients, sizes=sizes)
        classes = {
            grade: _transform_bounds(step, EXACT, algorithm)
            for grade, algorithm in classes_of(situation, worked).items()
        }
        return expected(step, outputs, classes, worked)


def classes_of(situation: Situation, worked: Precision) -> dict[str, Algorithm]:
    """Return the widest class that the situation admits, and for a grade the narrower ones.

    A: two passes, sums of the smallest height. D: two passes, sequential sums. W: Welford or merged, sequential.
    """
    count = situation.x.shape[0]
    sequential = max(0, count - 1)
    classes = {"": Algorithm(variance=situation.variance, worked=worked, height=sequential)}
    if situation.graded:
        pairwise = math.ceil(math.log2(count)) if count > 1 else 0
        classes["A"] = Algorithm(variance="two_pass", worked=worked, height=pairwise)
        classes["D"] = Algorithm(variance="two_pass", worked=worked, height=sequential)
    return classes


def _outputs(situation: Situation, normalization: Normalization) -> tuple[dict[str, Array], Gradients | None]:
    if situation.upstream is None or not _wanted(situation, _GRADIENTS):
        return {"output": normalization.output}, None
    gradients = reference.gradients(normalization, situation.upstream, situation.x)
    values = {"grad_input": gradients.input, "grad_gamma": gradients.gamma, "grad_beta": gradients.beta}
    return {"output": normalization.output, **values}, gradients


def _wanted(situation: Situation, names: frozenset[str]) -> bool:
    """Return whether any of the named quantities is wanted."""
    return not situation.wanted or not situation.wanted.isdisjoint(names)


def _train_bounds(
    step: Step, statistics: Statistics, after: tuple[Array, Array], algorithm: Algorithm
) -> dict[str, Array]:
    situation, worked = step.situation, algorithm.worked
    dialect, count = situation.dialect, statistics.count
    bound, bounds = _statistics_bounds(situation, step.sizes, statistics, after, algorithm)
    normalizing = bound
    match dialect.normalizes_with:
        case "batch":
            if dialect.normalizing_correction and count > 1:
                normalizing = tolerance.corrected(bound, count / (count - 1), statistics.variance, worked.unit)
        case "moving_before":
            normalizing = EXACT
        case "moving_after":
            # The gradient goes through the batch mean as well, whose error may be the larger.
            either, moving_variance = np.maximum(bounds["moving_mean"], bound.mean), bounds["moving_variance"]
            normalizing = StatisticsBound(mean=either, above=moving_variance, below=moving_variance)
    return bounds | _transform_bounds(step, normalizing, algorithm)


def _statistics_bounds(
    situation: Situation, sizes: Measured, statistics: Statistics, after: tuple[Array, Array], algorithm: Algorithm
) -> tuple[StatisticsBound, dict[str, Array]]:
    """Return the bounds of the batch's statistics, alone and with those of the moving values where these are asked for."""
    bound = tolerance.statistics_bound(sizes, statistics.mean, statistics.variance, algorithm)
    bounds = {"batch_mean": bound.mean, "batch_variance": bound.variance}
    if _wanted(situation, MOVING) or situation.dialect.normalizes_with == "moving_after":
        mean, variance = _moving_bounds(situation, statistics, after, bound, algorithm.worked)
        bounds |= {"moving_mean": mean, "moving_variance": variance}
    return bound, bounds


def _moving_bounds(
    situation: Situation,
    statistics: Statistics,
    after: tuple[Array, Array],
    bound: StatisticsBound,
    worked: Precision,
) -> tuple[Array, Array]:
    dialect, decay, count = situation.dialect, situation.decay, statistics.count
    weight = weights(dialect, decay, situation.trained, situation.x.dtype.type)
    entering = bound
    if dialect.moving_correction and count > 1:
        entering = tolerance.corrected(bound, count / (count - 1), statistics.variance, worked.unit)
    debiased = debiasing(dialect, decay, situation.trained)
    old_mean, old_variance = situation.state["moving_mean"], situation.state["moving_variance"]
    mean = moved_bound(old_mean, statistics.mean, bound.mean, weight, worked, debiased)
    batch_variance = reference.moving_variance_batch(situation, statistics)
    variance = moved_bound(old_variance, batch_variance, entering.variance, weight, worked, debiased)
    if dialect.update == "merge" and situation.trained:
        factor = float(weight[0] * weight[1])
        variance = variance + tolerance.spread_bound(old_mean, statistics.mean, bound.mean, factor, after[1], worked)
    return mean, variance


def _transform_bounds(step: Step, bound: StatisticsBound, algorithm: Algorithm) -> dict[str, Array]:
    worked, epsilon = algorithm.worked, step.situation.least
    root = tolerance.root_bound(step.normalization.variance, epsilon, bound, worked.unit)
    bounds = {}
    if _wanted(step.situation, _OUTPUT):
        bounds["output"] = tolerance.output_bound(step.sizes, root, bound, worked)
    if step.gradients is not None:
        limits = tolerance.gradients_bound(step.sizes, step.normalization, step.gradients, root, bound, algorithm)
        bounds |= {"grad_input": limits.input, "grad_gamma": limits.gamma, "grad_beta": limits.beta}
    return bounds


def expected(
    step: Step,
    values: Mapping[str, Array],
    classes: Mapping[str, Mapping[str, Array]],
    worked: Precision,
    sizes: Mapping[str, Array] | None = None,
) -> dict[str, Expected]:
    """Return the values with their bounds by class, the widest under ""; `sizes` are magnitudes of an operation's own."""
    squares = _squares(step.situation.x)
    held = _magnitudes(step, squares) | dict(sizes or {})
    wanted = step.situation.wanted or values.keys()
    inside = {"": _ANYWHERE} if step.situation.wanted else _domains(step, squares, values, worked)
    return {
        name: Expected(
            value=value,
            bound=np.asarray(classes[""][name], dtype=np.float64),
            magnitude=np.asarray(held[name], dtype=np.float64),
            in_domain=inside.get(name, inside[""]),
            narrower={grade: bounds[name] for grade, bounds in classes.items() if grade},
        )
        for name, value in values.items()
        if name in wanted
    }


@kept
def _squares(x: Array) -> Array:
    return reference.dot(x, x)


def _magnitudes(step: Step, squares: Array) -> dict[str, Array]:
    """Return the size of the terms each quantity is made of, per feature."""
    situation, sizes = step.situation, step.sizes
    farthest = np.maximum.reduce(sizes.normalized, axis=0, initial=0)
    if not np.isfinite(farthest).all():
        # A NaN in inference is its own element's: the size of the feature is that of its finite ones.
        farthest = np.nan_to_num(sizes.normalized, nan=0.0, posinf=0.0).max(axis=0, initial=0)
    magnitudes = _magnitudes_of_statistics(situation, sizes, squares)
    magnitudes["output"] = sizes.gamma * (farthest + 1) + sizes.beta
    if sizes.pull is not None and sizes.total is not None:
        magnitudes["grad_beta"] = sizes.total
        magnitudes["grad_gamma"] = sizes.total * np.maximum(1, farthest)
        strongest = np.maximum.reduce(sizes.pull, axis=0, initial=0) + _carried(step, farthest)
        magnitudes["grad_input"] = sizes.gamma * sizes.inverse_root * strongest
    return magnitudes


def _magnitudes_of_statistics(situation: Situation, sizes: Measured, squares: Array) -> dict[str, Array]:
    square = squares / max(1, len(situation.x))
    magnitudes = {
        "batch_mean": sizes.level,
        "batch_variance": square,
        "moving_mean": sizes.level + np.abs(situation.state["moving_mean"]),
        "moving_variance": square + np.abs(situation.state["moving_variance"]),
    }
    if situation.dialect.update == "merge":
        magnitudes["moving_variance"] = magnitudes["moving_variance"] + situation.state["moving_mean"] ** 2
    return magnitudes


def _carried(step: Step, farthest: Array) -> Array | float:
    """Return the size of what reaches dx through mean and variance: b(|dβ| + κ max|x - μ|r |dγ|)/m."""
    g, n = step.gradients, step.normalization
    if g is None or not n.coupling:
        return 0.0
    own = farthest if g.own is n.normalized else np.maximum.reduce(np.abs(g.own), axis=0, initial=0)
    carried = tolerance.size(g.beta) + own * tolerance.size(g.gamma)
    return np.asarray(float(n.coupling) / max(1, len(step.situation.x)) * carried)


def _domains(step: Step, squares: Array, values: Mapping[str, Array], worked: Precision) -> dict[str, Array]:
    """Return, by quantity and for each feature, whether every intermediate stays within the working precision's range."""
    situation, n, sizes = step.situation, step.normalization, step.sizes
    reach = Reach(
        measured="batch_mean" in values,
        sums=sizes.level * len(situation.x),
        squares=squares,
        largest=sizes.largest,
        root=np.sqrt(n.variance + situation.configuration.epsilon),
        gamma=sizes.gamma,
        beta=sizes.beta,
        pull=np.zeros_like(sizes.level) if sizes.total is None else sizes.total,
    )
    return domains(reach, worked)


def _empty(situation: Situation) -> dict[str, Expected]:
    """Return what an empty batch gives: nothing out, zero gradients of gamma and beta, the state kept."""
    zero = np.zeros(situation.configuration.feature_count, dtype=np.longdouble)
    values = {
        "output": situation.x,
        "grad_input": situation.x,
        "grad_gamma": zero,
        "grad_beta": zero,
        "moving_mean": situation.state["moving_mean"],
        "moving_variance": situation.state["moving_variance"],
    }
    return {name: _certain(value, zero) for name, value in values.items()}


def _identity(situation: Situation) -> dict[str, Expected]:
    """Return what a single value per feature gives where the dialect lets it pass as it is."""
    state, zero = situation.state, np.zeros(situation.configuration.feature_count)
    values = {
        "output": situation.x,
        "grad_input": situation.upstream if situation.upstream is not None else situation.x,
        # Neither has an effect.
        "grad_gamma": zero,
        "grad_beta": zero,
        "moving_mean": state["moving_mean"],
        "moving_variance": state["moving_variance"],
    }
    return {name: _certain(value, zero) for name, value in values.items()}


def _certain(value: Array, zero: Array) -> Expected:
    none = np.zeros(value.shape)
    return Expected(value=value, bound=none, magnitude=np.full(zero.shape, np.inf), in_domain=zero == 0)


def _scales(configuration: Configuration) -> bool:
    return configuration.scale


def _centers(configuration: Configuration) -> bool:
    return configuration.center


#: What batch normalization and its kin have in common.
QUANTITIES: Mapping[str, Quantity] = {
    "gamma": Quantity(role="learned", present=_scales),
    "beta": Quantity(role="learned", present=_centers),
    "moving_mean": Quantity(role="state"),
    "moving_variance": Quantity(role="state"),
    "output": Quantity(role="output", shape="input"),
    "batch_mean": Quantity(role="statistic"),
    "batch_variance": Quantity(role="statistic"),
    "grad_input": Quantity(role="gradient", shape="input", by="input"),
    "grad_gamma": Quantity(role="gradient", by="gamma", present=_scales),
    "grad_beta": Quantity(role="gradient", by="beta", present=_centers),
}

BATCH_NORM = Operation(
    name="batch_norm",
    dialect=CANONICAL,
    ladder="stability",
    quantities=QUANTITIES,
    initial={"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0},
    formulas={
        "train": (
            "μ = Σx/m,  σ² = Σ(x-μ)²/m,  x̂ = (x-μ)/√(σ²+ε),  y = γ·x̂ + β;  "
            "M ← a·M + (1-a)·μ,  V ← a·V + (1-a)·σ²;  "
            "dβ = Σg,  dγ = Σg·x̂,  dx = γ/√(σ²+ε) · (g - dβ/m - x̂·dγ/m)"
        ),
        "infer": "x̂ = (x-M)/√(V+ε),  y = γ·x̂ + β;  dβ = Σg,  dγ = Σg·x̂,  dx = γ/√(V+ε) · g",
        "sgd": "γ ← γ - η·dγ,  β ← β - η·dβ",
        "reload": "the state after loading = the state before saving, bit for bit",
        "freeze": "the state stays as it is",
        "unfreeze": "the state stays as it is",
    },
    train=train,
    infer=infer,
    rational=rational.PASSES,
    observers={
        "probe": lambda passes, worked: probe.observe(passes, train, worked),
        "edges": lambda passes, worked: {
            **observers.single_value(passes, train, worked),
            **observers.empty_batch(passes),
        },
        "freezing": lambda passes, worked: observers.frozen_implies_inference(passes, train, infer, worked),
        "moving": lambda passes, worked: {
            **observers.later_update(passes, train, worked),
            **observers.state(passes, infer, worked),
            **observers.statistics_dtype(passes),
        },
        "precision": lambda passes, worked: observers.statistics_dtype(passes),  # noqa: ARG005 - dtypes are exact
    },
    hypotheses=diagnosis.hypotheses,
    selecting=frozenset({train, infer}),
    train_terms=terms.train_terms,
    infer_terms=terms.infer_terms,
    by_feature=True,
    equations=equations.equations,
    implied=equations.implied,
    # Forward: x in, y out, x a second time for its statistics. Backward: x and g in, dx out, x and g a second time.
    traffic={"infer": Traffic(2, 2), "train_forward": Traffic(2, 3), "train": Traffic(2 + 3, 3 + 5)},
)

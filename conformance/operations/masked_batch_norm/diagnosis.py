"""The single changes of masked batch normalization that implementations have got wrong, or might.

What changes configuration, dialect or what a step starts from is as in batch normalization; what the mask is taken
for, and what is divided by, is of this operation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.cause import Cause, because
from conformance.dialect import Dialect
from conformance.operations.batch_norm import diagnosis as unmasked
from conformance.operations.batch_norm.expectations import MOVING, changed_to, rounded_by
from conformance.operations.batch_norm.reference import Gradients, Normalization, corrected, normalize, total
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.masked_batch_norm import reference
from conformance.operations.moving import moved, weights
from conformance.operations.situation import Situation
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

_PRODUCED = frozenset({"output", "grad_input", "grad_gamma", "grad_beta"})
_LEARNED = frozenset({"grad_gamma", "grad_beta"})
#: What is added to a count lest it be zero.
_ADDED = (1e-7, 1e-5, 1e-3, 1.0)


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses, those about the mask first."""
    yield from about_the_mask(Hypothesis(configuration=configuration, dialect=dialect))
    yield from map(_where_everything_counts, unmasked.hypotheses(configuration, dialect))


def _where_everything_counts(hypothesis: Hypothesis) -> Hypothesis:
    """Return an unmasked hypothesis; one that rewrites results, by formulas without a mask, for steps that leave nothing out."""
    change = hypothesis.change_results
    if change is None:
        return hypothesis

    def change_results(situation: Situation, results: Results) -> Results:
        return change(situation, results) if reference.counts(situation).all() else {}

    # What a substitute is kept by, the input, says nothing of the mask.
    return replace(hypothesis, change_results=change_results, substitute=None)


def about_the_mask(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield the hypotheses about what the mask is taken for, what sums are divided by, and what follows."""
    yield from _mask(base)
    yield from _divisor(base)
    yield from _nothing_counts(base)
    yield from _output(base)
    yield from _gradients(base)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sums:
    """Which values enter the statistics, each feature's own, (m, C), and what their sums are divided by, (C,)."""

    counted: Array
    divisor: Array
    #: What enters the sums; a value that does not count is else left out, number or not.
    x: Array | None = None
    #: Whether the gradient is the closed form with that divisor, which is not the derivative.
    closed: bool = False


def _hypothesis(
    base: Hypothesis, cause: Cause, change: Callable[[Situation], _Sums | None], only: frozenset[str] = frozenset()
) -> Hypothesis:
    def change_results(situation: Situation, results: Results) -> Results:
        if not results.keys() >= MOVING or not situation.x.size:
            return {}
        sums = change(situation)
        if sums is None:
            return {}
        with np.errstate(all="ignore"):
            values = _values(situation, sums)
        return {name: changed_to(results[name], values[name], len(situation.x)) for name in results if name in values}

    return replace(base, cause=cause, change_results=change_results, only=only)


def _values(situation: Situation, sums: _Sums) -> dict[str, Array]:
    """Return every quantity by other sums, with the gradients that automatic differentiation gives for them.

    μ = Σwx/D, σ² = Σw(x - μ)²/D; with D not Σw the second term of dL/dμ does not vanish.
    """
    x = np.where(sums.counted, situation.x, 0) if sums.x is None else sums.x
    mean = total(x) / sums.divisor
    deviation = np.where(sums.counted, situation.x - mean, 0)
    variance = total(deviation * deviation) / sums.divisor
    n = normalize(situation, mean, variance, 1.0)
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    correction = situation.dialect.moving_correction
    count = sums.counted.sum(axis=0)
    entering = variance * np.where(count > correction, count / np.maximum(count - correction, 1), 1)
    values = {
        "batch_mean": mean,
        "batch_variance": variance,
        "moving_mean": moved(situation.state["moving_mean"], mean, weight),
        "moving_variance": moved(situation.state["moving_variance"], np.asarray(entering), weight),
        "output": n.output,
    }
    if situation.upstream is not None:
        g = _differentiated(situation.upstream, n, sums, deviation)
        values |= {"grad_input": g.input, "grad_gamma": g.gamma, "grad_beta": g.beta}
    return values


def _differentiated(upstream: Array, n: Normalization, sums: _Sums, deviation: Array) -> Gradients:
    grad_beta, grad_gamma = total(upstream), total(upstream * n.normalized)
    scale = n.gamma * n.inverse_root
    if sums.closed:
        pull = np.where(sums.counted, (grad_beta + n.normalized * grad_gamma) / sums.divisor, 0)
        return Gradients(beta=grad_beta, gamma=grad_gamma, input=scale * (upstream - pull), own=n.normalized)
    to_variance = -n.gamma * n.inverse_root**2 * grad_gamma / 2
    to_mean = -scale * grad_beta - 2 * to_variance * total(deviation) / sums.divisor
    through = np.where(sums.counted, (to_mean + 2 * to_variance * deviation) / sums.divisor, 0)
    return Gradients(beta=grad_beta, gamma=grad_gamma, input=scale * upstream + through, own=n.normalized)


def _alike(situation: Situation, counted: Array) -> Array:
    """Return a mask of positions for every feature, (m, C)."""
    return np.broadcast_to(counted[:, np.newaxis], situation.x.shape)


def _mask(base: Hypothesis) -> Iterator[Hypothesis]:
    def read(id_: str, change: Callable[[Situation], Array], only: frozenset[str] = frozenset()) -> Hypothesis:
        def change_situation(situation: Situation) -> Situation:
            return replace(situation, arrays={"mask": change(situation)}) if "mask" in situation.arrays else situation

        return replace(base, cause=because(id_), change_situation=change_situation, only=only)

    def everything(situation: Situation) -> Array:
        return np.ones_like(reference.counts(situation))

    yield read("mask-ignored", everything)
    yield read("mask-ignored-by-moving", everything, MOVING)
    yield read("mask-ignored-by-output", everything, _PRODUCED)
    yield read("mask-inverted", lambda situation: ~reference.counts(situation))
    yield read("mask-by-row", _by_row)
    for shift in (1, -1):
        yield read("mask-of-neighbour", functools.partial(_shifted, shift))
    yield read("mask-column-major", _column_major)
    yield _hypothesis(base, because("mask-along-features"), _along_features)


def _by_row(situation: Situation) -> Array:
    rows = _rows(situation)
    return np.repeat(rows.any(axis=1), rows.shape[1])


def _shifted(shift: int, situation: Situation) -> Array:
    return np.roll(reference.counts(situation), shift)


def _column_major(situation: Situation) -> Array:
    shape = _reduced(situation)
    return reference.counts(situation).reshape(shape).reshape(-1, order="F")


def _reduced(situation: Situation) -> tuple[int, ...]:
    return tuple(situation.shape[axis] for axis in situation.configuration.reduction_axes)


def _samples(situation: Situation) -> int:
    return situation.shape[0] if 0 in situation.configuration.reduction_axes else 1


def _rows(situation: Situation) -> Array:
    """Return which positions count, as one row for each sample."""
    counted, samples = reference.counts(situation), _samples(situation)
    return counted.reshape(samples, len(counted) // max(1, samples))


def _along_features(situation: Situation) -> _Sums | None:
    """Return a mask whose axes are the input's first ones, the last being the one that is missing.

    Where the features are not last, it counts some of them at every position of the last axis, and of a feature of which it
    counts nothing the statistics are 0.
    """
    axes, shape = situation.configuration.feature_axes, situation.shape
    reduced = _reduced(situation)
    if len(axes) != 1 or axes[0] == len(shape) - 1 or reduced != shape[:-1]:
        return None
    whole = np.broadcast_to(reference.counts(situation).reshape(reduced)[..., np.newaxis], shape)
    counted = np.moveaxis(whole, axes[0], -1).reshape(situation.x.shape)
    return _Sums(counted=counted, divisor=np.maximum(counted.sum(axis=0), 1).astype(situation.x.dtype))


def _divisor(base: Hypothesis) -> Iterator[Hypothesis]:
    divisors: dict[str, Callable[[Situation], float]] = {
        "all positions": lambda situation: len(situation.x),
        "one position less": lambda situation: max(1, int(reference.counts(situation).sum()) - 1),
        "the samples that count": _samples_that_count,
        "all samples": _samples,
        **{f"the positions that count, and {added:g}": functools.partial(_more, added) for added in _ADDED},
    }
    for name, by in divisors.items():
        for closed in (False, True):
            yield _hypothesis(base, because("wrong-divisor", divisor=name), functools.partial(_divided, by, closed))
    yield _hypothesis(base, because("uncounted-multiplied-by-zero"), _multiplied)
    for counted, count in (
        ("the positions", lambda s: len(s.x)),
        ("the positions that count", lambda s: reference.counts(s).sum()),
    ):
        change = functools.partial(_corrected_by, count)
        yield replace(
            base, cause=because("masked-moving-correction", counted=counted), change_results=change, only=MOVING
        )


def _divided(by: Callable[[Situation], float], closed: bool, situation: Situation) -> _Sums | None:
    counted, divisor = reference.counts(situation), by(situation)
    if not counted.any() or divisor == counted.sum():
        return None
    whole = np.full(situation.x.shape[1], divisor, situation.x.dtype)
    return _Sums(counted=_alike(situation, counted), divisor=whole, closed=closed)


def _more(added: float, situation: Situation) -> float:
    return float(reference.counts(situation).sum()) + added


def _samples_that_count(situation: Situation) -> int:
    return max(1, int(_rows(situation).any(axis=1).sum()))


def _multiplied(situation: Situation) -> _Sums | None:
    counted = reference.counts(situation)
    if np.isfinite(situation.x).all() or not counted.any():
        return None
    whole = _alike(situation, counted)
    return _Sums(counted=whole, divisor=whole.sum(axis=0).astype(situation.x.dtype), x=situation.x * whole)


def _corrected_by(count: Callable[[Situation], Any], situation: Situation, results: Results) -> Results:
    counted = reference.counts(situation)
    number = int(count(situation))
    if "moving_variance" not in results or not counted.any() or number < 2:
        return {}
    statistics = reference.training(situation).statistics
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    entering = corrected(replace(statistics, count=number), 1)
    value = moved(situation.state["moving_variance"], entering, weight)
    return {**results, "moving_variance": changed_to(results["moving_variance"], value)}


def _nothing_counts(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield what may be made of the statistics of no values: 0, 0/0, or those of all."""

    def entering(id_: str, value: Callable[[Situation], tuple[Array, Array]]) -> Hypothesis:
        def change_results(situation: Situation, results: Results) -> Results:
            if not results.keys() >= MOVING or not situation.x.size or reference.counts(situation).any():
                return {}
            weight = weights(
                situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type
            )
            batch = dict(zip(("moving_mean", "moving_variance"), value(situation), strict=True))
            # The right values are those before, to the bit: what is moved is rounded as an average is.
            return {
                name: rounded_by(
                    changed_to(results[name], moved(situation.state[name], batch[name], weight)), situation.state[name]
                )
                for name in batch
            }

        return replace(base, cause=because(id_), change_results=change_results, only=MOVING)

    def constant(value: float, situation: Situation) -> tuple[Array, Array]:
        column = np.full(situation.x.shape[1], value, situation.x.dtype)
        return column, column

    yield entering("nothing-counts-zero-enters", functools.partial(constant, 0.0))
    yield entering("nothing-counts-nan-enters", functools.partial(constant, np.nan))


def _output(base: Hypothesis) -> Iterator[Hypothesis]:
    def elsewhere(instead: str, value: Callable[[Situation, Array], Any]) -> Hypothesis:
        def change_results(situation: Situation, results: Results) -> Results:
            counted = reference.counts(situation)
            if "output" not in results or "mask" not in situation.arrays or not counted.any():
                return {}
            output = results["output"]
            values = np.where(counted[:, np.newaxis], output.value, value(situation, output.value))
            return {"output": changed_to(output, values)}

        return replace(
            base, cause=because("uncounted-output", given=instead), change_results=change_results, only=_OUTPUT
        )

    yield elsewhere("0", lambda situation, output: 0)
    yield elsewhere("the input", lambda situation, output: situation.x)
    yield elsewhere("beta", lambda situation, output: situation.state.get("beta", 0.0))
    yield elsewhere("normalized with the moving values", _by_moving)


_OUTPUT = frozenset({"output"})


def _by_moving(situation: Situation, output: Array) -> Array:
    del output
    state = situation.state
    return normalize(situation, state["moving_mean"], state["moving_variance"], 0.0).output


def _gradients(base: Hypothesis) -> Iterator[Hypothesis]:
    def hypothesis(
        id_: str, names: frozenset[str], change: Callable[[Situation, Array], dict[str, Array]]
    ) -> Hypothesis:
        def change_results(situation: Situation, results: Results) -> Results:
            counted = reference.counts(situation)
            if situation.upstream is None or not results.keys() >= MOVING or not counted.any():
                return {}
            values = change(situation, counted[:, np.newaxis])
            return {name: changed_to(results[name], values[name]) for name in names if name in results}

        return replace(base, cause=because(id_), change_results=change_results, only=names)

    learned_and_input = _LEARNED | _INPUT
    yield hypothesis("uncounted-upstream-left-out", learned_and_input, _upstream_counted)
    yield hypothesis("uncounted-upstream-left-out-of-learned", _LEARNED, _upstream_counted)
    yield hypothesis("uncounted-upstream-left-out-of-statistics", _INPUT, _statistics_counted)
    yield hypothesis("uncounted-input-gradient-zero", _INPUT, _input_counted)
    yield hypothesis("statistics-taken-for-constants", _INPUT, lambda s, w: _through(s, 0 * w, 1))
    yield hypothesis("statistics-gradient-everywhere", _INPUT, lambda s, w: _through(s, w | True, w.sum()))
    yield hypothesis("input-gradient-over-all-positions", _INPUT, lambda s, w: _through(s, w, len(w)))
    yield hypothesis("mean-term-missing", _INPUT, lambda s, w: _through(s, w, w.sum(), mean=0))
    yield hypothesis("variance-term-missing", _INPUT, lambda s, w: _through(s, w, w.sum(), variance=0))


_INPUT = frozenset({"grad_input"})


def _gradients_of(situation: Situation, upstream: Array, counted: Array) -> Gradients:
    return reference.gradients(reference.training(situation).normalization, upstream, counted[:, 0])


def _upstream_counted(situation: Situation, counted: Array) -> dict[str, Array]:
    assert situation.upstream is not None
    g = _gradients_of(situation, np.where(counted, situation.upstream, 0), counted)
    return {"grad_input": g.input, "grad_gamma": g.gamma, "grad_beta": g.beta}


def _statistics_counted(situation: Situation, counted: Array) -> dict[str, Array]:
    whole = _gradients_of(situation, np.asarray(situation.upstream), counted).input
    return {"grad_input": np.where(counted, _upstream_counted(situation, counted)["grad_input"], whole)}


def _input_counted(situation: Situation, counted: Array) -> dict[str, Array]:
    return {"grad_input": np.where(counted, _gradients_of(situation, np.asarray(situation.upstream), counted).input, 0)}


def _through(
    situation: Situation, reached: Array, divisor: Any, mean: float = 1, variance: float = 1
) -> dict[str, Array]:
    """Return γ r (g - (dβ + x̂ dγ)/D) where the statistics reach, and γ r g elsewhere."""
    n, upstream = reference.training(situation).normalization, np.asarray(situation.upstream)
    pull = mean * total(upstream) + variance * n.normalized * total(upstream * n.normalized)
    share = np.where(reached, pull / situation.x.dtype.type(divisor), 0)
    return {"grad_input": n.gamma * n.inverse_root * (upstream - share)}

"""Hypotheses that a train step used other statistics than the batch's: of fewer values, rounded, or of other groups."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.cause import Cause, because
from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.expectations import MOVING, changed_to
from conformance.operations.batch_norm.reference import Gradients, Normalization, Statistics
from conformance.operations.batch_norm.whole_numbers import dtypes, loosened
from conformance.operations.batch_norm.whole_numbers import squares as whole_squares
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moving import moved, weights
from conformance.operations.situation import Situation
from conformance.precision import in_dtype, rounded

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]
#: Maps (m, C) to the mean of the group that each element is in.
Grouping = Callable[[Array], Array]

#: A kernel's vector or block is of 2^k elements, and may forget what is behind the last whole one.
POWERS = range(1, 13)


def other_statistics(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield the hypotheses that other statistics than the batch's were used."""
    yield from _of_integers(base)
    yield from _left_out(base)
    yield from _rounded(base)
    yield from _grouped(base)


# What is put in place of the batch's.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _OtherStatistics:
    """The statistics that a hypothesis puts in place of the batch's."""

    #: What each value is normalized by: one for each feature, or one for each value.
    mean: Array
    variance: Array
    #: What enters the moving values.
    entering: Statistics
    #: The groups whose means the input gradient takes; None where it takes those of the batch.
    grouping: Grouping | None = None

    def results(self, situation: Situation, results: Mapping[str, Expected]) -> Results:
        """Return what a train step gives with these statistics."""
        return _from(situation, self, results)

    def in_common(self, situation: Situation, name: str) -> object:
        """Return the count that a correction takes, which is of all features; None where groups are followed."""
        if name == "grad_input" and self.grouping is not None:
            return None
        corrected = name == "moving_variance" and situation.dialect.moving_correction
        return self.entering.count if corrected else 0

    def joined(self, others: Sequence[_OtherStatistics], feature: int) -> _OtherStatistics:
        """Return the statistics of which each feature has that of another."""
        entering = [one.entering for one in others]
        return _OtherStatistics(
            mean=_side_by_side([one.mean[..., feature] for one in others]),
            variance=_side_by_side([one.variance[..., feature] for one in others]),
            entering=Statistics(
                count=self.entering.count,
                mean=np.array([one.mean[feature] for one in entering]),
                variance=np.array([one.variance[feature] for one in entering]),
            ),
        )


def _side_by_side(columns: Sequence[Array]) -> Array:
    """Return one number, or one column, for each; columns where any is one."""
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def _hypothesis(base: Hypothesis, cause: Cause, change: Callable[[Situation], _OtherStatistics | None]) -> Hypothesis:
    def substitute(situation: Situation) -> _OtherStatistics | None:
        return None if situation.x.shape[0] < 2 else change(situation)

    def change_results(situation: Situation, results: Results) -> Results:
        statistics = substitute(situation) if "moving_mean" in results else None
        return {} if statistics is None else _from(situation, statistics, results)

    return replace(base, cause=cause, change_results=change_results, substitute=substitute, selects=True)


# Statistics in the dtype of whole numbers.


def _of_integers(base: Hypothesis) -> Iterator[Hypothesis]:
    for dtype in dtypes(base)[:1]:
        cause = because("computed-in-integers", what="mean and variance are", dtype=dtype)
        yield _hypothesis(base, cause, _divided_down)
    for dtype in dtypes(base):
        if dtype != "bool":
            cause = because("squares-wrap-around", dtype=dtype)
            for least in (-math.inf, 0.0):
                plain = _hypothesis(base, cause, functools.partial(_of_wrapped_squares, dtype, least))
                # Its bound is of the whole step.
                change_results = functools.partial(_with_lost_digits, plain, dtype, least)
                yield replace(plain, change_results=change_results, substitute=None)


def _divided_down(situation: Situation) -> _OtherStatistics:
    mean = np.floor(situation.x.mean(axis=0))
    squares = np.floor(np.square(situation.x - mean).mean(axis=0))
    return _plain(Statistics(count=len(situation.x), mean=mean, variance=squares))


def _with_lost_digits(plain: Hypothesis, dtype: str, least: float, situation: Situation, results: Results) -> Results:
    assert plain.change_results is not None
    with np.errstate(all="ignore"):  # a variance of squares that wrapped around may be negative
        changed = plain.change_results(situation, results)
    if "output" not in changed:
        return changed
    exact, epsilon = reference.batch_statistics(situation.x), situation.configuration.epsilon
    wrapped = whole_squares(situation.x, dtype).mean(axis=0)
    variance = np.maximum(wrapped - np.square(exact.mean), least)
    with np.errstate(all="ignore"):
        roots = 1 / np.sqrt(variance + epsilon), 1 / np.sqrt(exact.variance + epsilon)
    return {**changed, "output": loosened(changed["output"], results["output"], wrapped, exact.mean, roots)}


def _of_wrapped_squares(dtype: str, least: float, situation: Situation) -> _OtherStatistics:
    """Return E[x²] - E[x]² of squares of that dtype, as it is or raised to the least that a variance is."""
    exact = reference.batch_statistics(situation.x)
    variance = whole_squares(situation.x, dtype).mean(axis=0) - np.square(exact.mean)
    return _plain(replace(exact, variance=np.maximum(variance, least)))


# Values left out.


def _cuts(rows: int, positions: int) -> Iterator[int]:
    """Yield how many rows may be forgotten: one, a sample's, those behind the last whole 2^k; each once."""
    wanted = [1, positions, *(rows % 2**k for k in POWERS)]
    yield from (cut for cut in dict.fromkeys(wanted) if 0 < cut < rows)


def _left_out(base: Hypothesis) -> Iterator[Hypothesis]:
    shape, axes = base.configuration.shape, base.configuration.feature_axes
    count = max(1, base.configuration.feature_count)
    rows = math.prod(shape) // count
    positions = rows // shape[0] if 0 not in axes and shape[0] else 1
    for end in ("tail", "head"):
        for cut in _cuts(rows, max(1, positions)):
            for lacking in ("statistics", "mean"):
                cause = because(f"{end}-dropped", lacking=lacking, count=cut)
                yield _hypothesis(base, cause, functools.partial(_without, end, cut, lacking))
            yield replace(
                base,
                cause=because(f"{end}-dropped", lacking="gradient of gamma", count=cut),
                only=frozenset({"grad_gamma"}),
                change_results=functools.partial(_gradient_without, end, cut),
            )
    yield _hypothesis(base, because("count-of-one-more"), _over_one_more)
    yield _hypothesis(base, because("non-finite-left-out"), _finite_alone)
    yield _hypothesis(base, because("halves-merged-without-means"), _halves_merged)


def _within(x: Array, end: str, cut: int) -> Array:
    left = x[:-cut] if end == "tail" else x[cut:]
    return left if len(left) else x


def _plain(statistics: Statistics) -> _OtherStatistics:
    return _OtherStatistics(mean=statistics.mean, variance=statistics.variance, entering=statistics)


def _without(end: str, cut: int, lacking: str, situation: Situation) -> _OtherStatistics:
    left = reference.batch_statistics(_within(situation.x, end, cut))
    if lacking == "statistics":
        return _plain(left)
    squares = reference.total((situation.x - left.mean) ** 2) / len(situation.x)
    return _plain(Statistics(count=len(situation.x), mean=left.mean, variance=squares))


def _gradient_without(end: str, cut: int, situation: Situation, results: Results) -> Results:
    if situation.upstream is None or len(situation.x) <= cut or "grad_gamma" not in results:
        return {}
    n = reference.training(situation)[2] if "moving_mean" in results else reference.inference(situation)
    products = _within(situation.upstream * n.normalized, end, cut)
    return {"grad_gamma": changed_to(results["grad_gamma"], products.sum(axis=0))}


def _over_one_more(situation: Situation) -> _OtherStatistics:
    exact = reference.batch_statistics(situation.x)
    return _plain(replace(exact, variance=exact.variance * (exact.count / (exact.count + 1))))


def _finite_alone(situation: Situation) -> _OtherStatistics | None:
    finite = np.isfinite(situation.x)
    if finite.all():
        return None
    count = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, situation.x, 0).sum(axis=0) / count
    squares = np.where(finite, situation.x - mean, 0) ** 2
    return _plain(Statistics(count=len(situation.x), mean=mean, variance=squares.sum(axis=0) / count))


def _halves_merged(situation: Situation) -> _OtherStatistics | None:
    middle = len(situation.x) // 2
    if middle < 2:  # halves of one value have no variance, and whatever loses it looks like this
        return None
    exact = reference.batch_statistics(situation.x)
    squares = [
        len(part) * reference.batch_statistics(part).variance for part in (situation.x[:middle], situation.x[middle:])
    ]
    return _plain(replace(exact, variance=(squares[0] + squares[1]) / len(situation.x)))


# Statistics rounded.


def _rounded(base: Hypothesis) -> Iterator[Hypothesis]:
    for dtype in ("float16", "bfloat16"):
        yield _hypothesis(base, because("statistics-rounded", dtype=dtype), functools.partial(_in_half, dtype))
        yield _hypothesis(base, because("count-rounded", dtype=dtype), functools.partial(_count_in_half, dtype))


def _in_half(dtype: str, situation: Situation) -> _OtherStatistics:
    exact = reference.batch_statistics(situation.x)
    mean, variance = (
        rounded(np.asarray(statistic), dtype).astype(situation.x.dtype) for statistic in (exact.mean, exact.variance)
    )
    return _plain(replace(exact, mean=mean, variance=variance))


def _count_in_half(dtype: str, situation: Situation) -> _OtherStatistics | None:
    """Return the statistics about Σx·(1/m) with 1/m rounded to `dtype`; nothing where that is exact."""
    x, count = situation.x, len(situation.x)
    reciprocal = x.dtype.type(in_dtype(1 / count, dtype))
    if reciprocal * count == 1:
        return None
    mean = reference.total(x) * reciprocal
    return _plain(Statistics(count=count, mean=mean, variance=reference.total((x - mean) ** 2) / count))


# Values grouped otherwise.


def _grouped(base: Hypothesis) -> Iterator[Hypothesis]:
    for cause, grouping in (
        (because("statistics-per-sample"), _per_sample),
        (because("statistics-over-wrong-axes", over="the samples alone"), _per_position),
        (because("statistics-over-wrong-axes", over="the features"), _over_features),
        (because("statistics-over-wrong-axes", over="a sample with its features"), _over_sample),
        (because("statistics-per-half"), _per_half),
    ):
        for follows in (False, True):
            yield _hypothesis(base, cause, functools.partial(_by_group, grouping, follows))


def _by_group(
    grouping: Callable[[Situation], Grouping | None], follows: bool, situation: Situation
) -> _OtherStatistics | None:
    """Return the statistics of each value's group; the moving values take their mean over all values."""
    averaged = grouping(situation)
    if averaged is None:
        return None
    center = averaged(situation.x)
    spread = averaged((situation.x - center) ** 2)
    entering = Statistics(count=len(situation.x), mean=center.mean(axis=0), variance=spread.mean(axis=0))
    return _OtherStatistics(mean=center, variance=spread, entering=entering, grouping=averaged if follows else None)


def _samples(situation: Situation) -> int:
    """Return the length of the first axis, where that is no feature axis."""
    axes = [axis % max(1, len(situation.shape)) for axis in situation.configuration.feature_axes]
    return situation.shape[0] if situation.shape and 0 not in axes else 1


def _per_sample(situation: Situation) -> Grouping | None:
    samples = _samples(situation)

    def averaged(values: Array) -> Array:
        parts = values.reshape(samples, -1, values.shape[1])
        return np.broadcast_to(parts.mean(axis=1, keepdims=True), parts.shape).reshape(values.shape)

    return averaged if samples > 1 else None


def _per_position(situation: Situation) -> Grouping | None:
    samples = _samples(situation)

    def averaged(values: Array) -> Array:
        parts = values.reshape(samples, -1, values.shape[1])
        return np.broadcast_to(parts.mean(axis=0), parts.shape).reshape(values.shape)

    return averaged if 1 < samples < len(situation.x) else None


def _over_features(_: Situation) -> Grouping | None:
    return lambda values: np.broadcast_to(values.mean(axis=1, keepdims=True), values.shape)


def _over_sample(situation: Situation) -> Grouping | None:
    samples = _samples(situation)

    def averaged(values: Array) -> Array:
        parts = values.reshape(samples, -1)
        return np.broadcast_to(parts.mean(axis=1, keepdims=True), parts.shape).reshape(values.shape)

    return averaged if samples < len(situation.x) else None


def _per_half(situation: Situation) -> Grouping | None:
    middle = len(situation.x) // 2

    def averaged(values: Array) -> Array:
        parts = values[:middle], values[middle:]
        return np.concatenate([np.broadcast_to(part.mean(axis=0), part.shape) for part in parts])

    return averaged


def _from(situation: Situation, statistics: _OtherStatistics, results: Mapping[str, Expected]) -> Results:
    """Return what a train step gives from other statistics than the batch's, by the closed form."""
    names = situation.wanted or results.keys()
    values = {"batch_mean": statistics.entering.mean, "batch_variance": statistics.entering.variance}
    if not MOVING.isdisjoint(names):
        weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
        entering = reference.corrected(statistics.entering, situation.dialect.moving_correction)
        values["moving_mean"] = moved(situation.state["moving_mean"], statistics.entering.mean, weight)
        values["moving_variance"] = moved(situation.state["moving_variance"], entering, weight)
    if names - values.keys():
        normalization = reference.normalize(situation, statistics.mean, statistics.variance, 1.0)
        values["output"] = normalization.output
        if situation.upstream is not None and names - values.keys():
            gradients = _gradients(situation, situation.upstream, normalization, statistics.grouping)
            values |= {"grad_input": gradients.input, "grad_gamma": gradients.gamma, "grad_beta": gradients.beta}
    count = len(situation.x)
    return {
        name: changed_to(results[name], value, count)
        for name, value in values.items()
        if name in results and name in names
    }


def _gradients(
    situation: Situation, upstream: Array, normalization: Normalization, grouping: Grouping | None
) -> Gradients:
    """Return the gradients by the closed form, its means over the batch or over the groups."""
    gradients = reference.gradients(normalization, upstream, situation.x)
    if grouping is None:
        return gradients
    n = normalization.normalized
    pulled = normalization.gamma * upstream
    through = grouping(pulled) + n * grouping(pulled * n)
    return replace(gradients, input=normalization.inverse_root * (pulled - through))

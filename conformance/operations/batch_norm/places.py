"""Hypotheses that values were read from the wrong places: along other axes, by other strides, or not at all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from conformance.cause import Cause, because
from conformance.operations.batch_norm.expectations import MOVING
from conformance.operations.batch_norm.other_statistics import POWERS
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.layout import flatten, unflatten
from conformance.operations.situation import Situation
from conformance.protocol import Configuration
from conformance.worker.layout import lay_out, memory_of

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]
#: Puts a flattened array of the input's shape in another order.
Order = Callable[[Array, tuple[int, ...]], Array]


def misplaced(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield the hypotheses that values were read from the wrong places, or that the last features were left out."""
    yield from _permuted(base)
    yield from _strided(base)
    yield from _features_left_out(base)


def _permuted(base: Hypothesis) -> Iterator[Hypothesis]:
    configuration = base.configuration
    rank = configuration.rank
    axes = tuple(axis % rank for axis in configuration.feature_axes)
    if axes != tuple(range(rank - len(axes), rank)):

        def as_last(array: Array, shape: tuple[int, ...]) -> Array:
            return unflatten(array, configuration, shape).reshape(-1, configuration.feature_count)

        def as_first(array: Array, shape: tuple[int, ...]) -> Array:
            return flatten(array.reshape(shape), configuration)

        yield _read(base, because("features-read-as-last"), as_last, as_first)
    if len(axes) == 1:
        for other in range(rank):
            if other != axes[0] and configuration.shape[other] == configuration.shape[axes[0]]:
                swap = functools.partial(_swapped, configuration, axes[0], other)
                yield _read(base, because("axis-taken-for-features", axis=other), swap, swap)
    if len(axes) > 1:
        yield replace(base, cause=because("feature-axes-descending"), change_results=_descending, only=MOVING)


def _swapped(configuration: Configuration, one: int, other: int, array: Array, shape: tuple[int, ...]) -> Array:
    if shape[one] != shape[other]:
        return array
    return flatten(np.swapaxes(unflatten(array, configuration, shape), one, other), configuration)


def _read(
    base: Hypothesis,
    cause: Cause,
    there: Order,
    back: Order,
) -> Hypothesis:
    """Return the hypothesis that every array of the input's layout is read in another order, and written back in it."""

    def change_situation(situation: Situation) -> Situation:
        upstream = None if situation.upstream is None else there(situation.upstream, situation.shape)
        return replace(situation, x=there(situation.x, situation.shape), upstream=upstream)

    def change_results(situation: Situation, results: Results) -> Results:
        return {name: _reordered(expected, situation.shape, back) for name, expected in results.items()}

    return replace(base, cause=cause, change_situation=change_situation, change_results=change_results)


def _reordered(expected: Expected, shape: tuple[int, ...], back: Order) -> Expected:
    if expected.value.ndim == 1:
        return expected
    return replace(
        expected,
        value=back(expected.value, shape),
        bound=back(expected.bound, shape),
        magnitude=back(np.broadcast_to(expected.magnitude, expected.value.shape), shape),
        narrower={},
    )


def _descending(situation: Situation, results: Results) -> Results:
    def turned(array: Array) -> Array:
        return array.reshape(situation.configuration.features).transpose().reshape(-1)

    return {
        name: replace(
            expected,
            value=turned(expected.value),
            bound=turned(expected.bound),
            magnitude=turned(expected.magnitude),
            narrower={},
        )
        for name, expected in results.items()
        if name in MOVING
    }


def _strided(base: Hypothesis) -> Iterator[Hypothesis]:
    if base.configuration.memory == "contiguous" and not base.configuration.upstream_memory:
        return
    for cause, misread_x, misread_upstream in (
        (because("strides-misread", array="input"), True, True),
        (because("strides-misread", array="input"), True, False),
        (because("strides-misread", array="upstream"), False, True),
    ):
        yield replace(base, cause=cause, change_situation=functools.partial(_contiguously, misread_x, misread_upstream))


def _contiguously(x: bool, upstream: bool, situation: Situation) -> Situation:
    """Return the situation with the values that follow one another in memory, whatever the strides say."""
    contiguous = situation
    if x:
        contiguous = replace(contiguous, x=_following("input", situation, situation.x))
    if upstream and situation.upstream is not None:
        contiguous = replace(contiguous, upstream=_following("upstream", situation, situation.upstream))
    return contiguous


def _following(name: str, situation: Situation, values: Array) -> Array:
    configuration = situation.configuration
    laid = lay_out(
        np.ascontiguousarray(unflatten(values, configuration, situation.shape)),
        memory_of(name, configuration),
        configuration.feature_axes,
    )
    plain = np.empty(laid.shape, laid.dtype).strides
    return flatten(np.array(np.lib.stride_tricks.as_strided(laid, laid.shape, plain)), configuration)


def _features_left_out(base: Hypothesis) -> Iterator[Hypothesis]:
    count = base.configuration.feature_count
    for cut in dict.fromkeys(count % 2**k for k in POWERS):
        if 0 < cut < count:
            for quantities, lacking in (
                (MOVING, "not updated"),
                (frozenset({"grad_gamma", "grad_beta"}), "no gradient"),
            ):
                yield replace(
                    base,
                    cause=because("last-features-dropped", count=cut, lacking=lacking),
                    only=quantities,
                    change_results=functools.partial(_without_features, cut, quantities),
                )


def _without_features(cut: int, quantities: frozenset[str], situation: Situation, results: Results) -> Results:
    def kept(name: str, expected: Expected) -> Expected:
        value = np.array(expected.value)
        value[-cut:] = situation.state[name][-cut:] if name in MOVING else 0
        return replace(expected, value=value)

    return {name: kept(name, expected) for name, expected in results.items() if name in quantities}

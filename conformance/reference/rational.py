"""Exact values where no float type of the platform is wide enough to judge float64 by.

The bounds stay those of float64 arithmetic. Each value is the fraction of `conformance.operations.rational` as two float64: the
nearest one and what that lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from conformance.operations import rational
from conformance.operations.operation import Expected, Situation
from conformance.operations.rational_passes import PASSES

Array = np.ndarray[Any, np.dtype[Any]]

#: Elements in a step that fractions do in some tenths of a second.
ELEMENTS = 4096


def exactly(found: Mapping[str, Expected], situation: Situation, trains: bool) -> dict[str, Expected]:
    """Return the quantities with exact values; those of a step too large, or not finite, with bounds that say nothing."""
    if situation.x.size > ELEMENTS:
        return {name: replace(each, bound=np.full(each.bound.shape, np.inf)) for name, each in found.items()}
    columns = [_column(situation, feature, trains) for feature in range(situation.configuration.feature_count)]
    return {name: _replaced(each, [_numbers(name, column) for column in columns]) for name, each in found.items()}


def split(number: Fraction) -> tuple[float, float]:
    """Return the nearest float64 and the float64 nearest to what it lacks."""
    near = float(number)
    return near, float(number - Fraction(near))


def _numbers(name: str, column: rational.Quantities | None) -> rational.Numbers | None:
    return None if column is None else column.get(name)


def _column(situation: Situation, feature: int, trains: bool) -> rational.Quantities | None:
    """Return the exact numbers of one feature; None where its data are not all finite."""
    configuration = situation.configuration
    rule = rational.Rule(
        dialect=situation.dialect,
        decay=Fraction(configuration.decay),
        epsilon=Fraction(configuration.epsilon),
        trained=situation.trained,
        options=configuration.options,
    )
    passes = PASSES[configuration.op]
    try:
        state = {name: rational.rationals([float(value[feature])])[0] for name, value in situation.state.items()}
        given = rational.Feature(
            x=_rationals(situation.x, feature),
            upstream=None if situation.upstream is None else _rationals(situation.upstream, feature),
            gamma=state.get("gamma"),
            beta=state.get("beta"),
            moving=rational.Moments(mean=state.get("moving_mean"), variance=state.get("moving_variance")),
            state=state,
            samples=situation.shape[0] if situation.shape else 0,
            arrays={name: _rationals(array, feature) for name, array in situation.arrays.items() if array.ndim == 2},
        )
    except rational.NotFiniteError:
        return None
    return (passes.train if trains else passes.infer)(given, rule)


def _rationals(array: Array, feature: int) -> rational.Numbers:
    return rational.rationals(array[:, feature].astype(np.float64).tolist())


def _replaced(expected: Expected, columns: list[rational.Numbers | None]) -> Expected:
    """Return the expectation with exact values in the features that have them."""
    value = expected.value.astype(np.float64)
    rest, bound = np.zeros(value.shape), expected.bound.copy()
    for feature, numbers in enumerate(columns):
        here = (..., feature)
        if numbers is None:
            # Where there is no number the pattern of what is finite is judged alone.
            bound[here] = np.inf
            continue
        pairs = np.array([split(number) for number in numbers]).reshape(-1, 2)
        value[here], rest[here] = (pairs[:, side].reshape(value[here].shape) for side in (0, 1))
    return replace(expected, value=value, rest=rest, bound=bound)

"""Exact values, for platforms that have no float type wider than float64 to judge float64 by.

The bounds stay those of float64 arithmetic. Each value comes from the operation's second reference as a fraction, and
is kept as two float64: the nearest one, and the rest.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations import OPERATIONS, rational
from conformance.operations.expected import Expected
from conformance.operations.rational import Entry
from conformance.operations.situation import Situation
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]

#: The most elements in a step that fractions compute in some tenths of a second.
ELEMENTS = 4096
_LARGEST = Fraction(sys.float_info.max)


def exactly(expected: Mapping[str, Expected], situation: Situation, trains: bool) -> dict[str, Expected]:
    """Return the quantities with exact values.

    Where there is no exact value, because the step is too large or the number is not finite, the bound is infinite.
    """
    if situation.x.size > ELEMENTS:
        return {name: _undecided(quantity) for name, quantity in expected.items()}
    passes = OPERATIONS[situation.configuration.op].rational
    exact = (passes.train if trains else passes.infer)(
        _step(situation), rule_of(situation.configuration, situation.dialect, situation.trained)
    )
    return {name: _replaced(quantity, exact.get(name)) for name, quantity in expected.items()}


def rule_of(configuration: Configuration, dialect: Dialect, trained: int) -> rational.Rule:
    """Return the dialect and parameters of a step as the second reference takes them, in fractions."""
    return rational.Rule(
        dialect=dialect,
        decay=Fraction(configuration.decay),
        epsilon=Fraction(configuration.epsilon),
        trained=trained,
        options=configuration.options,
    )


def split(number: Fraction) -> tuple[float, float]:
    """Return the float64 nearest to the number, and the float64 nearest to the rest; infinity beyond their range."""
    if abs(number) > _LARGEST:
        return (math.inf if number > 0 else -math.inf), 0.0
    near = float(number)
    return near, float(number - Fraction(near))


def spread(entries: list[Entry], size: int) -> list[Entry] | None:
    """Return one entry for each of `size` values; None where the number of entries does not fit.

    A single row that holds no number stands for all rows.
    """
    if len(entries) == size:
        return entries
    if any(isinstance(entry, Fraction) for entry in entries) or not entries or size % len(entries):
        return None
    return entries * (size // len(entries))


def _step(situation: Situation) -> rational.Step:
    """Return the step's inputs as the second reference takes them, in Python floats."""
    columns = {name: array for name, array in situation.arrays.items() if array.dtype != np.bool_}
    masks = [array for array in situation.arrays.values() if array.dtype == np.bool_]
    return rational.Step(
        x=_columns(situation.x),
        upstream=None if situation.upstream is None else _columns(situation.upstream),
        state={name: value.astype(np.float64).tolist() for name, value in situation.state.items()},
        samples=situation.shape[0] if situation.shape else 0,
        arrays={name: _columns(array) for name, array in columns.items()},
        mask=masks[0].tolist() if masks else None,
    )


def _columns(array: Array) -> list[list[float]]:
    columns: list[list[float]] = array.astype(np.float64).T.tolist()
    return columns


def _undecided(expected: Expected) -> Expected:
    return replace(expected, bound=np.full(expected.bound.shape, np.inf))


def _replaced(expected: Expected, exact: list[Entry] | None) -> Expected:
    """Return the expectation with exact values where there are any.

    Elsewhere the bound is infinite, so that only whether a number is finite is judged.
    """
    entries = None if exact is None else spread(exact, expected.value.size)
    if entries is None:
        return replace(_undecided(expected), rest=np.zeros(expected.value.shape))
    value = expected.value.astype(np.float64)
    rest, bound = np.zeros(value.shape), np.array(np.broadcast_to(expected.bound, value.shape))
    for position, entry in enumerate(entries):
        if isinstance(entry, Fraction):
            value.flat[position], rest.flat[position] = split(entry)
        if not isinstance(entry, Fraction) or np.isnan(bound.flat[position]):
            # Squares that float64 does not hold leave no bound either.
            bound.flat[position] = np.inf
    return replace(expected, value=value, rest=rest, bound=bound)

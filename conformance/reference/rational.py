"""Exact values where no float type of the platform is wide enough to judge float64 by.

The bounds stay those of float64 arithmetic. Each value is a fraction, of the operation's second reference, as two
float64: the nearest one and what that lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations import OPERATIONS, rational
from conformance.operations.operation import Expected, Situation
from conformance.operations.rational import Entry
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]

#: Elements in a step that fractions do in some tenths of a second.
ELEMENTS = 4096


def exactly(expected: Mapping[str, Expected], situation: Situation, trains: bool) -> dict[str, Expected]:
    """Return the quantities with exact values; those of a step too large, or not finite, with bounds that say nothing."""
    if situation.x.size > ELEMENTS:
        return {name: _undecided(quantity) for name, quantity in expected.items()}
    passes = OPERATIONS[situation.configuration.op].rational
    exact = (passes.train if trains else passes.infer)(
        _step(situation), rule_of(situation.configuration, situation.dialect, situation.trained)
    )
    return {name: _replaced(quantity, exact.get(name)) for name, quantity in expected.items()}


def rule_of(configuration: Configuration, dialect: Dialect, trained: int) -> rational.Rule:
    """Return what the step does with the numbers, for exact arithmetic."""
    return rational.Rule(
        dialect=dialect,
        decay=Fraction(configuration.decay),
        epsilon=Fraction(configuration.epsilon),
        trained=trained,
        options=configuration.options,
    )


def split(number: Fraction) -> tuple[float, float]:
    """Return the nearest float64 and the float64 nearest to what it lacks."""
    near = float(number)
    return near, float(number - Fraction(near))


def spread(entries: list[Entry], size: int) -> list[Entry] | None:
    """Return an entry for each of `size` values; None where there are more or fewer numbers.

    One row in which nothing is a number stands for all rows.
    """
    if len(entries) == size:
        return entries
    if any(isinstance(entry, Fraction) for entry in entries) or not entries or size % len(entries):
        return None
    return entries * (size // len(entries))


def _step(situation: Situation) -> rational.Step:
    """Return what the step was given, in floats."""
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

    Elsewhere, which numbers are finite is judged alone.
    """
    entries = None if exact is None else spread(exact, expected.value.size)
    if entries is None:
        return replace(_undecided(expected), rest=np.zeros(expected.value.shape))
    value = expected.value.astype(np.float64)
    rest, bound = np.zeros(value.shape), np.array(np.broadcast_to(expected.bound, value.shape))
    for position, entry in enumerate(entries):
        if isinstance(entry, Fraction):
            value.flat[position], rest.flat[position] = split(entry)
        else:
            bound.flat[position] = np.inf
    return replace(expected, value=value, rest=rest, bound=bound)

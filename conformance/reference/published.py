"""Numbers that a source printed, held against the reference.

The reference, in the dialect of the source, must lie within the bound of the dtype in which the source computed, plus one
rounding to the dtype in which it kept the number, plus half a unit of the last digit printed. Implementations are judged
against the reference, never against a literal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.errors import Place, SpecError, SpecErrors
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.layout import flattened, index_of, shape_of
from conformance.precision import storage_rounding, working
from conformance.reference.computed import Request
from conformance.reference.expected import References
from conformance.reference.inputs import beginnings_of, inputs_of
from conformance.spec.case import Case, Published
from conformance.spec.loader import Spec

Array = np.ndarray[Any, np.dtype[Any]]

#: A text of fewer digits agrees with one number in a hundred or more.
_TELLING = 3


def check(spec: Spec) -> list[SpecError]:
    """Return what to warn of: published numbers that would agree with too much.

    Raises `SpecErrors` naming every published number that the reference contradicts.
    """
    errors: list[SpecError] = []
    warnings: list[SpecError] = []
    for located in spec.cases:
        errors.extend(contradictions(located.case, located.place))
        warnings.extend(vague(located.case, located.place))
    if errors:
        raise SpecErrors(tuple(errors))
    return warnings


def vague(case: Case, place: Place) -> Iterator[SpecError]:
    """Yield a warning for each published quantity with numbers of so few digits that they agree with too much."""
    for published in case.expected:
        texts: Array = np.array(published.values, dtype=object)
        few = [text for text in texts.flat if _digits(text) < _TELLING]
        if few and not published.exact:
            message = (
                f"published {published.quantity} has {few[0]!r}, of fewer than {_TELLING} digits, which agrees with too"
                " much: print more of them, or say exact: true where nothing was rounded"
            )
            yield SpecError(place=place, key=case.id, message=message)


def contradictions(case: Case, place: Place) -> Iterator[SpecError]:
    """Yield an error for each published number outside what the reference allows."""
    for published in case.expected:
        reference = _reference(case, published)
        if reference is None:
            message = f"step {published.step} gives no {published.quantity}"
            yield SpecError(place=place, key=case.id, message=message)
            continue
        input_shape = case.step_shape(case.performed[published.step - 1])
        shape = OPERATIONS[case.op].quantities[published.quantity].shape
        expected = shape_of(shape, case.configuration, input_shape)
        texts = np.array(published.values, dtype=object)
        if texts.shape != expected:
            message = f"published {published.quantity} has shape {texts.shape}, the reference {expected}"
            yield SpecError(place=place, key=case.id, message=message)
            continue
        value, allowed = reference.value, _allowed(case, published, reference)
        numbers = np.vectorize(np.longdouble, otypes=[np.longdouble])(texts)
        printed = flattened(numbers, shape, case.configuration)
        if not published.exact:
            half_unit = np.vectorize(_half_unit, otypes=[np.float64])(texts)
            allowed = allowed + flattened(half_unit, shape, case.configuration)
        # A reference that is not a number, or without a bound, agrees with no printed one.
        over = ~(np.abs(printed - value) <= allowed) | ~np.isfinite(allowed)
        for position in np.flatnonzero(over):
            index = index_of(int(position), shape, case.configuration, input_shape)
            message = (
                f"published {published.quantity} at {index} is {printed.flat[position]},"
                f" the reference {value.flat[position]} ± {allowed.flat[position]:.2g}"
            )
            yield SpecError(place=place, key=case.id, message=message)


def _allowed(case: Case, published: Published, reference: Expected) -> Array:
    """Return how far from the reference the number may lie that the source had, before it was printed."""
    quantity = OPERATIONS[case.op].quantities[published.quantity]
    parameter = quantity.role in ("state", "learned") or (quantity.role == "gradient" and quantity.shape != "input")
    stored = published.dtype or (case.configuration.parameter_dtype if parameter else case.dtype)
    bound = np.broadcast_to(reference.bound, reference.value.shape)
    return storage_rounding(bound, reference.value, stored, working(published.dtype or case.dtype))


def _reference(case: Case, published: Published) -> Expected | None:
    """Return the quantity after that step, along the chain of states in the source's dialect; None where it gives none."""
    dialect = dialect_of(case, published)
    beginning = beginnings_of(case, dialect)[published.step - 1]
    request = Request(
        case=case,
        configuration=case.configuration,
        number=published.step,
        inputs=inputs_of(case).steps[published.step - 1],
        dialect=dialect,
        worked=working(published.dtype or case.dtype),
        frozen=beginning.steps.frozen,
        trained=beginning.steps.trained,
    )
    return References().expected(request, beginning.state, beginning.steps.gradients).get(published.quantity)


def dialect_of(case: Case, published: Published) -> Dialect:
    """Return the operation's dialect with what the source does otherwise."""
    fields: dict[str, Any] = dict(published.dialect)
    return replace(OPERATIONS[case.op].dialect, **fields)


def _digits(text: str) -> int:
    """Return how many significant digits were printed; of zero, one and those after its point."""
    printed = Decimal(text).as_tuple()
    assert isinstance(printed.exponent, int)
    return len(printed.digits) if any(printed.digits) else 1 - min(0, printed.exponent)


def _half_unit(text: str) -> float:
    exponent = Decimal(text).as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0**exponent

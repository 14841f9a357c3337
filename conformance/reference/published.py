"""Numbers that a source printed, held against the reference.

The reference must lie within the bound of the dtype in which the source computed, plus half a unit of the
last digit printed. Implementations are judged against the reference, never against a literal.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from conformance.errors import Place, SpecError, SpecErrors
from conformance.operations import OPERATIONS
from conformance.operations.operation import Expected, flattened, index_of, shape_of
from conformance.precision import working
from conformance.reference.expected import References, Request
from conformance.reference.inputs import beginnings_of, inputs_of
from conformance.spec.case import Case, Published
from conformance.spec.loader import Spec


def check(spec: Spec) -> None:
    """Raise `SpecErrors` naming every published number that the reference contradicts."""
    errors: list[SpecError] = []
    for located in spec.cases:
        errors.extend(contradictions(located.case, located.place))
    if errors:
        raise SpecErrors(tuple(errors))


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
        value, allowed = reference.value, np.broadcast_to(reference.bound, reference.value.shape)
        numbers = np.vectorize(np.longdouble, otypes=[np.longdouble])(texts)
        printed = flattened(numbers, shape, case.configuration)
        half_unit = flattened(np.vectorize(_half_unit, otypes=[np.float64])(texts), shape, case.configuration)
        over = np.abs(printed - value) > allowed + half_unit
        for position in np.flatnonzero(over):
            index = index_of(int(position), shape, case.configuration, input_shape)
            message = (
                f"published {published.quantity} at {index} is {printed.flat[position]},"
                f" the reference {value.flat[position]} ± {(allowed + half_unit).flat[position]:.2g}"
            )
            yield SpecError(place=place, key=case.id, message=message)


def _reference(case: Case, published: Published) -> Expected | None:
    """Return the quantity after that step, along the canonical chain of states; None where it gives none."""
    beginning = beginnings_of(case)[published.step - 1]
    request = Request(
        case=case,
        configuration=case.configuration,
        number=published.step,
        inputs=inputs_of(case).steps[published.step - 1],
        dialect=OPERATIONS[case.op].dialect,
        worked=working(published.dtype or case.dtype),
        frozen=beginning.steps.frozen,
        trained=beginning.steps.trained,
    )
    return References().expected(request, beginning.state, beginning.steps.gradients).get(published.quantity)


def _half_unit(text: str) -> float:
    exponent = Decimal(text).as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0**exponent

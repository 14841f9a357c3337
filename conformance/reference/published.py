"""Numbers that a source printed, held against the reference.

The reference must lie within the bound of the dtype in which the source computed, plus half a unit of the
last digit printed. Implementations are judged against the reference, never against a literal.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from conformance.errors import Place, SpecError, SpecErrors
from conformance.operations import OPERATIONS
from conformance.operations.operation import Expected, flatten, index_of
from conformance.precision import working
from conformance.reference.expected import References, Request
from conformance.reference.inputs import inputs_of, states_of
from conformance.spec.case import Case, Published
from conformance.spec.loader import Spec

Array = np.ndarray[Any, np.dtype[Any]]


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
        found = _reference(case, published)
        if found is None:
            message = f"step {published.step} gives no {published.quantity}"
            yield SpecError(place=place, key=case.id, message=message)
            continue
        shape = case.step_shape(case.performed[published.step - 1])
        expected = shape if _like_input(published, case) else case.configuration.features
        texts = np.array(published.values, dtype=object)
        if texts.shape != expected:
            message = f"published {published.quantity} has shape {texts.shape}, the reference {expected}"
            yield SpecError(place=place, key=case.id, message=message)
            continue
        value, allowed = found.value, np.broadcast_to(found.bound, found.value.shape)
        printed = _like(np.vectorize(np.longdouble, otypes=[np.longdouble])(texts), published, case)
        half_unit = _like(np.vectorize(_half_unit, otypes=[np.float64])(texts), published, case)
        over = np.abs(printed - value) > allowed + half_unit
        for position in np.flatnonzero(over):
            index = index_of(int(position), _like_input(published, case), case.configuration, shape)
            message = (
                f"published {published.quantity} at {index} is {printed.flat[position]},"
                f" the reference {value.flat[position]} ± {(allowed + half_unit).flat[position]:.2g}"
            )
            yield SpecError(place=place, key=case.id, message=message)


def _reference(case: Case, published: Published) -> Expected | None:
    """Return the quantity after that step, along the canonical chain of states; None where it gives none."""
    steps = inputs_of(case).steps
    inputs = steps[published.step - 1]
    dtype = published.dtype or case.dtype
    frozen = False
    for each in steps[: published.step - 1]:
        frozen = each.step.step == "freeze" or (frozen and each.step.step != "unfreeze")
    request = Request(
        case=case,
        configuration=case.configuration,
        number=published.step,
        inputs=inputs,
        dialect=OPERATIONS[case.op].dialect,
        worked=working(dtype),
        frozen=frozen,
        trained=sum(each.step.step == "train" for each in steps[: published.step - 1]),
    )
    return References().expected(request, states_of(case)[published.step - 1], {}).get(published.quantity)


def _like_input(published: Published, case: Case) -> bool:
    return published.quantity in OPERATIONS[case.op].shaped_like_input


def _like(array: Array, published: Published, case: Case) -> Array:
    return flatten(array, case.configuration) if _like_input(published, case) else array.reshape(-1)


def _half_unit(text: str) -> float:
    exponent = Decimal(text).as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0**exponent

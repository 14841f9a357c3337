"""The text of recorded causes, made only where they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conformance import cause
from conformance.cause import UNEXPLAINED, Cause, Explanation, Parameter, Term
from conformance.runfile.structs import Alternatives, CatalogueEntry, QuantityRecord, RecordedCause

Catalogue = Mapping[str, CatalogueEntry]


def diagnosis_text(explanations: Iterable[Alternatives], catalogue: Catalogue, *, weights: bool = True) -> str:
    """Return what explains a cell, each explanation once.

    Without `weights`, which differ from cell to cell of one fault, numbers that nothing explains are called that alone.
    """
    values = (Explanation(alternatives=_causes(alternatives, weights)) for alternatives in explanations)
    return cause.diagnosis_text(values, catalogue)


def alternatives_text(alternatives: Alternatives, catalogue: Catalogue, *, weights: bool = True) -> str:
    """Return causes that fit equally well."""
    return cause.text_of(_causes(alternatives, weights), catalogue)


def reason_text(quantity: QuantityRecord, catalogue: Catalogue, *, weights: bool = True) -> str:
    """Return why a quantity deviates: causes that fit equally well, and what acts besides."""
    if not quantity.causes and not quantity.also:
        return ""  # as of most quantities of most cells
    acting = (quantity.causes, *((cause,) for cause in quantity.also))
    return " and ".join(alternatives_text(alternatives, catalogue, weights=weights) for alternatives in acting)


def _causes(alternatives: Alternatives, weights: bool) -> tuple[Cause, ...]:
    plain = Cause(id=UNEXPLAINED, parameters=(("text", UNEXPLAINED),))
    return tuple(
        plain if recorded.id == UNEXPLAINED and not weights else cause_of(recorded) for recorded in alternatives
    )


def cause_of(recorded: RecordedCause) -> Cause:
    """Return the cause that a run file tells of."""
    parameters = tuple((name, _parameter(name, value)) for name, value in recorded.parameters.items())
    return Cause(id=recorded.id, parameters=parameters, quantities=recorded.quantities)


def _parameter(name: str, value: Any) -> Parameter:
    match value:
        case tuple():
            return tuple(
                Term(name=term.name, observed=term.observed, right=term.right, digits=term.digits) for term in value
            )
        case _ if name in cause.BOUNDS:
            return float(value)
        case str() | int() | float():
            return value
        case _:
            raise TypeError(f"no parameter of a cause: {value!r}")

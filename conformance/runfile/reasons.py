"""What stands behind a verdict as values: the causes of a deviation, and the fields of a documented dialect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from conformance.cause import UNEXPLAINED, filled
from conformance.files.json_text import CLOSED
from conformance.runfile.cause_text import Catalogue
from conformance.runfile.observed import RecordedCell, on_one_line
from conformance.runfile.structs import DeclaredField, RecordedCause
from conformance.verdict import Verdict

#: What stands in the words for a number that differs from cell to cell.
_ANY = "n"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SharedCause:
    """A cause as all cells of one fault share it."""

    __pydantic_config__: ClassVar = CLOSED

    id: str
    """Of the catalogue of causes."""
    words: str
    """What names it, without the numbers that differ from cell to cell."""
    symptom: bool
    """Whether it says that something is wrong, and not what is done instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialectField:
    """A field of a documented dialect, without which the numbers would not fit."""

    __pydantic_config__: ClassVar = CLOSED

    field: str
    """By its name in a profile."""
    value: str
    """As the implementation declares it; empty where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What stands behind a verdict."""

    __pydantic_config__: ClassVar = CLOSED

    causes: tuple[SharedCause, ...] = ()
    """Of a deviation: every cause that its diagnosis names."""
    fields: tuple[DialectField, ...] = ()
    """Of a documented dialect, by name: the fields without which the numbers would not fit."""


#: Of what is right as the semantics have it, and of what is not told.
NONE = Reason()


def reason_of(cell: RecordedCell, profile: Sequence[DeclaredField]) -> Reason:
    """Return what stands behind a cell's verdict; `profile` is what its implementation declares."""
    match cell.verdict:
        case Verdict.EXACT | Verdict.CONFORMS:
            return NONE
        case Verdict.DIALECT:
            return Reason(fields=_fields(cell, profile))
        case _:
            named = (
                shared
                for alternatives in cell.diagnosis
                for cause in alternatives
                for shared in shared_causes(cause, cell.causes)
            )
            return Reason(causes=tuple(dict.fromkeys(named)))


def _fields(cell: RecordedCell, profile: Sequence[DeclaredField]) -> tuple[DialectField, ...]:
    """Return the fields of its dialect that the cell needs, by name."""
    rank = len(cell.case.configuration.shape)
    declared: dict[str, str] = {}
    for declaration in profile:
        if declaration.ranks is None or rank in declaration.ranks:
            declared.setdefault(declaration.field, str(declaration.value))
    return tuple(DialectField(field=name, value=declared.get(name, "")) for name in cell.fields)


def shared_causes(recorded: RecordedCause, catalogue: Catalogue) -> Iterator[SharedCause]:
    """Yield the cause; one that names no formula once for each quantity, as nothing else tells one from another."""
    if recorded.id == UNEXPLAINED:
        quantity = recorded.parameters.get("quantity")
        for name in recorded.quantities or ((quantity,) if isinstance(quantity, str) else ()):
            yield SharedCause(id=UNEXPLAINED, words=f"{name} {UNEXPLAINED}", symptom=True)
        if not (recorded.quantities or quantity):
            yield SharedCause(id=UNEXPLAINED, words=UNEXPLAINED, symptom=True)
        return
    entry = catalogue[recorded.id]
    parameters = {
        name: _ANY if name in entry.varies or isinstance(value, tuple) else value
        for name, value in recorded.parameters.items()
    }
    words = on_one_line(filled(entry.words, parameters))
    yield SharedCause(id=recorded.id, words=words, symptom=entry.symptom)

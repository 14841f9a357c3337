"""What may account for the change of one cell: causes, moved fields of a dialect, or the words of its verdict."""

from __future__ import annotations

from conformance.compare.cells import ComparedCell
from conformance.compare.values import Kind, MovedField
from conformance.runfile.reasons import SharedCause

#: What a number follows that follows no dialect.
_CANONICAL = "canonical"


def accounts_of(kind: Kind, base: ComparedCell, new: ComparedCell) -> tuple[SharedCause, ...]:
    """Return what may account for that change of a cell: at least one thing."""
    match kind:
        case Kind.INEXACT | Kind.EXACT | Kind.DRIFT | Kind.STEADIER:
            return (_in_words(""),)
        case Kind.MOVED:
            fields = tuple(_in_words(moved_words(moved)) for moved in moved_fields(base, new))
            return fields or (_in_words(new.what or base.what),)
        case Kind.BETTER if not new.what:
            return _causes(base, new)
        case Kind.WORSE | Kind.OTHERWISE | Kind.STATUS | Kind.BETTER:
            return _causes(new, base)


def moved_fields(base: ComparedCell, new: ComparedCell) -> tuple[MovedField, ...]:
    """Return the fields that agreeing numbers follow otherwise, by name; none where a side does not tell its own."""
    before, after = ({field.field: field.value for field in cell.reason.fields} for cell in (base, new))
    for cell, fields in ((base, before), (new, after)):
        if cell.what and not fields:
            return ()
    return tuple(
        MovedField(field=name, base=_value(before, name), new=_value(after, name))
        for name in sorted({*before, *after})
        if _value(before, name) != _value(after, name)
    )


def moved_words(moved: MovedField) -> str:
    """Return from what to what a field moved."""
    return f"{moved.field}: {moved.base or _CANONICAL} → {moved.new or _CANONICAL}"


def _value(fields: dict[str, str], name: str) -> str:
    return (fields[name] or "as documented") if name in fields else ""


def _causes(cell: ComparedCell, other: ComparedCell) -> tuple[SharedCause, ...]:
    """Return the causes that the cell has and the other has not; where there is none, those that it has, or its words."""
    own = tuple(cause for cause in cell.reason.causes if cause not in other.reason.causes)
    return own or cell.reason.causes or (_in_words(cell.what),)


def _in_words(words: str) -> SharedCause:
    return SharedCause(id="", words=words, symptom=False)

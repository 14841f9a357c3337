"""The native calls of a subject, as they are told: of every implementation of its operation, or of those that were named."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from conformance.answers.explain_subject import Subject
from conformance.answers.explanation import NativeCall
from conformance.answers.native_calls import Told, call_of, implementations
from conformance.dialect import Dialect, apply, declared_at, meanings
from conformance.errors import UsageError
from conformance.protocol import Declared


def chosen(globs: Sequence[str], subject: Subject) -> tuple[Told, ...]:
    """Return the implementations of the subject's operation that a glob names, or all. Raises `UsageError`."""
    own = [told for told in implementations() if told.op == subject.case.op]
    if not globs:
        return tuple(own)
    if not own:
        raise UsageError(
            f"--implementation: no native calls of {subject.case.op} are held; `conformance reproduce` writes them"
        )
    for glob in globs:
        if not any(fnmatchcase(told.name, glob) for told in own):
            near = difflib.get_close_matches(glob, [told.name for told in own], n=1, cutoff=0.3)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"--implementation {glob}: none of {subject.case.op} is called so{meant}")
    return tuple(told for told in own if any(fnmatchcase(told.name, glob) for glob in globs))


def native_calls(told: Sequence[Told], subject: Subject) -> Iterator[NativeCall]:
    """Yield how each is told the subject's configuration, or why it cannot be."""
    for one in told:
        call = call_of(one, subject.case.configuration)
        yield NativeCall(
            implementation=one.name,
            call=call.text,
            reason=call.reason,
            conventions=tuple(_conventions(one, subject)),
        )


def _conventions(told: Told, subject: Subject) -> Iterator[str]:
    """Yield each convention of its own on which numbers depend, at the rank of the subject."""
    for one in told.conventions:
        applies = one.ranks is None or subject.case.configuration.rank in one.ranks
        if applies and meanings()[one.field].changes:
            yield f"{one.field} {one.value} ({one.source})"


def dialect_of(told: Sequence[Told], subject: Subject) -> Dialect:
    """Return the dialect to explain by: that of the one implementation that was named, else the operation's own."""
    if len(told) != 1:
        return subject.operation.dialect
    declared = [
        Declared(field=one.field, value=one.value, source="documentation", where="", ranks=one.ranks)
        for one in told[0].conventions
    ]
    return apply(subject.operation.dialect, declared_at(declared, subject.case.configuration.rank))

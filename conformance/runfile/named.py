"""What the records of a run file name: each column of a case once, cases, environments and causes that are there."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from conformance.errors import UsageError
from conformance.runfile.cause_text import Catalogue, alternatives_text
from conformance.runfile.structs import CaseLine, Record, RecordedCause

#: A cause by its id, with the names and types of its parameters: one of a kind is asked for its words.
_Kind: TypeAlias = tuple[str, tuple[tuple[str, type], ...]]


class Named:
    """What the records name, gathered as they pass: of each thing the first cell that names it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Case -> the columns recorded of it, one bit for each.
        self._columns: dict[str, int] = {}
        self._bits: dict[str, int] = {}
        self._cases: dict[str, str] = {}
        self._environments: dict[str, str] = {}
        self._causes: dict[_Kind, tuple[str, RecordedCause]] = {}

    def add(self, record: Record) -> None:
        """Add a record. Raises `UsageError` where it is of another cell than it says, or of one that was there before."""
        case, column = record.case, record.column
        if record.cell != f"{case}::{column}":
            raise UsageError(f"{self._path}: the cell {record.cell} is that of {case} on {column}")
        bit = self._bits.setdefault(column, 1 << len(self._bits))
        recorded = self._columns.get(case, 0)
        if recorded & bit:
            raise UsageError(f"{self._path}: the cell {record.cell} is recorded twice")
        self._columns[case] = recorded | bit
        if not recorded:
            self._cases[case] = record.cell
        self._environments.setdefault(record.environment, record.cell)
        for cause in _causes(record):
            kind = (cause.id, tuple((name, type(value)) for name, value in cause.parameters.items()))
            self._causes.setdefault(kind, (record.cell, cause))

    def check(self, cases: Mapping[str, CaseLine], environments: Container[str], catalogue: Catalogue) -> None:
        """Raise `UsageError` where something that was named is not there, or the catalogue's words lack a parameter."""
        for named, there in ((self._cases, cases), (self._environments, environments)):
            for name, cell in named.items():
                if name not in there:
                    raise UsageError(f"{self._path}: the cell {cell} is of no case or environment in that file")
        for cell, cause in self._causes.values():
            if cause.id not in catalogue:
                raise UsageError(f"{self._path}: the cell {cell}: its cause {cause.id} is in no catalogue")
            try:
                alternatives_text((cause,), catalogue)
            except ValueError as error:
                raise UsageError(f"{self._path}: the cell {cell}: its cause {cause.id}: {error}") from error


def _causes(record: Record) -> Iterator[RecordedCause]:
    for explanation in record.diagnosis:
        yield from explanation
    for step in record.steps:
        for quantity in step.quantities:
            if quantity.causes or quantity.also:
                yield from (*quantity.causes, *quantity.also)

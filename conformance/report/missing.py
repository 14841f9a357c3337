"""What was not run: cells that an environment offers, of a case in the run file, with no record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.runfile.observed import Column, RecordedCell
from conformance.runfile.run import Run
from conformance.runfile.structs import CaseLine


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Missing:
    """One cell that was not run: deselected, or the run ended before it."""

    case: CaseLine
    column: Column


def missing(run: Run, columns: Sequence[Column], recorded: Mapping[str, Sequence[RecordedCell]]) -> Iterator[Missing]:
    """Yield the cells of the run's cases that the columns offer and no run recorded; `recorded` are the cells by case."""
    offered = {
        f"{offer.name}-{mode}-{device}": offer.op
        for environment in run.environments
        for offer in environment.implementations
        for mode in offer.modes
        for device in offer.devices
    }
    for case in run.cases.values():
        there = {cell.column.name for cell in recorded[case.id]}
        for column in columns:
            if offered.get(column.name) == case.op and column.name not in there:
                yield Missing(case=case, column=column)


def by_field(absent: Iterable[Missing]) -> Mapping[tuple[str, str], int]:
    """Return how many of them there are by clause and column."""
    return Counter((clause, cell.column.name) for cell in absent for clause in cell.case.clauses)

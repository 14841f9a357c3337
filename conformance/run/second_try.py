"""An unexpected verdict is asked for once more in a fresh process: what a neighbour left behind decides none.

A framework's flags, NumPy's handling of errors, a default dtype or an environment variable that one implementation changes
stay as they are for whatever runs after it in the same process. So the cells that end as nobody expects wait until the
others of the run are done, and are then performed again: those of one implementation in a process of their own, last first,
so that of two cells that disturb one another each is once before the other. What this second try gives is what counts; a first
one that went otherwise is recorded beside it. A crash is tried again where it happens, by `execute`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from conformance.planning.plan import Cell
from conformance.run.entries import Entry, Judging
from conformance.run.performers import Performer, Tried
from conformance.runfile.lines import recorded_catalogue
from conformance.runfile.notes import in_short
from conformance.runfile.structs import FirstTry, Record


def settled(cells: Sequence[Cell], performer: Performer, judging: Judging, patience: int = 0) -> Iterator[Entry]:
    """Yield the entry of each cell: as it ends where it is as expected, else after its second try.

    As many as `patience` that are not as expected are tried again at once, before any further cell; 0: after all cells.
    """
    waiting = list(cells)
    while waiting:
        done: set[str] = set()
        doubts: list[Tried] = []
        for tried in performer.perform(waiting, judging):
            done.add(tried.entry.cell.id)
            if tried.doubt is None:
                yield tried.entry
                continue
            doubts.append(tried)
            if len(doubts) == patience:
                break
        if doubts:
            yield from _tried_again(doubts, performer, judging)
        waiting = [cell for cell in waiting if cell.id not in done]


def _tried_again(doubts: Sequence[Tried], performer: Performer, judging: Judging) -> Iterator[Entry]:
    """Yield the entry of each doubted cell after its second try."""
    by_id = {tried.entry.cell.id: tried for tried in doubts}
    for cell, second in performer.again(
        _rounds(doubts), judging, {id_: tried.doubt for id_, tried in by_id.items() if tried.doubt}
    ):
        first = by_id[cell.id]
        yield first.entry if second is None else _compared(first, second)


def _rounds(doubts: Sequence[Tried]) -> Iterator[list[Cell]]:
    """Yield cells that may be performed at once: of one implementation alone in each process, last first."""
    by_process: dict[object, dict[str, list[Cell]]] = {}
    for cell in (tried.entry.cell for tried in reversed(doubts)):
        by_column = by_process.setdefault(cell.key.process, {})
        by_column.setdefault(cell.column, []).append(cell)
    for columns in itertools.zip_longest(*(by_column.values() for by_column in by_process.values())):
        yield [cell for column in columns for cell in column or ()]


def _compared(tried: Tried, second: Entry) -> Entry:
    """Return the second entry, with what the first try gave where that was something else."""
    first = tried.entry.record
    if tried.doubt is None or _result(first) == _result(second.record):
        return second
    told = FirstTry(verdict=first.verdict, why=in_short(first, recorded_catalogue()), before=tried.doubt.before)
    return replace(second, record=msgspec.structs.replace(second.record, first=told))


def _result(record: Record) -> tuple[object, ...]:
    causes = tuple(tuple(cause.id for cause in alternatives) for alternatives in record.diagnosis)
    return record.verdict, record.standing, causes, tuple(step.raised for step in record.steps)

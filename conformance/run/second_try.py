"""An unexpected verdict is asked for once more in a fresh process: what a neighbour left behind decides none.

A framework's flags, NumPy's handling of errors, a default dtype or an environment variable that one implementation changes
stay as they are for whatever runs after it in the same process. So the cells that end as nobody expects wait until the
others of the run are done, and are then performed again: those of one implementation in a process of their own, last first,
so that of two cells that disturb one another each is once before the other. What this second try gives is what counts; a first
one that went otherwise is recorded beside it. A crash is tried again where it happens, by `execute`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec

from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Workers
from conformance.outcome import Array, Produced, Refused, Repeated
from conformance.planning.plan import Cell
from conformance.runfile.lines import recorded_catalogue
from conformance.runfile.notes import in_short
from conformance.runfile.structs import FirstTry, Record
from conformance.spec.divergences import Known, Listed
from conformance.verdict import Standing, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A judged cell on its way to the run file, with what the divergences say of it."""

    cell: Cell
    record: Record
    listed: Known
    stale: Sequence[Listed]


Judging: TypeAlias = Callable[[Cell, Outcomes], Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doubt:
    """What a cell gave that nobody expects, after the cells `before` in one process."""

    entry: Entry
    digest: str
    before: tuple[str, ...]

    @property
    def cell(self) -> Cell:
        return self.entry.cell


def settled(cells: Sequence[Cell], workers: Workers, judged: Judging, patience: int = 0) -> Iterator[Entry]:
    """Yield the entry of each cell: as it ends where it is as expected, else after its second try.

    As many as `patience` that are not as expected are tried again at once, before any further cell; 0: after all cells.
    """
    waiting = list(cells)
    while waiting:
        done: set[str] = set()
        doubts: list[_Doubt] = []
        for cell, outcomes in execute(waiting, workers):
            done.add(cell.id)
            entry = judged(cell, outcomes)
            if not _doubtful(entry.record):
                yield entry
                continue
            doubts.append(_Doubt(entry=entry, digest=_digest(outcomes), before=workers.performed_before(cell.id)))
            if len(doubts) == patience:
                break
        yield from _tried_again(doubts, workers, judged)
        waiting = [cell for cell in waiting if cell.id not in done]


def _doubtful(record: Record) -> bool:
    return record.standing is Standing.UNEXPECTED and record.verdict is not Verdict.CRASHED


def _tried_again(doubts: Sequence[_Doubt], workers: Workers, judged: Judging) -> Iterator[Entry]:
    """Yield the entry of each doubted cell after its second try."""
    workers.end_all()
    by_id = {doubt.cell.id: doubt for doubt in doubts}
    for cells in _rounds(doubts):
        for cell, outcomes in execute(cells, workers):
            doubt = by_id[cell.id]
            # A judgement is a function of the cell and its outcomes: equal ones need no second.
            repeats = _digest(outcomes) == doubt.digest
            yield doubt.entry if repeats else _compared(doubt, judged(cell, outcomes))
        workers.end_all()


def _rounds(doubts: Sequence[_Doubt]) -> Iterator[list[Cell]]:
    """Yield cells that may be performed at once: of one implementation alone in each process, last first."""
    by_process: dict[object, dict[str, list[Cell]]] = {}
    for doubt in reversed(doubts):
        by_column = by_process.setdefault(doubt.cell.key.process, {})
        by_column.setdefault(doubt.cell.column, []).append(doubt.cell)
    for columns in itertools.zip_longest(*(by_column.values() for by_column in by_process.values())):
        yield [cell for column in columns for cell in column or ()]


def _compared(doubt: _Doubt, second: Entry) -> Entry:
    """Return the second entry, with what the first try gave where that was something else."""
    first = doubt.entry.record
    if _result(first) == _result(second.record):
        return second
    told = FirstTry(verdict=first.verdict, why=in_short(first, recorded_catalogue()), before=doubt.before)
    return replace(second, record=msgspec.structs.replace(second.record, first=told))


def _result(record: Record) -> tuple[object, ...]:
    causes = tuple(tuple(cause.id for cause in alternatives) for alternatives in record.diagnosis)
    return record.verdict, record.standing, causes, tuple(step.raised for step in record.steps)


def _digest(outcomes: Outcomes) -> str:
    """Return a digest of all that a judgement depends on."""
    digest = hashlib.blake2b(digest_size=16)
    for outcome in outcomes:
        match outcome:
            case Produced(quantities=quantities, state=state):
                _add(digest, "produced", outcome.compilations, outcome.overwritten, outcome.call)
                for name, array in itertools.chain(quantities.items(), state.items()):
                    _add_array(digest, name, array)
            case Refused(state=state):
                _add(digest, "refused", outcome.types, outcome.message, outcome.mistake, outcome.call, state is None)
                for name, array in (state or {}).items():
                    _add_array(digest, name, array)
            case Repeated(difference=difference):
                _add(digest, "repeated", difference)
            case other:
                _add(digest, repr(other))
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, *parts: object) -> None:
    digest.update(repr(parts).encode(errors="surrogatepass"))


def _add_array(digest: hashlib.blake2b, name: str, array: Array) -> None:
    _add(digest, name, array.dtype.name, array.shape)
    digest.update(array.tobytes())

"""The largest scores that were found: of the written cases, and of what a search drew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from conformance.errors import UsageError
from conformance.runfile.numbers import number_from
from conformance.runfile.observed import RecordedCell

#: What a search leaves in its folder.
_FILE = "search.json"
_FORMAT = 2
#: Families of cases that a search writes: the rows of `conformance properties`, and the worst of each implementation.
FAMILIES = ("properties", "worst-found")


class _Process(msgspec.Struct, frozen=True):
    """What `search.json` says of one process, as far as it is needed here."""

    worst_scores: dict[str, float]
    #: By implementation and verdict.
    verdicts: dict[str, dict[str, int]] = {}


class _Summary(msgspec.Struct, frozen=True):
    """The same of the whole file."""

    format: int
    processes: tuple[_Process, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What searches found of one implementation."""

    #: The largest score of what agrees.
    score: float
    #: How many cells were drawn.
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """The largest scores of one implementation where it is right: 1 is the limit."""

    #: Of the written cases, and the cell that has it; None where none has a score.
    written: float | None = None
    cell: str = ""
    #: Of what was drawn, and in how many cells; None where nothing was.
    searched: float | None = None
    drawn: int = 0


def read_searches(paths: Iterable[Path]) -> Mapping[str, Searched]:
    """Return by implementation what the searches at `paths` found, each a `search.json` or its folder. Raises `UsageError`."""
    by_name: dict[str, Searched] = {}
    for path in paths:
        file = path / _FILE if path.is_dir() else path
        for process in _summary(file).processes:
            for name, score in process.worst_scores.items():
                known = by_name.get(name, Searched(score=0.0, cells=0))
                cells = known.cells + sum(process.verdicts.get(name, {}).values())
                by_name[name] = Searched(score=max(known.score, score), cells=cells)
    return by_name


def _summary(file: Path) -> _Summary:
    try:
        summary = msgspec.json.decode(file.read_bytes(), type=_Summary)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{file}: expected the search.json that `conformance fuzz` leaves: {error}") from error
    if summary.format != _FORMAT:
        raise UsageError(f"{file}: format {summary.format}, expected {_FORMAT}")
    return summary


def largest(cells: Iterable[RecordedCell], searches: Mapping[str, Searched]) -> Mapping[str, Largest]:
    """Return the largest scores by implementation: of cells that agree, and of what the searches drew."""
    written: dict[str, tuple[float, str]] = {}
    drawn: dict[str, tuple[float, int]] = {name: (one.score, one.cells) for name, one in searches.items()}
    for cell in cells:
        score = number_from(cell.score)
        if score is None or not cell.verdict.agrees:
            continue
        name = cell.column.implementation
        if cell.case.family in FAMILIES:
            most, count = drawn.get(name, (0.0, 0))
            drawn[name] = max(most, score), count + 1
        else:
            written[name] = max(written.get(name, (-1.0, "")), (score, cell.id))
    return {
        name: Largest(
            written=written[name][0] if name in written else None,
            cell=written[name][1] if name in written else "",
            searched=drawn[name][0] if name in drawn else None,
            drawn=drawn[name][1] if name in drawn else 0,
        )
        for name in {**written, **drawn}
    }

"""Everything that a run needs, made before pytest starts, and what it learns on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.errors import StorageError
from conformance.planning.costs import Costs
from conformance.planning.plan import Cell
from conformance.run.live import Live
from conformance.run.performers import Performer
from conformance.runfile.structs import ListedDivergence
from conformance.runfile.writing import RunWriter
from conformance.spec.divergences import Listed


@dataclass(slots=True, kw_only=True)
class Prepared:
    """Everything a run needs, made before pytest starts."""

    root: Path
    cells: Mapping[Path, Mapping[str, Sequence[Cell]]]
    divergences: Sequence[Listed]
    #: Versions by worker name.
    versions: Mapping[str, Mapping[str, str]]
    #: Environments that were asked for and do not work: name -> why.
    failures: Mapping[str, str]
    performer: Performer
    #: The library by worker name.
    libraries: Mapping[str, str] = field(default_factory=dict)
    #: What shows the progress in place of pytest's dots; None: they do.
    live: Live | None = None
    #: Opens the run file once the number of cells is known; told whether pytest deselected some.
    open_run: Callable[[int, bool], RunWriter]
    #: Cells already recorded, in a resumed run.
    recorded: frozenset[str] = frozenset()
    #: Whether one of those is an unexpected verdict.
    failed: bool = False
    #: The known divergences that those show.
    shown: frozenset[ListedDivergence] = frozenset()
    #: What cells are expected to cost.
    costs: Costs = field(default_factory=Costs)
    #: Cells that run before all others, and what is done once they have.
    first: frozenset[str] = frozenset()
    after_first: Callable[[], None] = lambda: None
    #: The entries of the divergences whose witnesses are no cell of the whole matrix: each is one failing item.
    unmatched: Sequence[Listed] = ()
    #: In a run of everything, the entries that must list some cell.
    matching: Sequence[Listed] = ()
    #: The cells whose first try went otherwise than in a fresh process, a line each.
    disturbed: list[str] = field(default_factory=list)
    #: What went wrong with the run file, if anything: planned and recorded.
    mismatch: tuple[int, int] | None = None
    #: Why the run file could not be written to the end.
    unwritten: StorageError | None = None

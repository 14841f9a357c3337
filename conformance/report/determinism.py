"""Whether the same bits come out again: in a second performance, with one thread, and compiled. Facts, no verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from conformance.runfile.observed import Column, RecordedCell
from conformance.runfile.results import definition_of
from conformance.runfile.structs import EnvironmentLine

Answer = Literal["same", "differs", "unknown"]
#: What the library says of its threads, among the settings of an environment.
THREADS = "threads"
_REASON = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One comparison over all cells of a column that allow it."""

    answer: Answer
    #: Why it cannot be told, or where the first difference is.
    text: str
    #: Cases compared, and those among them whose bits differ.
    compared: int = 0
    differing: int = 0
    #: The cell with the first difference.
    cell: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """One implementation in one mode."""

    column: Column
    #: Threads in force where none are asked for, as the library says.
    threads: str
    again: Fact
    limited: Fact
    #: Beside the eager mode; None for the eager mode itself.
    eager: Fact | None


def determinism(environments: Iterable[EnvironmentLine], cells: Iterable[RecordedCell]) -> tuple[Bits, ...]:
    """Return what is known of the bits of every column that has a case performed twice, in the columns' order."""
    in_force = {environment.id: environment.settings.get(THREADS, "unknown") for environment in environments}
    by_column: dict[Column, list[RecordedCell]] = {}
    for cell in cells:
        if cell.again is not None or not _free(cell):
            by_column.setdefault(cell.column, []).append(cell)
    eager = {
        (column.implementation, column.device, cell.case.id): cell
        for column, cells_of_column in by_column.items()
        for cell in cells_of_column
        if column.mode == "eager"
    }
    return tuple(
        Bits(
            column=column,
            threads=_shared(in_force.get(cell.environment, "unknown") for cell in cells_of_column if _free(cell)),
            again=_again(cells_of_column),
            limited=_limited(cells_of_column, in_force),
            eager=None if column.mode == "eager" else _beside_eager(column, cells_of_column, eager),
        )
        for column, cells_of_column in sorted(by_column.items(), key=_order)
        if any(cell.again is not None for cell in cells_of_column)
    )


def _order(item: tuple[Column, list[RecordedCell]]) -> tuple[str, bool, str]:
    column, _ = item
    return column.implementation, column.mode != "eager", column.name


def _free(cell: RecordedCell) -> bool:
    return cell.case.threads is UNSET


def _shared(values: Iterable[str]) -> str:
    return " or ".join(sorted(set(values))) or "unknown"


def _again(cells: Sequence[RecordedCell]) -> Fact:
    return _fact((cell, cell.again) for cell in cells if cell.again is not None)


def _limited(cells: Sequence[RecordedCell], in_force: Mapping[str, str]) -> Fact:
    """Compare each case with its twin that names a number of threads, where that number took effect."""
    free = {definition_of(cell.case): cell for cell in cells if _free(cell) and _bits(cell)}
    pairs, obstacles = [], []
    for cell in cells:
        twin = free.get(definition_of(cell.case))
        if _free(cell) or twin is None:
            continue
        obstacle = _obstacle(cell, twin, in_force)
        if obstacle:
            obstacles.append(obstacle)
        else:
            pairs.append((cell, _difference(twin, cell)))
    if pairs:
        return _fact(pairs)
    return Fact(answer="unknown", text=obstacles[0] if obstacles else "no case ran with and without their number")


def _obstacle(cell: RecordedCell, twin: RecordedCell, in_force: Mapping[str, str]) -> str:
    """Return why the two say nothing of threads; empty where they do."""
    if not _bits(cell):
        return next((step.message for step in cell.record.steps if step.message), "gave no numbers")[:_REASON]
    asked, free = (in_force.get(run_cell.environment, "unknown") for run_cell in (cell, twin))
    if "unknown" in (asked, free):
        return "the library does not tell how many threads are in force"
    if asked != str(cell.case.threads):
        return f"asked for {cell.case.threads}, {asked} in force"
    return f"{free} in force without asking for {free}" if asked == free else ""


def _beside_eager(
    column: Column, cells: Sequence[RecordedCell], eager: Mapping[tuple[str, str, str], RecordedCell]
) -> Fact:
    compared = [
        (cell, _difference(other, cell))
        for cell in cells
        if (other := eager.get((column.implementation, column.device, cell.case.id))) and _bits(cell) and _bits(other)
    ]
    return _fact(compared) if compared else Fact(answer="unknown", text="no case ran in both modes")


def _fact(compared: Iterable[tuple[RecordedCell, str]]) -> Fact:
    pairs = list(compared)
    differing = [(cell, text) for cell, text in pairs if text]
    if not differing:
        return Fact(answer="same", text="", compared=len(pairs))
    cell, text = differing[0]
    return Fact(answer="differs", text=text, compared=len(pairs), differing=len(differing), cell=cell.id)


def _difference(one: RecordedCell, other: RecordedCell) -> str:
    """Return the quantities whose bits differ at the first step that has some; empty where none has."""
    before, after = _bits(one), _bits(other)
    differing = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    if not differing:
        return ""
    first = min(step for step, _ in differing)
    names = [name for step, name in differing if step == first]
    shown = " and ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} others"
    return f"{shown} at step {first}"


def _bits(cell: RecordedCell) -> dict[tuple[int, str], str]:
    return {
        (step.number, quantity.quantity): quantity.bits
        for step in cell.record.steps
        for quantity in step.quantities
        if quantity.bits
    }

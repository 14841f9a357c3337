"""The grade of each implementation per dtype: its worst on the stability ladder, with the case that set it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from conformance.runfile.observed import Column, RecordedCell
from conformance.verdict import worst_grade

DTYPES = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderGrade:
    """One grade, and the cell that set it."""

    letter: str
    cell: RecordedCell
    #: How many cells of the ladder were graded.
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One implementation in one mode, by dtype; None where no rung of the ladder was judged."""

    column: Column
    grades: tuple[LadderGrade | None, ...]


def dtypes_of(cells: Iterable[RecordedCell]) -> tuple[str, ...]:
    """Return the dtypes for which a grade was taken."""
    graded_dtypes = {cell.case.configuration.dtype for cell in cells if cell.grade}
    return tuple(dtype for dtype in DTYPES if dtype in graded_dtypes)


def graded(cells: Iterable[RecordedCell]) -> tuple[Graded, ...]:
    """Return the grades of every column that has one, in the order of the columns."""
    rungs = [cell for cell in cells if cell.grade]
    columns = {cell.column.name: cell.column for cell in rungs}
    by_column: dict[str, list[RecordedCell]] = {}
    for cell in rungs:
        by_column.setdefault(cell.column.name, []).append(cell)
    dtypes = dtypes_of(rungs)
    return tuple(
        Graded(column=columns[name], grades=tuple(_grade(column_rungs, dtype) for dtype in dtypes))
        for name, column_rungs in sorted(by_column.items())
    )


def _grade(rungs: Iterable[RecordedCell], dtype: str) -> LadderGrade | None:
    cells = [cell for cell in rungs if cell.case.configuration.dtype == dtype]
    if not cells:
        return None
    letter = worst_grade(cell.grade for cell in cells)
    setting = max((cell for cell in cells if cell.grade == letter), key=lambda cell: cell.rank)
    return LadderGrade(letter=letter, cell=setting, count=len(cells))

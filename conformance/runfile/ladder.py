"""The grade of each implementation per dtype: its worst on the stability ladder, with the case that set it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from conformance.runfile.observed import Cell, Column
from conformance.verdict import worst_grade

DTYPES = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """One grade, and the cell that set it."""

    letter: str
    cell: str
    title: str
    #: How many cells of the ladder were graded.
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One implementation in one mode, by dtype; None where no rung of the ladder was judged."""

    column: Column
    grades: tuple[Grade | None, ...]


def dtypes_of(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return the dtypes for which a grade was taken."""
    found = {cell.case["configuration"]["dtype"] for cell in cells if cell.grade}
    return tuple(dtype for dtype in DTYPES if dtype in found)


def graded(cells: Iterable[Cell]) -> tuple[Graded, ...]:
    """Return the grades of every column that has one, in the order of the columns."""
    found = [cell for cell in cells if cell.grade]
    columns = {cell.column.name: cell.column for cell in found}
    by_column: dict[str, list[Cell]] = {}
    for cell in found:
        by_column.setdefault(cell.column.name, []).append(cell)
    dtypes = dtypes_of(found)
    return tuple(
        Graded(column=columns[name], grades=tuple(_grade(of, dtype) for dtype in dtypes))
        for name, of in sorted(by_column.items())
    )


def _grade(of: list[Cell], dtype: str) -> Grade | None:
    cells = [cell for cell in of if cell.grade and cell.case["configuration"]["dtype"] == dtype]
    if not cells:
        return None
    letter = worst_grade(cell.grade for cell in cells)
    setting = max((cell for cell in cells if cell.grade == letter), key=lambda cell: cell.rank)
    return Grade(letter=letter, cell=setting.id, title=setting.case["title"], count=len(cells))

"""Grades of stability that changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conformance.compare.cells import Pair
from conformance.compare.values import GradeChange
from conformance.runfile.structs import Letter
from conformance.verdict import GRADES


def grades_of(pairs: Iterable[Pair]) -> Iterator[GradeChange]:
    """Yield the grades that changed, over the cells that both sides have graded."""
    ladders: dict[tuple[str, str], list[Pair]] = {}
    for base, new in pairs:
        if base.row.grade and new.row.grade:
            ladders.setdefault((new.column, new.case.dtype), []).append((base, new))
    for (column, dtype), rungs in ladders.items():
        before, after = (_worst(pair[side].row.grade for pair in rungs) for side in (0, 1))
        if before == after:
            continue
        worse = GRADES.index(after) > GRADES.index(before)
        side, letter = (1, after) if worse else (0, before)
        case = next(pair[side].case.id for pair in rungs if pair[side].row.grade == letter)
        yield GradeChange(regression=worse, column=column, dtype=dtype, base=before, new=after, case=case)


def _worst(grades: Iterable[Letter]) -> Letter:
    return max(grades, key=GRADES.index)

"""Cells of results joined with the case, column and environment that they refer to, and verdicts ranked by badness."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from conformance.runfile.numbers import number_from
from conformance.runfile.reasons import NONE, Reason
from conformance.runfile.results import Case, Environment, Results, Row
from conformance.verdict import Standing, Verdict

#: Rank of every verdict, best first; a change between verdicts of one rank is neither better nor worse.
STANDS: Mapping[Verdict, int] = {
    Verdict.EXACT: 0,
    Verdict.CONFORMS: 1,
    Verdict.DIALECT: 2,
    Verdict.UNSUPPORTED: 3,
    Verdict.NOT_DECIDABLE: 3,
    Verdict.OUTSIDE_DOMAIN: 3,
    Verdict.REFUSED: 4,
    Verdict.DEVIATES: 4,
    Verdict.TIMED_OUT: 5,
    Verdict.CRASHED: 6,
}
#: Rank of a refusal that the documentation announces: that of what an API cannot express.
_ANNOUNCED = 3


class ComparedCell(msgspec.Struct, frozen=True, kw_only=True, eq=False, gc=False):
    """A row of results with the case, column and environment that it refers to."""

    case: Case
    column: str
    implementation: str
    environment: Environment
    row: Row
    #: What decided its verdict, in words.
    what: str
    #: The same as values; `NONE` where its results tell it in words alone.
    reason: Reason

    @property
    def stands(self) -> int:
        """Return the rank of its verdict, by `STANDS`."""
        announced = self.row.verdict is Verdict.REFUSED and self.row.status is Standing.DOCUMENTED
        return _ANNOUNCED if announced else STANDS[self.row.verdict]

    @property
    def disagrees(self) -> bool:
        """Return whether it is wrong, refused without announcement, crashed or timed out."""
        return self.stands > _ANNOUNCED

    @property
    def score(self) -> float:
        """Return the score to sort by: -1 where there is none, infinite where it is no number."""
        value = number_from(self.row.score)
        return -1.0 if value is None else math.inf if math.isnan(value) else value


#: A cell of the base and the same cell of the new results.
Pair: TypeAlias = tuple[ComparedCell, ComparedCell]
#: Case -> its rows.
_RowsByCase: TypeAlias = Mapping[str, Sequence[Row]]


class Joined:
    """The cells of two results side by side, without those of redefined cases.

    A cell is made when it is asked for: of a million few have changed, and those alone are kept.
    """

    def __init__(self, base: Results, new: Results, redefined: Collection[str]) -> None:
        self._base, self._new = base, new
        self._before, self._after = (_rows_by_case(results, redefined) for results in (base, new))

    def pairs(self) -> Iterator[Pair]:
        """Yield the cells that both have, in the order of the base."""
        for case, rows in self._before.items():
            counterparts = _by_column(self._new, self._after.get(case, ()))
            for column, row in _by_column(self._base, rows).items():
                counterpart = counterparts.get(column)
                if counterpart is not None:
                    yield _cell(self._base, row), _cell(self._new, counterpart)

    def gone(self) -> Iterator[ComparedCell]:
        """Yield the cells of the base that the new results lack."""
        return _lacking(self._base, self._before, self._new, self._after)

    def come(self) -> Iterator[ComparedCell]:
        """Yield the cells of the new results that the base lacks."""
        return _lacking(self._new, self._after, self._base, self._before)


def _lacking(results: Results, rows_by_case: _RowsByCase, other: Results, there: _RowsByCase) -> Iterator[ComparedCell]:
    for case, rows in rows_by_case.items():
        counterparts = _by_column(other, there.get(case, ()))
        for column, row in _by_column(results, rows).items():
            if column not in counterparts:
                yield _cell(results, row)


def _rows_by_case(results: Results, redefined: Collection[str]) -> _RowsByCase:
    rows: dict[str, list[Row]] = {}
    for row in results.cells:
        case = results.cases[row.case].id
        if case not in redefined:
            rows.setdefault(case, []).append(row)
    return rows


def _by_column(results: Results, rows: Iterable[Row]) -> Mapping[str, Row]:
    return {results.columns[row.column].name: row for row in rows}


def _cell(results: Results, row: Row) -> ComparedCell:
    column = results.columns[row.column]
    return ComparedCell(
        case=results.cases[row.case],
        column=column.name,
        implementation=column.implementation,
        environment=results.environments[row.environment],
        row=row,
        what=results.texts[row.diagnosis],
        reason=results.reasons[row.diagnosis] if results.reasons else NONE,
    )

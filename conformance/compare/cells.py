"""Cells of results joined with the case, column and environment that they refer to, and verdicts ranked by badness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCell:
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


#: Case and column.
Key = tuple[str, str]


def cells_of(results: Results, redefined: set[str]) -> dict[Key, ComparedCell]:
    """Return the cells by case and column, without those of redefined cases."""
    cells = {}
    for row in results.cells:
        case, column = results.cases[row.case], results.columns[row.column]
        if case.id not in redefined:
            cells[case.id, column.name] = ComparedCell(
                case=case,
                column=column.name,
                implementation=column.implementation,
                environment=results.environments[row.environment],
                row=row,
                what=results.texts[row.diagnosis],
                reason=results.reasons[row.diagnosis] if results.reasons else NONE,
            )
    return cells

"""How often two implementations differ: the share of cases on which their verdicts are of different kinds.

Above the diagonal a documented dialect counts as a difference, as in the matrix's *disagreements only*; below it, as agreement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conformance.report.index import kind
from conformance.runfile.observed import Column, RecordedCell
from conformance.verdict import Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two implementations on the cases that were judged on both."""

    differ: int
    both: int

    @property
    def percent(self) -> int:
        """The share in whole percent, rounded so that 0 and 100 mean none and all."""
        if self.differ in (0, self.both):
            return 100 if self.differ else 0
        return min(99, max(1, round(100 * self.differ / self.both)))

    @property
    def level(self) -> int:
        """The shade, 0 to 5: none, then up to 5, 15, 30, 60 and 100 percent."""
        return sum(self.percent > limit for limit in (0, 5, 15, 30, 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """One operation's implementations, each against each; None where no case was judged on both."""

    op: str
    implementations: tuple[str, ...]
    #: In each, the column's position above the row's: with dialects apart; below it: with dialects agreeing.
    rows: tuple[tuple[Pair | None, ...], ...]


def pairs(columns: Iterable[Column], cells: Iterable[RecordedCell]) -> tuple[Pairs, ...]:
    """Return the pairs of every operation that has two implementations, in the order of the columns.

    An implementation's verdict on a case is the worst of its modes and devices.
    """
    order = dict.fromkeys(column.implementation for column in columns)
    verdicts: dict[str, dict[str, dict[str, Verdict]]] = {}
    for cell in cells:
        if cell.verdict.judged:
            by_case = verdicts.setdefault(cell.case.op, {}).setdefault(cell.column.implementation, {})
            by_case[cell.case.id] = worst([cell.verdict, by_case.get(cell.case.id, Verdict.EXACT)])
    return tuple(
        _pairs(op, {name: by_name[name] for name in order if name in by_name})
        for op, by_name in sorted(verdicts.items())
        if len(by_name) > 1
    )


def _pairs(op: str, verdicts: dict[str, dict[str, Verdict]]) -> Pairs:
    apart = [{case: kind(verdict) for case, verdict in by_case.items()} for by_case in verdicts.values()]
    agreeing = [
        {case: kind(Verdict.CONFORMS) if verdict.agrees else verdict for case, verdict in by_case.items()}
        for by_case in verdicts.values()
    ]
    places = range(len(verdicts))
    rows = [
        [
            _pair(*((apart[row], apart[column]) if column > row else (agreeing[row], agreeing[column])))
            for column in places
        ]
        for row in places
    ]
    return Pairs(op=op, implementations=tuple(verdicts), rows=tuple(map(tuple, rows)))


def _pair(one: Mapping[str, str], two: Mapping[str, str]) -> Pair | None:
    both = one.keys() & two.keys()
    return Pair(differ=sum(one[case] != two[case] for case in both), both=len(both)) if both else None

"""How often two implementations come out differently on the cases that were judged on both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.report.index import kind
from conformance.runfile.observed import Column, RecordedCell
from conformance.verdict import Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two implementations on the cases that were judged on both."""

    both: int
    #: Cases whose verdicts are of different kinds, a documented dialect being a kind of its own: code that moves gets other numbers.
    apart: int
    #: Cases on which one is right, in its dialect or not, and the other is not; or both are wrong in kinds that differ.
    disagreeing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """One operation's implementations, each with each."""

    op: str
    implementations: tuple[str, ...]
    #: Of the first with the second, the third and so on, then of the second with the third.
    pairs: tuple[Pair, ...]

    def of(self, one: str, two: str) -> Pair:
        """Return the pair of two implementations, in whichever order."""
        first, second = sorted(map(self.implementations.index, (one, two)))
        count = len(self.implementations)
        return self.pairs[first * count - first * (first + 1) // 2 + second - first - 1]


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
        Pairs(op=op, implementations=tuple(named), pairs=tuple(_pairs(list(named.values()))))
        for op, by_name in sorted(verdicts.items())
        if len(named := {name: by_name[name] for name in order if name in by_name}) > 1
    )


def _pairs(verdicts: Sequence[Mapping[str, Verdict]]) -> Iterator[Pair]:
    """Yield the pairs; sets of cases are numbers with a bit for each, which many pairs make worth it."""
    bits = {
        case: 1 << position for position, case in enumerate(dict.fromkeys(case for row in verdicts for case in row))
    }
    apart, agreeing = (
        [_sets({case: say(verdict) for case, verdict in row.items()}, bits) for row in verdicts]
        for say in (kind, lambda verdict: kind(Verdict.CONFORMS) if verdict.agrees else kind(verdict))
    )
    judged = [sum(kinds.values()) for kinds in apart]
    for first, both_first in enumerate(judged):
        for second in range(first + 1, len(verdicts)):
            both = both_first & judged[second]
            yield Pair(
                both=both.bit_count(),
                apart=both.bit_count() - _alike(apart[first], apart[second]),
                disagreeing=both.bit_count() - _alike(agreeing[first], agreeing[second]),
            )


def _sets(kinds: Mapping[str, str], bits: Mapping[str, int]) -> Mapping[str, int]:
    """Return the cases of each kind."""
    sets: dict[str, int] = {}
    for case, name in kinds.items():
        sets[name] = sets.get(name, 0) | bits[case]
    return sets


def _alike(one: Mapping[str, int], two: Mapping[str, int]) -> int:
    """Return how many cases are of one kind in both."""
    return sum((cases & two.get(name, 0)).bit_count() for name, cases in one.items())

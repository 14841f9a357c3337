"""Cells that say the same thing, gathered: one finding each, worst first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from conformance.runfile.numbers import Number
from conformance.runfile.observed import RecordedCell, what, worst_quantity
from conformance.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one implementation does in some cells, for one reason."""

    implementation: str
    verdict: Verdict
    what: str
    #: Where the divergence is reported upstream; empty where it is not.
    upstream: str
    columns: tuple[str, ...]
    #: Number of cases.
    cases: int
    #: Worst first.
    cells: tuple[RecordedCell, ...]

    @property
    def worst(self) -> RecordedCell:
        """The cell to look at first."""
        return self.cells[0]

    @property
    def evidence(self) -> str:
        """The worst element of the worst cell, where its numbers are what decided its verdict."""
        worst = worst_quantity(self.worst.record)
        if worst is None or worst[1].worst is None or worst[1].verdict is not self.verdict:
            return ""
        step, quantity = worst
        element = worst[1].worst
        index = ", ".join(map(str, element.index))
        where = f"{quantity.quantity}[{index}], step {step.number} ({step.kind})"
        allowed = element.allowed if isinstance(element.allowed, str) else f"{element.allowed:.2g}"
        return f"{where}: expected {_plain(element.expected)}, observed {_plain(element.observed)}, allowed ±{allowed}"


def _plain(value: Number) -> str:
    """Return a number with the digits that a person reads; those of the record are on the page of its case."""
    return value if isinstance(value, str) else f"{value:.9g}"


def findings(cells: Iterable[RecordedCell]) -> tuple[Finding, ...]:
    """Return the findings in those cells, worst first."""
    groups: dict[tuple[str, Verdict, str, str], list[RecordedCell]] = {}
    for cell in cells:
        listed = cell.divergence
        if not listed:
            # What unexplained numbers are made of differs from cell to cell of one fault.
            reason = what(cell.record, cell.causes, weights=False)
        elif cell.verdict.agrees:
            reason = f"agrees, and is listed as diverging: {listed[0].reason}"
        else:
            reason = listed[0].reason
        upstream = (listed[0].upstream or "") if listed else ""
        groups.setdefault((cell.column.implementation, cell.verdict, reason, upstream), []).append(cell)
    gathered = [_finding(key, group) for key, group in groups.items()]
    return tuple(sorted(gathered, key=lambda finding: (finding.worst.rank, len(finding.cells)), reverse=True))


def _finding(key: tuple[str, Verdict, str, str], cells: list[RecordedCell]) -> Finding:
    implementation, verdict, reason, upstream = key
    return Finding(
        implementation=implementation,
        verdict=verdict,
        what=reason,
        upstream=upstream,
        columns=tuple(dict.fromkeys(f"{cell.column.mode} {cell.column.device}" for cell in cells)),
        cases=len({cell.case.id for cell in cells}),
        cells=tuple(sorted(cells, key=lambda cell: cell.rank, reverse=True)),
    )

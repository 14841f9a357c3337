"""Cells that say the same thing, gathered: one finding each, worst first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conformance.runfile.observed import Cell, worst_quantity
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
    cells: tuple[Cell, ...]

    @property
    def worst(self) -> Cell:
        """The cell to look at first."""
        return self.cells[0]

    @property
    def evidence(self) -> str:
        """The worst element of the worst cell, where there is one."""
        found = worst_quantity(self.worst)
        if found is None or "worst" not in found[1]:
            return ""
        step, quantity = found
        element = quantity["worst"]
        index = ", ".join(map(str, element["index"]))
        where = f"{quantity['quantity']}[{index}], step {step['number']} ({step['kind']})"
        allowed = element["allowed"] if isinstance(element["allowed"], str) else f"{element['allowed']:.2g}"
        return f"{where}: expected {element['expected']}, observed {element['observed']}, allowed ±{allowed}"


#: What unexplained numbers are made of, which differs from cell to cell of one fault.
_WEIGHTS = re.compile(r"unexplained: [^;]*")


def findings(cells: Iterable[Cell], whats: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return the findings in those cells, worst first; `whats` say by cell what decided its verdict."""
    groups: dict[tuple[str, Verdict, str, str], list[Cell]] = {}
    for cell in cells:
        listed = cell.record["divergence"]
        reason = (
            listed[0]["reason"] if listed and not cell.verdict.agrees else _WEIGHTS.sub("unexplained", whats[cell.id])
        )
        if listed and cell.verdict.agrees:
            reason = f"agrees, and is listed as diverging: {listed[0]['reason']}"
        upstream = (listed[0].get("upstream") or "") if listed else ""
        groups.setdefault((cell.column.implementation, cell.verdict, reason, upstream), []).append(cell)
    found = [_finding(key, group) for key, group in groups.items()]
    return tuple(sorted(found, key=lambda each: (each.worst.rank, len(each.cells)), reverse=True))


def _finding(key: tuple[str, Verdict, str, str], cells: list[Cell]) -> Finding:
    implementation, verdict, reason, upstream = key
    return Finding(
        implementation=implementation,
        verdict=verdict,
        what=reason,
        upstream=upstream,
        columns=tuple(dict.fromkeys(f"{cell.column.mode} {cell.column.device}" for cell in cells)),
        cases=len({cell.case["id"] for cell in cells}),
        cells=tuple(sorted(cells, key=lambda cell: cell.rank, reverse=True)),
    )

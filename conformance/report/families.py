"""Which families of cases see what: where few cells see a deviation, the spec is thin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from conformance.runfile.observed import RecordedCell
from conformance.verdict import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One implementation in one family of cases."""

    judged: int
    deviating: int
    #: A cell that deviates, if one does.
    cell: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplementationCounts:
    """One implementation, in all modes and on all devices, across the families."""

    implementation: str
    counts: tuple[Count, ...]
    #: The families that see it deviate, and the cases.
    families: tuple[str, ...]
    cases: tuple[str, ...]

    @property
    def thin(self) -> str:
        """What is thin about the evidence: "one case", "one family", or nothing."""
        return "one case" if len(self.cases) == 1 else "one family" if len(self.families) == 1 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """The families in the order of their names, and a row of counts per implementation."""

    names: tuple[str, ...]
    rows: tuple[ImplementationCounts, ...]


def families(cells: Iterable[RecordedCell]) -> Families:
    """Return how many cells of each family were judged and deviate, by implementation."""
    cells_by_name: dict[str, dict[str, list[RecordedCell]]] = {}
    for cell in cells:
        cells_by_name.setdefault(cell.column.implementation, {}).setdefault(cell.case.family, []).append(cell)
    names = tuple(sorted({family for by_family in cells_by_name.values() for family in by_family}))
    return Families(
        names=names,
        rows=tuple(_implementation_counts(name, by_family, names) for name, by_family in sorted(cells_by_name.items())),
    )


def _implementation_counts(
    implementation: str, by_family: dict[str, list[RecordedCell]], names: Iterable[str]
) -> ImplementationCounts:
    seeing = {family: [cell for cell in cells if _deviates(cell)] for family, cells in by_family.items()}
    return ImplementationCounts(
        implementation=implementation,
        counts=tuple(_count(by_family.get(name, []), seeing.get(name, [])) for name in names),
        families=tuple(family for family in sorted(seeing) if seeing[family]),
        cases=tuple(sorted({cell.case.id for cells in seeing.values() for cell in cells})),
    )


def _count(cells: list[RecordedCell], deviating: list[RecordedCell]) -> Count:
    return Count(
        judged=sum(cell.verdict.judged for cell in cells),
        deviating=len(deviating),
        cell=max(deviating, key=lambda cell: cell.rank).id if deviating else "",
    )


def _deviates(cell: RecordedCell) -> bool:
    """Return whether the cell is wrong: judged, in agreement with no dialect, and no refusal that is documented."""
    return cell.verdict.judged and not cell.verdict.agrees and cell.standing is not Standing.DOCUMENTED

"""How much is right of each operation, over all frameworks and in each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from conformance.report.frameworks import Agreement, Framework, agreement
from conformance.runfile.observed import RecordedCell


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """One operation of the spec."""

    op: str
    agreement: Agreement
    #: By framework, in the order of the front page; None where none of its implementations was judged on it.
    by_framework: tuple[Agreement | None, ...]

    @property
    def words(self) -> str:
        """Its name as people write it."""
        return self.op.replace("_", " ")


def operations(cells: Iterable[RecordedCell], frameworks: Iterable[Framework]) -> tuple[OperationRow, ...]:
    """Return the operations of the judged cells, the one with the most cells first."""
    layers = [{one.name for layer in framework.layers for one in layer.all} for framework in frameworks]
    cells_by_op: dict[str, list[RecordedCell]] = {}
    for cell in cells:
        if cell.verdict.judged:
            cells_by_op.setdefault(cell.case.op, []).append(cell)
    rows = (
        OperationRow(
            op=op,
            agreement=agreement(own),
            by_framework=tuple(_of(own, names) for names in layers),
        )
        for op, own in cells_by_op.items()
    )
    return tuple(sorted(rows, key=lambda row: (-row.agreement.judged, row.op)))


def _of(cells: Iterable[RecordedCell], names: set[str]) -> Agreement | None:
    own = [cell for cell in cells if cell.column.implementation in names]
    return agreement(own) if own else None

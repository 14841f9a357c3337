"""How much is right of each operation, over all frameworks and in each, and the worst that was found of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conformance.report.frameworks import Agreement, Framework, agreement
from conformance.report.ranked import RankedFinding
from conformance.runfile.observed import RecordedCell


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationOnFramework:
    """One operation as one framework computes it."""

    framework: Framework
    #: None where none of its implementations was judged on the operation.
    agreement: Agreement | None
    #: Of the implementations of this operation alone, what harms most people first.
    findings: tuple[RankedFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """One operation of the spec."""

    op: str
    agreement: Agreement
    #: In the order of the front page.
    by_framework: tuple[OperationOnFramework, ...]

    @property
    def words(self) -> str:
        """Its name as people write it."""
        return self.op.replace("_", " ")

    @property
    def judged(self) -> tuple[OperationOnFramework, ...]:
        """The frameworks on which it was judged."""
        return tuple(entry for entry in self.by_framework if entry.agreement is not None)


def operations(cells: Iterable[RecordedCell], frameworks: Sequence[Framework]) -> tuple[OperationRow, ...]:
    """Return the operations of the judged cells, the one with the most cells first."""
    cells_by_op: dict[str, list[RecordedCell]] = {}
    for cell in cells:
        if cell.verdict.judged:
            cells_by_op.setdefault(cell.case.op, []).append(cell)
    rows = (
        OperationRow(
            op=op,
            agreement=agreement(own),
            by_framework=tuple(_on_framework(own, op, framework) for framework in frameworks),
        )
        for op, own in cells_by_op.items()
    )
    return tuple(sorted(rows, key=lambda row: (-row.agreement.judged, row.op)))


def _on_framework(cells: Iterable[RecordedCell], op: str, framework: Framework) -> OperationOnFramework:
    names = {one.name for layer in framework.layers for one in layer.all}
    own = [cell for cell in cells if cell.column.implementation in names]
    return OperationOnFramework(
        framework=framework,
        agreement=agreement(own) if own else None,
        findings=tuple(finding for finding in framework.findings if finding.worst.cell.case.op == op),
    )

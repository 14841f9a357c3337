"""One row an operation: how much of it is right, over all frameworks and in each."""

from __future__ import annotations

from conformance.report.operations import OperationRow, operations
from tests.report.test_frameworks import rows
from tests.report_lines import case, record, report_of, run


def of(*records: dict[str, object], **ops: str) -> tuple[OperationRow, ...]:
    """Return the rows of a run of those records, whose cases are of those operations."""
    cases = tuple({**case(f"a.{name}"), "op": op} for name, op in ops.items())
    report = report_of(run(*records, cases=cases))
    return operations(report.cells, rows(report))


def test_an_operation_counts_its_own_cells_alone() -> None:
    found = of(
        record("exact", of="a.one"),
        record("deviates", "failed", of="a.two"),
        record("exact", of="a.three"),
        one="layer_norm",
        two="layer_norm",
        three="batch_norm",
    )
    assert [(row.op, row.agreement.right, row.agreement.judged) for row in found] == [
        ("layer_norm", 1, 2),
        ("batch_norm", 1, 1),
    ]
    assert [[share.percent for share in row.by_framework if share] for row in found] == [["50.0"], ["100"]]


def test_what_was_not_judged_is_no_row() -> None:
    assert of(record("unsupported", "skipped", of="a.one"), one="rms_norm") == ()


def test_an_operation_is_named_as_people_write_it() -> None:
    (row,) = of(record("exact", of="a.one"), one="layer_norm")
    assert row.words == "layer norm"

"""One row an operation: how much of it is right, over all frameworks and in each."""

from __future__ import annotations

from conformance.report.operations import OperationRow, operations
from tests.report.test_frameworks import rows
from tests.report_lines import case, record, report_of, run
from tests.run_lines import TORCH, environment_line


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
    assert [[entry.agreement.percent for entry in row.judged if entry.agreement] for row in found] == [
        ["50.0"],
        ["100"],
    ]


def test_what_was_not_judged_is_no_row() -> None:
    assert of(record("unsupported", "skipped", of="a.one"), one="rms_norm") == ()


def test_an_operation_is_named_as_people_write_it() -> None:
    (row,) = of(record("exact", of="a.one"), one="layer_norm")
    assert row.words == "layer norm"


def test_a_finding_stands_with_the_operation_that_shows_it() -> None:
    """Implementations are of one operation each, and so is what is wrong with them."""
    group = {
        **record("deviates", "failed", of="a.one"),
        "implementation": "x.GroupNorm",
        "cell": "a.one::x.GroupNorm-eager-cpu",
    }
    offered = [
        {"name": name, "op": op, "modes": ["eager"], "devices": ["cpu"], "profile": [], "documentation": ""}
        for name, op in ((TORCH, "layer_norm"), ("x.GroupNorm", "group_norm"))
    ]
    cases = ({**case("a.one"), "op": "group_norm"}, {**case("a.two"), "op": "layer_norm"})
    lines = (group, record("exact", of="a.two"))
    report = report_of(run(*lines, cases=cases, environments=(environment_line(implementations=offered),)))
    found = {row.op: [len(entry.findings) for entry in row.judged] for row in operations(report.cells, rows(report))}
    assert found == {"group_norm": [1], "layer_norm": [0]}

"""One row a framework: how much is right, how stable, how fast, and the worst that was found."""

from __future__ import annotations

from conformance.report.frameworks import Agreement, Framework, frameworks
from conformance.report.model import Report
from conformance.report.throughput import throughput
from conformance.verdict import Verdict
from tests.report.test_throughput import lines_of, timed
from tests.report_lines import case, record, report_of, run
from tests.run_lines import FLAX, TORCH, environment_line


def test_the_share_that_is_right_is_never_rounded_up_to_all() -> None:
    assert Agreement(judged=10_000, right=9_999, documented=0).percent == "99.9"
    assert Agreement(judged=3, right=3, documented=1).percent == "100"


def test_a_documented_difference_and_a_documented_refusal_are_right() -> None:
    step = {"number": 1, "kind": "train", "verdict": "refused", "expected": True, "quantities": [], "message": "No."}
    records = (
        record("exact", of="a.one"),
        record("dialect", of="a.two"),
        record("refused", of="a.three", steps=[step]),
        record("deviates", "failed", of="a.four"),
        record("unsupported", "skipped", of="a.five"),
    )
    report = report_of(run(*records, cases=tuple(case(str(line["case"])) for line in records)))
    (framework,) = rows(report)
    assert framework.agreement == Agreement(judged=4, right=3, documented=2)
    assert framework.new == 1
    assert report.counts[Verdict.UNSUPPORTED] == 1


def test_identities_that_time_allowed_change_no_share_of_written_cases() -> None:
    written = (record("exact", of="a.one"), record("deviates", "failed", of="a.two"))
    checked = tuple(record("conforms", of=f"properties.{name}") for name in ("one", "two"))
    for records, expected in (
        (written, Agreement(judged=2, right=1, documented=0)),
        ((*written, *checked), Agreement(judged=2, right=1, documented=0)),
        (checked, Agreement(judged=2, right=2, documented=0)),
    ):
        (framework,) = rows(report_of(run(*records, cases=tuple(case(str(line["case"])) for line in records))))
        assert framework.agreement == expected


def test_variants_stand_under_their_layer() -> None:
    names = ("x.Norm+second", "x.Other", "x.Norm", "x.Norm+first")
    offered = [
        {"name": name, "op": "batch_norm", "modes": ["eager"], "devices": ["cpu"], "profile": [], "documentation": ""}
        for name in names
    ]
    records = [{**record("exact"), "implementation": name, "cell": f"a.one::{name}-eager-cpu"} for name in names]
    report = report_of(run(*records, environments=(environment_line(implementations=offered),)))
    (framework,) = rows(report)
    assert [(layer.name, [variant.name for variant in layer.variants]) for layer in framework.layers] == [
        ("x.Norm", ["x.Norm+second", "x.Norm+first"]),
        ("x.Other", []),
    ]


def test_speed_is_the_median_fraction_of_the_limit_in_inference() -> None:
    measured = throughput(lines_of(timed(), timed(FLAX), timed(TORCH, 0.01, "scored", **{"pass": "train"})))
    report = report_of(run(record("exact")))
    (framework,) = frameworks(
        report.matrix.columns, report.cells, report.grades, measured.shares, report.ranked, report.dtypes
    )
    assert framework.speed == 0.5


def rows(report: Report) -> tuple[Framework, ...]:
    """Return the frameworks of a report, without throughput."""
    return frameworks(report.matrix.columns, report.cells, report.grades, (), report.ranked, report.dtypes)

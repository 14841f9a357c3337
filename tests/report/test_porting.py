"""What the page of a pair is made from: words of the call, choices and findings of every implementation."""

from __future__ import annotations

from conformance.report.frameworks import frameworks
from conformance.report.naming import named
from conformance.report.porting import porting
from tests.report_lines import case, environment, record, report_of, run


def test_an_implementation_brings_its_words_choices_and_findings() -> None:
    profile = {
        "field": "moving_correction", "value": 1, "source": "documentation", "where": "the page", "error": None, "ranks": None,
    }  # fmt: skip
    decays = {"a.one": 0.25, "a.two": 0.75}
    cases = tuple(
        case(name, configuration=case(name)["configuration"] | {"decay": decay}) for name, decay in decays.items()
    )
    records = [
        record(
            "deviates", "failed", of=name, diagnosis="It is wrong.", call=f"torch.nn.BatchNorm1d(momentum={1 - decay})"
        )
        for name, decay in decays.items()
    ]
    report = report_of(run(*records, cases=cases, environments=(environment(profile=(profile,)),)))
    columns = report.matrix.columns
    libraries = frameworks(columns, report.cells, report.grades, (), report.ranked, report.dtypes)
    told = porting(report, named(columns, report.cells), libraries)
    (row,) = told["rows"]
    assert row["words"]["decay"] == [["momentum", "1 − decay"]]
    assert row["declared"] == {"moving_correction": "1"}
    assert set(told["fields"]) == {"moving_correction"}
    assert [finding[2] for finding in row["findings"]] == ["causes/as-recorded.html"]

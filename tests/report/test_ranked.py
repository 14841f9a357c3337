"""What is wrong, once for each implementation and cause, by what it does to people."""

from __future__ import annotations

from typing import Any

from conformance.report.ranked import RankedFinding, causes
from tests.report_lines import case, quantity, record, report_of, run
from tests.run_lines import FLAX, environment_line

KINDS = {"*.edge*": "edges", "*.hard*": "demanding", "*": "ordinary"}


def wrong(of: str, *, expected: float = 2.0, observed: float | str = 1.0, **other: Any) -> dict[str, Any]:
    """Return a record whose output deviates in one element, of a known divergence."""
    element = {"index": [0, 0], "expected": expected, "observed": observed, "allowed": 1e-7}
    step = {"number": 1, "kind": "infer", "verdict": "deviates", "expected": False, "seconds": 0.25}
    quantities = [{**quantity("deviates", 10.0), "worst": element}]
    listed = {"reason": "It differs.", "diagnosis": "Because.", "upstream": "https://tracker.example/1"}
    told = {"divergence": [listed], "diagnosis": "epsilon outside the root", **other}
    return record("deviates", "xfailed", of=of, steps=[{**step, "quantities": quantities}], **told)


def found(*records: dict[str, Any], kinds: dict[str, str] = KINDS) -> tuple[RankedFinding, ...]:
    """Return the findings of those records."""
    names = dict.fromkeys(str(line["case"]) for line in records)
    environments = tuple(
        environment_line(implementation) for implementation in dict.fromkeys(line["implementation"] for line in records)
    )
    made = run(*records, cases=tuple(case(name) for name in names), environments=environments, data_kinds=kinds)
    return report_of(made).ranked


def test_what_is_wrong_on_ordinary_data_stands_before_what_is_wrong_at_the_edges() -> None:
    findings = found(
        wrong("a.edge", observed="NaN", diagnosis="one", divergence=[]),
        wrong("a.hard", observed=0.0, diagnosis="two", divergence=[]),
        wrong("a.plain", observed=1.99, diagnosis="three", divergence=[]),
    )
    assert [finding.worst.data for finding in findings] == ["ordinary", "demanding", "edges"]


def test_within_a_kind_the_larger_error_in_natural_units_stands_first() -> None:
    """Not the larger score: both are ten bounds off."""
    findings = found(
        wrong("a.small", observed=1.9, implementation=FLAX),
        wrong("a.large", observed=-2.0),
    )
    assert [finding.worst.error for finding in findings] == [2.0, (2.0 - 1.9) / 2.0]


def test_a_refusal_stands_after_numbers_that_are_wrong_and_say_nothing() -> None:
    step = {"number": 1, "kind": "train", "verdict": "refused", "expected": False, "quantities": [], "message": "No."}
    refused = record("refused", "failed", of="a.refused", steps=[step], score=None)
    findings = found(refused, wrong("a.wrong", observed=1.5))
    assert [finding.worst.cell.case.id for finding in findings] == ["a.wrong", "a.refused"]
    assert findings[1].new


def test_a_run_that_does_not_say_what_its_data_are_is_ordered_by_error_alone() -> None:
    findings = found(wrong("a.edge", observed="NaN"), wrong("a.plain", observed=1.0, implementation=FLAX), kinds={})
    assert [(finding.worst.data, finding.worst.cell.case.id) for finding in findings] == [
        ("", "a.edge"),
        ("", "a.plain"),
    ]


def test_one_cause_in_many_cells_is_one_finding_with_its_worst_first() -> None:
    (finding,) = found(wrong("a.one", observed=1.9), wrong("a.two", observed=0.5), wrong("a.two", mode="compiled"))
    assert [sighting.cell.case.id for sighting in finding.sightings] == ["a.two", "a.two", "a.one"]
    assert (finding.cases, finding.columns) == (2, ("eager cpu", "compiled cpu"))
    assert finding.upstream == ("https://tracker.example/1",)
    assert not finding.new


def test_what_is_right_or_refused_as_documented_is_no_finding() -> None:
    documented = record("refused", "passed", of="a.two", steps=[
        {"number": 1, "kind": "train", "verdict": "refused", "expected": True, "quantities": [], "message": "No."}
    ])  # fmt: skip
    assert found(record("exact", of="a.one"), documented) == ()


def test_a_cause_gathers_the_implementations_that_show_it() -> None:
    (shared,) = causes(found(wrong("a.one"), wrong("a.one", implementation=FLAX)))
    assert len(shared.implementations) == 2

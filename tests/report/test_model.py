"""What a report holds, before any of it is shown."""

from __future__ import annotations

import pytest

from conformance.errors import UsageError
from conformance.verdict import Verdict
from tests.report_lines import Line, case, environment, field, quantity, record, report_of, run
from tests.run_lines import TORCH


def test_an_environment_that_did_not_start_is_no_unbuilt_one() -> None:
    """An adapter that was reached and failed had an environment."""
    failed = {"id": "jax", "group": "jax", "adapter": "jax.py", "process": {}, "failed": "ImportError: jaxlib"}
    report = report_of(run(record("exact"), environments=(environment(), failed)))
    assert [(each.id, each.fault) for each in report.failed] == [("jax", "not started")]
    assert report.matrix.failed == (("jax", "not started"),)


def test_a_field_shows_the_worst_verdict_of_its_judged_cells() -> None:
    """One of two judged cells deviates; a worse verdict on another clause does not count."""
    cases = (
        case("a.one"),
        case("a.two", clauses=("3.1", "8.1")),
        case("a.three"),
        case("a.four", clauses=("8.1",)),
    )
    records = (
        record("conforms", of="a.one"),
        record("deviates", "failed", of="a.two"),
        record("outside_domain", "skipped", of="a.three"),
        record("crashed", "failed", of="a.four"),
    )
    found = field(report_of(run(*records, cases=cases)), "3.1", f"{TORCH}-eager-cpu")
    assert (found.verdict, found.count, found.judged) == (Verdict.DEVIATES, 1, 2)
    assert found.text == "1 deviates, 1 outside domain, 1 conforms (1 unexpected)"


def test_unsupported_never_counts_as_conforming() -> None:
    """Beside a conforming cell it is not judged; alone it is its own kind of field."""
    cases = (case("a.one"), case("a.two"), case("a.three", clauses=("8.1",)))
    records = (
        record("conforms", of="a.one"),
        record("unsupported", "skipped", of="a.two"),
        record("unsupported", "skipped", of="a.three"),
    )
    report = report_of(run(*records, cases=cases))
    mixed, alone = (field(report, clause, f"{TORCH}-eager-cpu") for clause in ("3.1", "8.1"))
    assert (report.judged, mixed.judged, mixed.count) == (1, 1, 1)
    assert (alone.verdict, alone.judged) == (Verdict.UNSUPPORTED, 0)


def test_no_case_is_no_verdict() -> None:
    """A column that has no cell for a clause is empty there, and clauses without a case are named."""
    report = report_of(
        run(
            record("exact"),
            record("exact", of="a.two", mode="compiled"),
            cases=(case(), case("a.two", clauses=("8.1",))),
        )
    )
    assert field(report, "3.1", f"{TORCH}-compiled-cpu").verdict is None
    assert report.matrix.untested == (("1.1", "Scope"),)


def test_a_known_divergence_is_apart_from_the_unexpected() -> None:
    """Listed cells keep their verdict and are no finding to act on."""
    listed = {"reason": "The variance is one-pass.", "diagnosis": "one-pass", "upstream": None}
    report = report_of(run(record("deviates", "xfailed", divergence=[listed])))
    assert report.unexpected == ()
    assert [(each.what, each.verdict) for each in report.known] == [("The variance is one-pass.", Verdict.DEVIATES)]


def test_a_stale_divergence_is_apart_from_what_deviates() -> None:
    """A cell that is listed and agrees failed the run, and no implementation is at fault."""
    listed = {"reason": "The variance is one-pass.", "diagnosis": "one-pass", "upstream": None}
    report = report_of(run(record("conforms", "failed", divergence=[listed])))
    assert report.unexpected == ()
    assert report.stale[0].what == "agrees, and is listed as diverging: The variance is one-pass."
    assert field(report, "3.1", f"{TORCH}-eager-cpu").stand == "stale"


def test_a_listed_cell_that_crashes_is_not_stale() -> None:
    """It is listed for something else, and agrees with nothing."""
    listed = {"reason": "The variance is one-pass.", "diagnosis": "one-pass", "upstream": None}
    report = report_of(run(record("crashed", "failed", divergence=[listed])))
    assert (len(report.unexpected), report.stale) == (1, ())


def test_what_the_run_does_not_hold_is_not_run() -> None:
    """A cell that the column offers and no record tells of is neither a verdict nor no case."""
    cases = (case("a.one"), case("a.two", clauses=("8.1",)))
    report = report_of(run(record("exact"), cases=cases))
    found = field(
        report_of(run(record("exact"), record("exact", of="a.two", mode="compiled"), cases=cases)),
        "8.1",
        f"{TORCH}-eager-cpu",
    )
    assert (found.verdict, found.missing, found.text, found.shown) == (None, 1, "1 not run", "1")
    assert [each.case.id for each in report.missing] == ["a.two"]


def test_a_case_of_another_operation_is_not_missing() -> None:
    """Nobody offered it."""
    other = case("c.one", op="centering")
    assert report_of(run(record("exact"), cases=(case(), other))).missing == ()


def test_every_implementation_has_a_page_of_its_own() -> None:
    """Names that differ in what a file name cannot hold do not share a page."""
    names = ["a/b", "a-b", "A.b", "..", "../../etc"]
    records = [{**record("exact"), "cell": f"a.one::{each}-eager-cpu", "implementation": each} for each in names]
    slugs = report_of(run(*records, environments=(environment(),))).slugs
    assert set(slugs) == set(names)
    assert len({each.lower() for each in slugs.values()}) == 5
    assert all(set(each) <= set("abcdeitmplnAo.-2") and not each.startswith(".") for each in slugs.values())


def test_a_documented_refusal_is_judged_and_not_unexpected() -> None:
    """An error that the documentation announces is no finding."""
    report = report_of(run(record("refused")))
    assert (report.judged, report.unexpected, report.known, len(report.documented)) == (1, (), (), 1)


def test_cells_with_one_cause_are_one_finding_with_its_worst_first() -> None:
    """Two modes and one diagnosis: one row that leads to the higher score."""
    milder = record("deviates", "failed", diagnosis="correction 1", score=3.0)
    worse = record("deviates", "failed", mode="compiled", diagnosis="correction 1", score="Infinity")
    (finding,) = report_of(run(milder, worse)).unexpected
    assert (finding.what, len(finding.cells), finding.worst.column.mode) == ("correction 1", 2, "compiled")
    assert finding.evidence == "output[0, 0], step 1 (infer): expected 1.5, observed 1.25, allowed ±1e-07"


def test_unexplained_cells_are_one_finding_whatever_their_weights() -> None:
    """The weights follow the data of the case; what stands beside them does not."""
    one, other = (
        record("deviates", "failed", mode=mode, diagnosis=f"unexplained: output is {weight}·x, where 1·x is right; y")
        for mode, weight in (("eager", 2), ("compiled", 3))
    )
    assert [each.what for each in report_of(run(one, other)).unexpected] == ["unexplained; y"]


@pytest.mark.parametrize(
    ("verdicts", "shown"),
    [
        (("exact", "conforms"), "2"),
        (("conforms", "dialect"), "1/2"),
        (("deviates", "deviates"), "2/2"),
        (("conforms", "unsupported"), "1"),
        (("unsupported", "unsupported"), "2"),
    ],
)
def test_a_field_counts_what_its_verdict_is_about(verdicts: tuple[str, str], shown: str) -> None:
    """All judged cells where all are right; else a share of them; unjudged ones only where nothing was judged."""
    records = [record(verdict, of=f"a.{verdict}{index}") for index, verdict in enumerate(verdicts)]
    report = report_of(run(*records, cases=tuple(case(each["case"]) for each in records)))
    assert field(report, "3.1", f"{TORCH}-eager-cpu").shown == shown


@pytest.mark.parametrize(
    ("quantities", "message", "expected"),
    [
        ([], "ValueError: no", "ValueError: no"),
        ([{**quantity("deviates"), "reason": "has dtype float32"}], "", "output has dtype float32"),
        ([quantity("deviates")], "", "output at infer is beyond its bound, and no single change explains it"),
        ([], "", ""),
    ],
)
def test_a_finding_says_what_is_known(quantities: list[Line], message: str, expected: str) -> None:
    """Without a diagnosis: the message, the reason, or that there is none."""
    failed = record("deviates", "failed", score=None)
    failed["steps"][0] |= {"quantities": quantities, "message": message}
    (finding,) = report_of(run(failed)).unexpected
    assert finding.what == expected
    assert bool(finding.evidence) == bool(quantities)


def test_a_cell_in_two_run_files_is_refused() -> None:
    """Which of them counts is for a person to say."""
    with pytest.raises(UsageError, match=r"b\.jsonl: the cell .* is in a\.jsonl too"):
        report_of(run(record("exact"), name="a.jsonl"), run(record("exact"), name="b.jsonl"))


def test_runs_of_different_specs_are_refused() -> None:
    """Their verdicts do not mean the same."""
    with pytest.raises(UsageError, match="one report shows one spec"):
        report_of(
            run(record("exact"), name="a.jsonl"), run(record("exact", mode="compiled"), name="b.jsonl", spec="def")
        )


def test_several_runs_are_one_report() -> None:
    """Environments, cases and cells are joined."""
    report = report_of(
        run(record("exact"), name="a.jsonl"),
        run(record("conforms", of="a.two"), cases=(case("a.two"),), name="b.jsonl"),
    )
    assert (report.planned, report.judged, len(report.cases)) == (2, 2, 2)
    assert [each.id for each in report.environments] == ["torch (a.jsonl)", "torch (b.jsonl)"]


def test_a_report_without_runs_is_refused() -> None:
    """An empty page would look like a clean one."""
    with pytest.raises(UsageError, match="no run file"):
        report_of()

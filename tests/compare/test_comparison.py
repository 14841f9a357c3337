"""Comparing two runs: each kind of change is found, named, and a regression exactly where the policy says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.compare.cells import STANDS
from conformance.compare.comparison import compare
from conformance.compare.values import Comparison, FailOn, Kind, Policy
from conformance.errors import UsageError
from conformance.files.json_text import text_of
from conformance.publish.schemas import comparison_schema
from conformance.runfile.results import results_of
from conformance.verdict import Verdict
from tests.drawing import drawn
from tests.run_lines import FLAX, TORCH, environment_line, record_line, run_of, strict
from tests.run_pairs import DEVIATES, PAIRS
from tests.runs_with_reasons import run_with


def compared(name: str, *fail_on: FailOn, **policy: Any) -> Comparison:
    """Return the comparison of the pair of that name."""
    base, new = (results_of([run], partial=True) for run in PAIRS[name])
    return compare(base, new, Policy(fail_on=fail_on, **policy))


REGRESSIONS = {
    "conforms-deviates", "conforms-known-deviation", "conforms-refused", "conforms-crashed", "conforms-timed-out",
    "conforms-unsupported", "conforms-undecidable", "conforms-dialect", "deviates-crashed",
    "announced-refusal-deviates", "undecidable-deviates", "exact-data-lost", "grade-falls", "implementation-gone", "environment-not-started",
    "environment-not-built", "group-not-built", "nothing-left", "cell-gone", "letters-beyond-the-basic-plane",
    "dialect-conforms", "dialect-exact", "dialect-another-dialect", "dialect-another-value", "epsilon-moved",
}  # fmt: skip
#: Of these, those whose numbers agree before and after, by another convention.
MOVED = {
    "conforms-dialect", "dialect-conforms", "dialect-exact", "dialect-another-dialect", "dialect-another-value",
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_regression_is_what_the_policy_says(name: str) -> None:
    """And nothing else is."""
    assert compared(name).regression is (name in REGRESSIONS)


@pytest.mark.parametrize(
    ("name", "fail_on"),
    [
        ("drift", FailOn.DRIFT),
        ("drift-to-nan", FailOn.DRIFT),
        ("exact-conforms", FailOn.EXACTNESS),
        ("appeared", FailOn.APPEARED),
        ("unsupported-deviates", FailOn.APPEARED),
        ("narrowed", FailOn.VANISHED),
        ("case-gone", FailOn.VANISHED),
        ("environment-took-no-part", FailOn.VANISHED),
    ],
)
def test_what_else_may_fail_does_where_it_is_named(name: str, fail_on: FailOn) -> None:
    """And not where another is named."""
    assert compared(name, fail_on).regression
    others = [each for each in FailOn if each is not fail_on]
    assert not compared(name, *others).regression


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, Kind.WORSE) for name in sorted(REGRESSIONS - MOVED) if name.partition("-")[0] in {"conforms", "announced", "undecidable", "deviates"}),
        *((name, Kind.MOVED) for name in sorted(MOVED)),
        ("dialect-reworded", None),
        ("unsupported-deviates", Kind.OTHERWISE),
        ("refused-deviates", Kind.OTHERWISE),
        ("exact-data-lost", Kind.INEXACT),
        ("exact-conforms", Kind.INEXACT),
        ("conforms-exact", Kind.EXACT),
        ("drift", Kind.DRIFT),
        ("drift-from-nothing", Kind.DRIFT),
        ("drift-of-a-deviation", Kind.DRIFT),
        ("drift-to-nan", Kind.DRIFT),
        ("steadier", Kind.STEADIER),
        ("steadier-from-nan", Kind.STEADIER),
        ("deviates-conforms", Kind.BETTER),
        ("crashed-deviates", Kind.BETTER),
        ("unsupported-announced-refusal", Kind.OTHERWISE),
        ("known-unexpected", Kind.STATUS),
        ("diagnosed-otherwise", Kind.OTHERWISE),
        ("drift-below-the-factor", None),
        ("drift-below-the-floor", None),
        ("nothing", None),
        ("reworded", None),
    ],
)  # fmt: skip
def test_a_cell_that_changed_is_named_by_how(name: str, kind: Kind | None) -> None:
    """One change, of one cell; the others are as before."""
    found = compared(name)
    assert [change.kind for change in found.changes] == ([kind] if kind else [])
    assert found.compared - found.same == sum(len(change.cells) for change in found.changes) == (1 if kind else 0)


def test_a_change_tells_both_verdicts_the_diagnosis_and_the_scores() -> None:
    """Of the implementation, cell by cell."""
    (change,) = compared("conforms-deviates").changes
    (cell,) = change.cells
    assert change.implementation == TORCH
    assert (cell.base, cell.new) == (Verdict.CONFORMS, Verdict.DEVIATES)
    assert change.what == cell.what == "epsilon outside the root"
    assert (cell.case, cell.column) == ("a.one", f"{TORCH}-eager-cpu")
    assert (cell.base_score, cell.new_score, cell.factor) == (0.5, 12.5, None)
    assert (cell.base_status, cell.new_status) == ("agrees", "unexpected")


def test_what_was_wrong_is_told_where_it_no_longer_is() -> None:
    """The diagnosis is the old one."""
    assert compared("deviates-conforms").changes[0].what == "epsilon outside the root"


@pytest.mark.parametrize(
    ("name", "factor"),
    [("drift", 4.0), ("steadier", 0.25), ("drift-from-nothing", "Infinity"), ("drift-to-nan", "Infinity"), ("steadier-from-nan", 0.0)],
)  # fmt: skip
def test_a_drift_tells_its_factor(name: str, factor: float | str) -> None:
    """New over old; a score that is no number counts as infinite."""
    assert compared(name).changes[0].cells[0].factor == factor


def test_a_person_can_set_the_factor_and_the_floor() -> None:
    """Both ways."""
    assert compared("drift", drift_factor=4.5).changes == ()
    assert compared("drift", drift_floor=0.51).changes == ()
    assert compared("drift-below-the-factor", drift_factor=1.5).changes[0].kind is Kind.DRIFT
    assert compared("drift-below-the-floor", drift_floor=0.05).changes[0].kind is Kind.DRIFT


def test_cells_that_changed_alike_are_one_change_worst_cell_first() -> None:
    """And another diagnosis is another change."""
    base = run_of(*(record_line(of=f"a.{name}") for name in "abcd"))
    scores = {"a": 3.0, "b": "NaN", "c": 7.0}
    wrong = [
        {**DEVIATES, **record_line("deviates", score, of=f"a.{name}", diagnosis="one")}
        for name, score in scores.items()
    ]
    other = record_line("deviates", 99.0, of="a.d", diagnosis="two")
    found = compare(results_of([base]), results_of([run_of(other, *wrong)]))
    assert [(change.what, [cell.case for cell in change.cells]) for change in found.changes] == [
        ("one", ["a.b", "a.c", "a.a"]),
        ("two", ["a.d"]),
    ]


def test_regressions_come_first_and_the_worst_of_them_first() -> None:
    """Then what is told only, then what is better."""
    verdicts = [
        ("deviates", "conforms"), ("conforms", "deviates"), ("conforms", "refused"), ("conforms", "crashed"), ("conforms", "dialect"),
        ("exact", "conforms"), ("deviates", "crashed"), ("conforms", "exact"),
    ]  # fmt: skip
    base = run_of(*(record_line(old, of=f"a.{place}") for place, (old, _) in enumerate(verdicts)))
    new = run_of(*(record_line(new, of=f"a.{place}") for place, (_, new) in enumerate(verdicts)))
    found = compare(results_of([base]), results_of([new]))
    assert [[(cell.base, cell.new) for cell in change.cells] for change in found.changes] == [
        [("conforms", "crashed"), ("deviates", "crashed")], [("conforms", "deviates")], [("conforms", "refused")],
        [("conforms", "dialect")],
        [("exact", "conforms")], [("conforms", "exact")], [("deviates", "conforms")],
    ]  # fmt: skip


def test_a_grade_that_fell_names_the_case_that_set_it() -> None:
    """By column and dtype."""
    (grade,) = compared("grade-falls").grades
    assert (grade.column, grade.dtype) == (f"{TORCH}-eager-cpu", "float32")
    assert (grade.base, grade.new, grade.case, grade.regression) == ("D", "W", "stability.ratio-2-12", True)
    assert [each.regression for each in compared("grade-rises").grades] == [False]


def test_a_harder_rung_lowers_no_grade() -> None:
    """Grades are compared over the cells that both have."""
    assert compared("harder-rung-added").grades == ()


@pytest.mark.parametrize(
    ("name", "reason", "whole"),
    [
        ("implementation-gone", "", True),
        ("cell-gone", "", False),
        ("environment-took-no-part", "absent", True),
        ("environment-not-started", "failed", True),
        ("environment-not-built", "failed", True),
        ("group-not-built", "failed", True),
        ("narrowed", "narrowed", False),
        ("partial", "partial", False),
        ("another-tier", "tier", False),
        ("case-gone", "case", False),
    ],
)
def test_cells_that_vanished_have_a_reason(name: str, reason: str, whole: bool) -> None:
    """Or none, which is a regression."""
    (gone,) = compared(name).vanished
    assert (gone.reason, gone.whole, len(gone.cases)) == (reason, whole, 1)


@pytest.mark.parametrize("name", ["environment-not-started", "environment-not-built", "group-not-built"])
def test_an_environment_that_worked_and_fails_is_told_first(name: str) -> None:
    """A group that was not built stands for every environment of it."""
    change = compared(name).environments[0]
    assert (change.part, change.base, change.regression) == ("fault", "", True)
    assert change.environments == (("flax-x64",) if name == "group-not-built" else ("flax",))


def test_an_environment_that_failed_before_is_no_regression() -> None:
    """It is told when it works again."""
    base = PAIRS["environment-started-again"][0]
    assert [(each.part, each.new) for each in compared("environment-started-again").environments] == [("fault", "")]
    assert compare(results_of([base]), results_of([base])).environments == ()


def test_new_cells_are_counted_and_those_that_disagree_are_named() -> None:
    """By column."""
    (found,) = compared("appeared").appeared
    assert found.verdicts == {Verdict.CONFORMS: 1, Verdict.DEVIATES: 1}
    assert [(each.case, each.status) for each in found.disagreeing] == [("a.three", "unexpected")]


def test_a_case_that_is_defined_otherwise_is_named_and_not_compared() -> None:
    """Even where its verdict looks worse."""
    found = compared("redefined")
    assert (found.redefined, found.compared, found.changes) == (("a.one",), 1, ())
    assert (found.vanished, found.appeared) == ((), ())


def test_versions_and_settings_that_changed_are_told_once_for_all_environments() -> None:
    """What is absent is empty."""
    found = compared("versions-and-settings").environments
    assert [(each.part, each.name, each.base, each.new, each.environments) for each in found] == [
        ("versions", "numpy", "2.4.6", "2.5", ("flax", "torch")),
        ("versions", "torch", "2.13.0", "2.14.0", ("torch",)),
        ("settings", "oneDNN", "", "on", ("torch",)),
        ("settings", "threads", "1", "2", ("torch",)),
        ("process", "XLA_FLAGS", "", "x", ("flax",)),
        ("host", "system", "Linux", "", ("flax",)),
    ]


def test_two_runs_with_nothing_in_common_are_refused() -> None:
    """Silence would look like no regression."""
    base, new = run_of(record_line()), run_of(record_line(implementation=FLAX))
    with pytest.raises(UsageError, match="nothing to compare: of 1 and 1 cells none is of the same"):
        compare(results_of([base]), results_of([new]))


def test_a_run_against_itself_has_no_change() -> None:
    """All cells are as before."""
    for base, new in PAIRS.values():
        for run in (base, new):
            if run.records:
                results = results_of([run], partial=True)
                found = compare(results, results)
                assert (found.changes, found.grades, found.environments, found.vanished, found.appeared) == ((),) * 5
                assert found.same == found.compared == len(results.cells)


#: Some cells of a run: verdict and score, by the number of the case.
RECORDS = st.dictionaries(
    st.integers(0, 12),
    st.tuples(st.sampled_from([verdict.value for verdict in Verdict]), st.sampled_from([0.1, 0.15, 0.4, 5.0, "NaN"])),
    min_size=1,
)
#: What a change is the other way round. What could not be told before is no loss where it is wrong now.
REVERSED = {
    Kind.WORSE: {Kind.BETTER},
    Kind.BETTER: {Kind.WORSE, Kind.OTHERWISE},
    Kind.OTHERWISE: {Kind.OTHERWISE, Kind.BETTER},
    Kind.MOVED: {Kind.MOVED},
    Kind.STATUS: {Kind.STATUS},
    Kind.INEXACT: {Kind.EXACT},
    Kind.EXACT: {Kind.INEXACT},
    Kind.DRIFT: {Kind.STEADIER},
    Kind.STEADIER: {Kind.DRIFT},
}


def records(told: Mapping[int, tuple[str, Any]]) -> list[Any]:
    return [record_line(verdict, score, of=f"a.{number}") for number, (verdict, score) in told.items()]


def written(base: list[Any], new: list[Any]) -> str:
    return text_of(compare(results_of([run_of(*base)]), results_of([run_of(*new)])))


def kinds(found: Comparison) -> dict[str, Kind]:
    return {cell.case: cell.kind for change in found.changes for cell in change.cells}


@drawn(4)
@given(RECORDS, RECORDS)
def test_compared_the_other_way_round_the_same_cells_changed_the_other_way(base: Any, new: Any) -> None:
    base = {**base, 13: ("exact", 0.1)}
    new = {**new, 13: ("exact", 0.1)}
    one, other = (results_of([run_of(*records(side))]) for side in (base, new))
    there, back = compare(one, other), compare(other, one)
    assert kinds(there).keys() == kinds(back).keys()
    assert all(kinds(back)[cell] in REVERSED[kind] for cell, kind in kinds(there).items())
    assert {case for gone in there.vanished for case in gone.cases} == {f"a.{number}" for number in base.keys() - new}
    assert (there.same, there.compared) == (back.same, back.compared)


@drawn()
@given(RECORDS, RECORDS, st.randoms(use_true_random=False))
def test_the_order_of_the_records_changes_nothing(base: Any, new: Any, order: Any) -> None:
    """The same two runs are the same bytes."""
    sides = [records({**side, 13: ("exact", 0.1)}) for side in (base, new)]
    first = written(*sides)
    for side in sides:
        order.shuffle(side)
    assert written(*sides) == first


@pytest.mark.parametrize("name", PAIRS)
def test_the_document_obeys_its_schema(name: str) -> None:
    """In strict JSON."""
    jsonschema.Draft202012Validator(comparison_schema()).validate(strict(text_of(compared(name))))


def test_the_schema_refuses_what_is_no_comparison() -> None:
    """Another key, another kind."""
    document = strict(text_of(compared("conforms-deviates")))
    validator = jsonschema.Draft202012Validator(comparison_schema())
    assert not validator.is_valid({**document, "extra": 1})
    document["changes"][0]["kind"] = "splendid"
    assert not validator.is_valid(document)


def test_where_verdicts_stand_is_their_order_of_severity() -> None:
    """But that three of them stand alike."""
    assert [STANDS[verdict] for verdict in Verdict] == sorted(STANDS.values())
    assert set(STANDS) == set(Verdict)


def test_environments_of_one_name_in_several_runs_are_one() -> None:
    """With all the versions they had."""
    runs = [
        run_of(record_line(of=f"a.{name}"), environments=(environment_line(version=version),), name=f"{name}.jsonl")
        for name, version in (("a", "2.13.0"), ("b", "2.12.0"))
    ]
    newer = dataclasses.replace(
        runs[1], environments=run_of(environments=(environment_line(version="2.13.0"),)).environments
    )
    found = compare(results_of(runs), results_of([runs[0], newer]))
    assert [(each.name, each.base, each.new) for each in found.environments] == [("torch", "2.12.0 / 2.13.0", "2.13.0")]


def test_cells_that_refuse_alike_are_one_change_wherever_objects_lay_in_memory() -> None:
    """The place is another one in every process."""
    said = "TypeError: <function f at {}> takes no keyword"
    places = {"a.one": "0x7fb1bbc6a520", "a.two": "0x7faea1576520"}
    refused = [record_line("refused", None, of=name, diagnosis=said.format(at)) for name, at in places.items()]
    base, new = (results_of([each]) for each in (run_of(*map(conforming, places)), run_of(*refused)))
    (change,) = compare(base, new).changes
    assert change.what == "TypeError: <function f at 0x…> takes no keyword"


def conforming(name: str) -> dict[str, Any]:
    return record_line(of=name)


def test_one_change_of_a_framework_is_one_change_with_its_cells() -> None:
    """Whatever else a cell shows, what was listed, and what was wrong before; what no cause names stands by quantity."""
    named, unexplained = compared("epsilon-moved").changes
    assert (named.cause, named.what) == ("epsilon-outside-root", "epsilon outside the root")
    assert [cell.case for cell in named.cells] == ["a.f", "a.c", "a.b", "a.g", "a.h"]
    assert (unexplained.cause, unexplained.what) == ("unexplained", "output unexplained")
    assert [cell.case for cell in unexplained.cells] == ["a.e", "a.d"]


def test_of_a_change_only_the_cells_that_regressed_count_as_that() -> None:
    """One that deviated before shows the same cause, and is none."""
    (named, _) = compared("epsilon-moved").changes
    assert [cell.case for cell in named.cells if not cell.regression] == ["a.h"]
    assert (named.kind, named.regression) == (Kind.WORSE, True)


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("dialect-conforms", [("update", "zero_debiased", "")]),
        ("dialect-exact", [("update", "zero_debiased", "")]),
        ("dialect-another-dialect", [("moving_correction", "1", "")]),
        ("dialect-another-value", [("update", "zero_debiased", "first_batch")]),
        ("conforms-dialect", []),
    ],
)
def test_what_moved_names_the_fields_that_did(name: str, moved: list[tuple[str, str, str]]) -> None:
    """From what to what; empty is the canonical value."""
    (change,) = compared(name).changes
    assert [(field.field, field.base, field.new) for field in change.fields] == moved


def test_a_field_that_moved_in_all_cells_is_one_change() -> None:
    """Of cells in which another moved too, that other is told with it."""
    fields = {"a.one": ["update"], "a.two": ["moving_correction", "update"], "a.three": ["update"]}
    profile: dict[str, str | int | bool] = {"update": "zero_debiased", "moving_correction": 1}
    base = run_with(*((record_line("dialect", of=case), (), names) for case, names in fields.items()), profile=profile)
    new = run_of(*(record_line(of=case) for case in fields))
    (change,) = compare(results_of([base]), results_of([new])).changes
    assert len(change.cells) == 3
    assert change.what == "update: zero_debiased → canonical; moving_correction: 1 → canonical"


def test_results_that_tell_of_dialects_in_words_alone_move_all_the_same() -> None:
    """As those of the first format do."""
    base, new = (results_of([run]) for run in PAIRS["dialect-conforms"])
    (change,) = compare(dataclasses.replace(base, reasons=(), format=1), new).changes
    assert (change.kind, change.fields, change.what) == (Kind.MOVED, (), "output as documented: update")

"""What a regression check follows through the versions, and what it says of the environments."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from conformance.compare.comparison import compare
from conformance.compare.values import Comparison, FailOn, Policy
from conformance.regression.bisection import Answer, Found
from conformance.regression.checked import (
    Bisected,
    Checked,
    CheckedVersion,
    Step,
    answer,
    failures,
    followed,
    moved,
    restricted,
)
from conformance.regression.environments import Built, Unbuilt
from conformance.regression.pins import Released
from conformance.regression.summary import summary
from conformance.runfile.results import results_of
from tests.run_lines import environment_line, record_line, run_of
from tests.run_pairs import CONFORMS, DEVIATES, NOT_STARTED, OTHER_CELL, PAIRS

NOTHING = PAIRS["nothing"]
POLICY = Policy(fail_on=(FailOn.VANISHED,))


def comparison(name: str) -> Comparison:
    base, new = (results_of([run], partial=True) for run in PAIRS[name])
    return compare(base, new, POLICY)


def side(version: str, *, kept: str = "as pinned", pair: str = "nothing", **packages: str) -> CheckedVersion:
    """Return a side of one environment, with the head of a pair as what ran in it."""
    environment = Built(
        group="jax", python=Path("python"), kept=kept, versions={"flax": version, **packages}, seconds=1.0
    )
    return CheckedVersion(
        at=Released(version=Version(version)),
        environments=(environment,),
        file=Path("run.jsonl"),
        results=results_of([PAIRS[pair][1]], partial=True),
        seconds=1.0,
    )


def test_the_cases_that_regressed_are_followed_and_others_are_not() -> None:
    base = run_of(CONFORMS, record_line("deviates", 12.5, of="a.two"))
    new = run_of(DEVIATES, OTHER_CELL)
    assert followed(compare(results_of([base]), results_of([new]), POLICY)) == ("a.one",)


def test_where_nothing_regressed_the_cases_that_changed_are_followed() -> None:
    assert followed(comparison("deviates-conforms")) == ("a.one",)
    assert followed(comparison("drift")) == ()


def test_of_many_cases_of_one_finding_a_few_are_followed() -> None:
    names = [f"a.{number}" for number in range(50)]
    base = run_of(*(record_line(of=name) for name in names))
    new = run_of(*(record_line("deviates", 12.5, of=name) for name in names))
    assert len(followed(compare(results_of([base]), results_of([new]), POLICY))) == 8


@pytest.mark.parametrize("name", ["conforms-deviates", "implementation-gone", "grade-falls", "environment-not-built"])
def test_what_regressed_is_followed_by_some_case(name: str) -> None:
    assert followed(comparison(name))


@pytest.mark.parametrize(
    ("found", "sought", "told"),
    [
        ("nothing", "conforms-deviates", Answer.SAME),
        ("conforms-deviates", "conforms-crashed", Answer.CHANGED),
        ("deviates-conforms", "conforms-deviates", Answer.SAME),
        ("deviates-conforms", "deviates-conforms", Answer.CHANGED),
        ("drift", "deviates-conforms", Answer.SAME),
        ("environment-not-started", "conforms-deviates", Answer.UNTESTABLE),
        ("environment-not-started", "deviates-conforms", Answer.UNTESTABLE),
        ("environment-not-started", "environment-not-built", Answer.CHANGED),
    ],
)
def test_a_version_shows_what_is_sought_or_not_or_tells_nothing(found: str, sought: str, told: Answer) -> None:
    assert answer(comparison(found), comparison(sought)) is told


def test_a_run_restricted_to_some_cases_is_as_whole_as_if_it_had_been_asked_for_them() -> None:
    found = restricted(run_of(CONFORMS, OTHER_CELL), ["a.two"])
    assert [record.case for record in found.records] == ["a.two"]
    assert found.complete


def test_what_differs_between_the_environments_is_told_by_group() -> None:
    found = moved(side("0.12.0", jax="0.8.0", gone="1"), side("0.12.8", jax="0.10.2", new="2"))
    assert found == {
        "jax": {"flax": ("0.12.0", "0.12.8"), "gone": ("1", ""), "jax": ("0.8.0", "0.10.2"), "new": ("", "2")}
    }


def test_what_was_not_built_and_what_did_not_start_are_told_apart() -> None:
    run = run_of(CONFORMS, environments=(environment_line(), NOT_STARTED))
    unbuilt = Unbuilt(group="torch", log=Path("install.log"), reason="ERROR: No matching distribution")
    found = CheckedVersion(
        at=Released(version=Version("1")),
        environments=(unbuilt,),
        file=None,
        results=results_of([run]),
        seconds=0.0,
    )
    assert failures(found) == (
        "torch: not built: ERROR: No matching distribution",
        "flax: not started: ImportError: no jaxlib",
    )


def test_the_summary_says_what_else_moved_and_since_when() -> None:
    base, head = (
        side("1.0", jax="0.8.0"),
        side("1.3", jax="0.10.2", kept="as pinned or older", pair="conforms-deviates"),
    )
    middle = Step(side=side("1.1", jax="0.8.0"), answer=Answer.SAME, said="Nothing changed: 1 cell compared.")
    other = Released(version=Version("1.2"))
    found = Found(last=middle.side.at, first=head.at, untestable=(other,))
    bisected = Bisected(found=found, steps=(middle,), comparison=None)
    text = summary(
        Checked(package="flax", base=base, head=head, comparison=comparison("conforms-deviates"), bisected=bisected)
    )
    assert "also moved: <code>jax 0.8.0 → 0.10.2</code>" in text
    assert "other pins kept as pinned or older" in text
    assert "First changed in 1.3 or one of 1.2, which cannot be tested; 1.1 is as the base." in text
    assert "<code>epsilon outside the root</code>" in text


def test_a_summary_without_anything_else_that_moved_says_so() -> None:
    found = Checked(package="flax", base=side("1.0"), head=side("1.1"), comparison=comparison("nothing"))
    assert "nothing else differs" in summary(found)

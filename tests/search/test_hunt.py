"""A hunt finds a planted fault, makes it small without another taking its place, and tells one find of each cause."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.errors import Place
from conformance.search.bench import Bench
from conformance.search.cases import numbers_in
from conformance.search.exercised import Exercised
from conformance.search.finding import Shows, Suspicion, anywhere
from conformance.search.hunt import Effort, Find, Hunt
from conformance.search.written import family_of, reported, still_found, write_find
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.spec.divergences import Divergence, Listed, load_divergences
from conformance.spec.loader import load_clauses, load_file
from conformance.spec.locations import root, spec_folder
from tests.search.benches import PLANTED, bench
from tests.search.test_cases import drawn

TWICE = "planted.epsilon_twice"
CLAUSES = load_clauses(spec_folder() / "semantics.md")


@pytest.fixture(name="planted", scope="module")
def _planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("bench"), PLANTED, TWICE) as made:
        yield made


@pytest.fixture(name="found", scope="module")
def _found(planted: Bench) -> Find:
    return next(hunt(planted, shrinking=6.0).finds())


def hunt(planted: Bench, *, shrinking: float) -> Hunt:
    return Hunt(bench=planted, effort=Effort(examples=60, shrinking=shrinking), exercised=Exercised())


def test_a_planted_fault_is_found_by_its_name(found: Find) -> None:
    assert found.suspicion == Suspicion(TWICE, "epsilon-twice")
    assert found.examples <= 60


def test_a_find_is_small(found: Find) -> None:
    assert numbers_in(found.trial.cell.case) <= 16


def test_a_find_written_down_shows_the_same_again(found: Find, planted: Bench, tmp_path: Path) -> None:
    find = reported(found, planted)
    path, scripts = write_find(tmp_path, find)
    (located,) = load_file(path, CLAUSES)
    assert located.case.family == family_of(found.suspicion) == "found-planted-epsilon-twice-epsilon-twice"
    assert "epsilon twice" in located.case.title
    # The adapter uses a name that belongs to scripts.
    assert scripts == ()
    (unwritten,) = find.scripts
    assert "is not one at the top level of its files" in unwritten.why
    (again,) = planted.trials(located.case)
    assert found.suspicion in again.suspicions


def test_an_earlier_find_is_performed_by_its_own_implementation_alone(found: Find, planted: Bench) -> None:
    case = reported(found, planted).case
    assert list(still_found(case, planted)) == [found.suspicion]
    assert list(still_found(case, Other())) == []


class Other:
    """A bench of an implementation that found nothing."""

    operations, dtypes, implementations = ("batch_norm",), ("float32",), ("planted.healthy",)

    def trials(self, case: Case, only: str | None = None) -> list[Shows]:
        raise AssertionError(f"{case.id} performed by {only}")


def test_what_was_found_is_not_found_again(planted: Bench, found: Find) -> None:
    again = hunt(planted, shrinking=0.0)
    again.done.add(found.suspicion)
    assert found.suspicion not in [each.suspicion for each in again.finds()]


def test_what_is_listed_is_no_find(found: Find, planted: Bench) -> None:
    entry = Divergence.model_validate(
        {
            "implementations": [TWICE],
            "causes": ["epsilon-twice"],
            "cases": ["epsilon.*"],
            "witnesses": ["epsilon.tiny"],
            "versions": {},
            "reason": "Epsilon is added twice.",
            "diagnosis": "It was planted.",
        }
    )
    listed = anywhere([Listed(divergence=entry, place=Place(file="divergences.yaml"))])
    before = planted._entries[TWICE]
    planted._entries[TWICE] = listed
    (trial,) = planted.trials(found.trial.cell.case)
    planted._entries[TWICE] = before
    assert trial.suspicions == ()
    assert trial.known.wholly


def test_an_entry_that_says_only_that_something_is_wrong_says_nothing_of_drawn_cases() -> None:
    entry = Divergence.model_validate(
        {
            "implementations": [TWICE],
            "causes": ["unexplained"],
            "cases": ["epsilon.*"],
            "witnesses": ["epsilon.tiny"],
            "versions": {},
            "reason": "Something is wrong.",
            "diagnosis": "Nobody knows.",
        }
    )
    (listed,) = anywhere([Listed(divergence=entry, place=Place(file="divergences.yaml"))])
    assert listed.divergence.causes == ()


#: Faults in what must be refused and in whole numbers: what a hunt of one of them finds.
BEYOND = {
    "one_feature_broadcast": "wrong-size-taken",
    "further_features_left_out": "wrong-size-taken",
    "whole_statistics": "computed-in-integers",
}


@pytest.mark.parametrize("fault", BEYOND)
def test_a_fault_in_what_may_be_refused_shows_in_drawn_cases(fault: str, tmp_path: Path) -> None:
    """Those of some hundreds that have whole numbers or what does not fit."""
    asking = [
        case for case in drawn(800, "batch_norm", refusable=True) if "13.5" in case.clauses or "2.5" in case.clauses
    ]
    with bench(tmp_path, PLANTED, f"planted.{fault}") as made:
        causes = (suspicion.cause for case in asking for trial in made.trials(case) for suspicion in trial.suspicions)
        assert BEYOND[fault] in causes


@pytest.mark.search
@pytest.mark.parametrize("fault", BEYOND)
def test_a_fault_in_what_may_be_refused_is_found(fault: str, tmp_path: Path) -> None:
    with bench(tmp_path, PLANTED, f"planted.{fault}") as made:
        effort = Effort(examples=6_000, shrinking=0.0, seed=1_000)
        causes = (find.suspicion.cause for find in Hunt(bench=made, effort=effort, exercised=Exercised()).finds())
        assert BEYOND[fault] in causes


@pytest.mark.parametrize("examples", [200, pytest.param(8_000, marks=pytest.mark.search)])
def test_nothing_is_found_in_what_is_healthy(examples: int, tmp_path: Path) -> None:
    """Whole numbers and inputs that do not fit included; what is listed, the overflow of squares, is none."""
    listed = load_divergences(spec_folder() / "divergences.yaml", [], catalogue())
    adapter = f"{root() / 'adapters' / 'numpy' / 'batch_norm.py'}:ADAPTER"
    with bench(tmp_path, adapter, divergences=listed) as made:
        exercised = Exercised()
        found = list(Hunt(bench=made, effort=Effort(examples=examples, seed=7), exercised=exercised).finds())
    assert [str(find.suspicion) for find in found] == []
    assert exercised.counts["clause"]["2.5"] > 0


def test_a_hunt_ends_when_its_time_is_over(planted: Bench) -> None:
    times = iter(range(1000))
    ended = Hunt(
        bench=planted,
        effort=Effort(seconds=5.0, shrinking=0.0),
        exercised=Exercised(),
        clock=lambda: float(next(times)),
        done={Suspicion(TWICE, "epsilon-twice")},
    )
    list(ended.finds())
    assert ended.drawn < 10


def test_a_hunt_tells_what_it_exercised(planted: Bench) -> None:
    exercised = Exercised()
    searching = Hunt(
        bench=planted,
        effort=Effort(examples=20),
        exercised=exercised,
        done={Suspicion(TWICE, "epsilon-twice")},
    )
    list(searching.finds())
    assert exercised.cases >= 20
    assert exercised.counts["operation"] == {"batch_norm": exercised.cases}
    assert "22.1" in exercised.not_exercised({TWICE: []}, CLAUSES)["clauses"]

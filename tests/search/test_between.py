"""Two implementations are held against each other: what is within both bounds together is no difference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from conformance.search.bench import Bench
from conformance.search.between import Numbers, apart
from conformance.search.pair import DOCUMENTED, PairBench, PairTrial
from conformance.spec.divergences import Listed
from tests.cells import case
from tests.search.benches import FAULTS, PLANTED, bench

HEALTHY, TWICE, INVERTED = "planted.nothing", "planted.epsilon_twice", "planted.decay_inverted"


def numbers(*values: float, right: float = 1.0, bound: float = 0.25, excused: bool = False) -> Numbers:
    given = np.array(values)
    return Numbers(
        numbers=given,
        right=np.full_like(given, right),
        bound=np.full_like(given, bound),
        telling=np.full(given.shape, True),
        excused=np.full(given.shape, excused),
    )


def test_two_numbers_may_be_apart_by_both_bounds_together() -> None:
    assert apart(numbers(1.25), numbers(0.75)) == 1.0
    assert apart(numbers(1.375), numbers(0.625)) == 1.5


def test_two_that_are_wrong_in_the_same_way_do_not_differ() -> None:
    assert apart(numbers(7.0), numbers(7.0)) == 0.0


def test_one_beyond_its_own_bound_need_not_differ_from_the_other() -> None:
    assert apart(numbers(1.375), numbers(1.0)) == 0.75


def test_what_the_states_before_are_apart_is_no_difference_of_the_step() -> None:
    assert apart(numbers(1.0), numbers(3.0, right=3.0)) == 0.0
    assert apart(numbers(1.0), numbers(1.0, right=3.0)) == 4.0


def test_numbers_that_are_not_finite_are_alike_and_differ_from_every_other() -> None:
    assert apart(numbers(np.nan), numbers(np.inf)) == 0.0
    assert apart(numbers(np.nan), numbers(1.0)) == np.inf


def test_an_overflow_that_is_excused_is_no_difference() -> None:
    assert apart(numbers(np.inf, excused=True), numbers(1.0)) == 0.0
    assert apart(numbers(np.inf), numbers(1.0, excused=True)) == np.inf


def test_a_bound_that_tells_nothing_finds_nothing() -> None:
    vague = numbers(9.0)
    vague.telling[:] = False
    assert apart(vague, numbers(1.0)) == 0.0


VALUES = {"kind": "literal", "values": [[0.0, 1.0], [2.0, -1.0], [4.0, 0.5], [-1.0, 3.0]]}
STEPS = ({"step": "train", "input": VALUES, "upstream": VALUES}, {"step": "infer", "input": VALUES})
CASE = case(*STEPS, shape=[4, 2], feature_axes=[1], epsilon=0.25)


@pytest.fixture(name="planted", scope="module")
def _planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("bench"), PLANTED, HEALTHY, TWICE, INVERTED) as made:
        yield made


def trial(planted: Bench, one: str, other: str, *, every: bool = False) -> PairTrial:
    (found,) = PairBench(one=narrowed(planted, one), other=narrowed(planted, other), every=every).trials(CASE)
    return found


def narrowed(whole: Bench, name: str) -> Bench:
    selection = type(whole.selection)(implementations=(name,), modes=("eager",), devices=("cpu",))
    divergences: tuple[Listed, ...] = ()
    return Bench(offer=whole.offer, selection=selection, workers=whole.workers, divergences=divergences)


def test_a_fault_of_one_is_the_cause_of_the_difference(planted: Bench) -> None:
    (suspicion, *_) = trial(planted, HEALTHY, TWICE).suspicions
    assert (suspicion.implementation, suspicion.cause, suspicion.against) == (TWICE, "epsilon-twice", HEALTHY)


def test_the_fact_of_a_difference_names_both_and_the_quantity(planted: Bench) -> None:
    found = trial(planted, HEALTHY, TWICE)
    fact = found.fact(found.suspicions[0])
    assert fact.startswith(f"In step 1 (train), the output of {HEALTHY} and {TWICE} differ (")
    assert fact.endswith(f"times both bounds): {TWICE}: epsilon twice.")


def test_an_implementation_does_not_differ_from_itself_whatever_it_does_wrong(planted: Bench) -> None:
    found = trial(planted, TWICE, TWICE)
    assert found.suspicions == ()
    assert not found.one.judgement.expected


def test_only_the_step_that_differs_is_told_and_not_what_follows_from_its_state(planted: Bench) -> None:
    found = trial(planted, HEALTHY, INVERTED)
    assert {comparison.number for comparison in found.compared if comparison.differs} == {1}


def test_what_both_document_otherwise_is_a_find_only_if_every_difference_is(
    planted: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The library's documentation corrects the moving variance, and the layer does."""
    with bench(tmp_path_factory.mktemp("bench"), f"{FAULTS / 'translated.py'}:ADAPTER") as made:
        one, other = narrowed(made, "translated.Norm"), narrowed(planted, HEALTHY)
        (told,) = PairBench(one=one, other=other, every=False).trials(CASE)
        (found,) = PairBench(one=one, other=other, every=True).trials(CASE)
    assert DOCUMENTED not in {suspicion.cause for suspicion in told.suspicions}
    assert told.noted == (f"documented: translated.Norm against {HEALTHY}: {DOCUMENTED}, moving_correction",)
    assert {(suspicion.cause, suspicion.parameters) for suspicion in found.suspicions} == {
        (DOCUMENTED, ("moving_correction",))
    }

"""Errors that a layer raises: documented or not, and whose mistake they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.cause import text_of
from conformance.outcome import Produced, Refused
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.verdict import Verdict
from tests.cells import INFER, SGD, TRAIN, case, declared
from tests.exact_layer import ExactLayer, outcomes, produced
from tests.judging.right_and_wrong import found, input_of, judged, next_up, upstream_of, without_state
from tests.told import reason


def refused(state: Any, *types: str) -> Refused:
    return Refused(types=types or ("ValueError", "Exception"), message="no", trace="", state=state, seconds=0.0)


def test_a_refusal_that_the_profile_documents_is_expected() -> None:
    made = case({**TRAIN, "shape": [1, 3]}, TRAIN)
    start, _, last = _from_the_start(made)
    profile = (declared("single_value", "error", error="ValueError"),)
    judgement = judged(made, [start, refused(start.state), last], profile=profile)
    assert [step.verdict for step in judgement.steps] == [Verdict.EXACT, Verdict.REFUSED, Verdict.CONFORMS]
    assert (judgement.verdict, judgement.expected) == (Verdict.REFUSED, True)


def _from_the_start(made: Case) -> tuple[Produced, Produced, Produced]:
    """The outcomes of two steps, the second from the initial state, as after a refused first."""
    layer = ExactLayer(case=made)
    start, first, _ = outcomes(layer)
    layer.start(start.state)
    upstream = upstream_of(made, 1)
    results = layer.train(input_of(made, 1), upstream)
    return start, first, produced(results, layer.state)


def test_an_expected_refusal_may_be_a_subclass_of_the_documented_error() -> None:
    made = case({**TRAIN, "shape": [0, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    profile = (declared("empty_batch", "error", error="ValueError"),)
    judgement = judged(made, [start, refused(start.state, "OwnError", "ValueError", "Exception")], profile=profile)
    assert judgement.expected


@pytest.mark.parametrize(
    ("shape", "profile"),
    [
        ([1, 3], ()),
        ([1, 3], (declared("single_value", "error", error="RuntimeError"),)),
        ([1, 3], (declared("empty_batch", "error", error="ValueError"),)),
        ([8, 3], (declared("single_value", "error", error="ValueError"),)),
    ],
)
def test_any_other_refusal_is_unexpected(shape: list[int], profile: Any) -> None:
    made = case({**TRAIN, "shape": shape})
    start = outcomes(ExactLayer(case=made))[0]
    judgement = judged(made, [start, refused(start.state)], profile=profile)
    assert (judgement.verdict, judgement.expected) == (Verdict.REFUSED, False)


def mistaken(state: Any) -> Refused:
    """Return what an adapter gives that calls something that there is not."""
    return replace(refused(state, "AttributeError"), mistake="torch/_native.py, line 7, in tensor")


def test_an_adapter_s_own_mistake_is_told_as_that() -> None:
    made = case(TRAIN)
    start = outcomes(ExactLayer(case=made))[0]
    judgement = judged(made, [start, mistaken(start.state)])
    (failure,) = judgement.failures
    assert text_of([failure], catalogue()) == "the adapter's own mistake: AttributeError in tensor of torch/_native.py"
    own = "the adapter's own mistake, torch/_native.py, line 7, in tensor: AttributeError: no"
    assert judgement.steps[1].message == own
    assert not judgement.expected


def test_a_refusal_is_told_as_the_library_s() -> None:
    made = case(TRAIN)
    start = outcomes(ExactLayer(case=made))[0]
    judgement = judged(made, [start, refused(start.state, "AttributeError")])
    assert [failure.id for failure in judgement.failures] == ["raises"]
    assert judgement.steps[1].message == "AttributeError: no"


def test_after_a_refusal_what_the_adapter_lacks_is_no_mistake_of_its_own() -> None:
    made = case(TRAIN, SGD)
    start = outcomes(ExactLayer(case=made))[0]
    judgement = judged(made, [start, refused(start.state), mistaken(start.state)])
    assert [failure.id for failure in judgement.failures] == ["raises", "raises"]


def test_a_documented_refusal_is_one_wherever_it_was_raised() -> None:
    """The adapter's file may hold the layer."""
    made = case({**TRAIN, "shape": [0, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    profile = (declared("empty_batch", "error", error="AttributeError"),)
    judgement = judged(made, [start, mistaken(start.state)], profile=profile)
    assert (judgement.expected, judgement.steps[1].message) == (True, "AttributeError: no (documented: a page)")


def test_no_features_are_no_empty_batch() -> None:
    """An error that is documented for a batch without values excuses none for an input without features."""
    made = case(TRAIN, shape=[8, 0])
    start = produced({}, inputs_of(made).initial)
    profile = (declared("empty_batch", "error", error="ValueError"),)
    assert not judged(made, [start, refused(start.state)], profile=profile).expected


def test_a_refusal_in_inference_is_never_expected() -> None:
    made = case({**INFER, "shape": [1, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    profile = (declared("single_value", "error", error="ValueError"),)
    assert not judged(made, [start, refused(start.state)], profile=profile).expected


def test_state_changed_by_a_refused_step_deviates_though_the_refusal_is_documented() -> None:
    made = case({**TRAIN, "shape": [1, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    changed = {**start.state, "moving_mean": next_up(start.state["moving_mean"])}
    profile = (declared("single_value", "error", error="ValueError"),)
    judgement = judged(made, [start, refused(changed)], profile=profile)
    assert (judgement.verdict, judgement.expected) == (Verdict.DEVIATES, False)
    assert reason(found(judgement, 1, "moving_mean")) == "changed by a step that was refused"


def test_a_documented_refusal_whose_state_cannot_be_read_is_not_expected() -> None:
    """Nobody can tell whether it left the state as it was."""
    made = case({**TRAIN, "shape": [1, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    profile = (declared("single_value", "error", error="ValueError"),)
    judgement = judged(made, [start, refused(None)], profile=profile)
    assert (judgement.verdict, judgement.expected) == (Verdict.REFUSED, False)


def test_a_refused_inference_from_the_caller_s_state_changes_nothing_of_its_own() -> None:
    """The state that an inference is given follows the train step before it; refusing leaves it with its caller."""
    made = case(TRAIN, INFER)
    given = outcomes(ExactLayer(case=made))
    handed = refused(given[1].state)
    judgement = judged(made, [*without_state(given[:2]), handed], profile=(declared("state", "caller"),))
    assert judgement.steps[2].verdict is Verdict.REFUSED


def test_a_refused_start_is_unexpected() -> None:
    judgement = judged(case(TRAIN), [refused(None)])
    assert (judgement.verdict, judgement.expected, judgement.steps[0].kind) == (Verdict.REFUSED, False, "start")


def test_running_where_an_error_is_documented_conforms() -> None:
    profile = (declared("single_value", "error", error="ValueError"),)
    assert judged(case({**TRAIN, "shape": [1, 3]}), profile=profile).verdict in (Verdict.EXACT, Verdict.CONFORMS)

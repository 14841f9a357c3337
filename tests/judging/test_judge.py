"""From outcomes to verdicts: the outcomes are made here, by a layer in extended precision that is right or wrong in one way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.judging.judge import judge
from conformance.outcome import Crashed, Outcome, TimedOut, Unsupported
from conformance.reference.expected import References
from conformance.verdict import Verdict
from tests.cells import DYADIC, FREEZE, INFER, RELOAD, SGD, TRAIN, UPSTREAM, case, cell
from tests.exact_layer import ExactLayer, altered, outcomes
from tests.judging.right_and_wrong import UNFREEZE, found, judged, next_up

INFER_WITH_GRADIENT = {**INFER, "upstream": UPSTREAM}


def test_a_right_layer_conforms_in_every_step() -> None:
    made = case(TRAIN, INFER, RELOAD, TRAIN, SGD, INFER_WITH_GRADIENT, FREEZE, UNFREEZE, TRAIN)
    judgement = judged(made)
    assert (judgement.verdict, judgement.expected) == (Verdict.CONFORMS, True)
    assert [step.kind for step in judgement.steps][:4] == ["start", "train", "infer", "reload"]


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": [4, 3, 5], "feature_axes": [1]},
        {"shape": [3, 16], "feature_axes": [0]},
        {"shape": [4, 2, 3, 5], "feature_axes": [-1, 1]},
        {"scale": False},
        {"center": False},
        {"dtype": "float64"},
        {"dtype": "float16"},
        {"dtype": "bfloat16", "parameter_dtype": "float32"},
        {"decay": 0.0},
        {"decay": 1.0},
    ],
)
def test_a_right_layer_conforms_in_every_configuration(fields: dict[str, Any]) -> None:
    assert judged(case(TRAIN, INFER_WITH_GRADIENT, SGD, **fields)).verdict in (Verdict.EXACT, Verdict.CONFORMS)


def test_dyadic_data_are_exact() -> None:
    judgement = judged(case(DYADIC, shape=[16, 3], epsilon=0.25, decay=0.75))
    assert judgement.verdict is Verdict.EXACT


def test_one_unit_in_the_last_place_is_not_exact() -> None:
    made = case(DYADIC, shape=[16, 3], epsilon=0.25, decay=0.75)
    assert judged(made, altered(outcomes(ExactLayer(case=made)), 1, "output", next_up)).verdict is Verdict.CONFORMS


@pytest.mark.parametrize(
    ("mode", "compilations", "verdict"),
    [
        ("compiled", 0, Verdict.NOT_DECIDABLE),
        ("xla", 0, Verdict.NOT_DECIDABLE),
        ("compiled", 1, Verdict.CONFORMS),
        ("eager", 0, Verdict.CONFORMS),
        ("compiled", None, Verdict.NOT_DECIDABLE),
    ],
)
def test_a_compiled_mode_proves_that_it_compiled(mode: str, compilations: int | None, verdict: Verdict) -> None:
    made = case(TRAIN)
    given = [replace(each, compilations=compilations) for each in outcomes(ExactLayer(case=made))]
    judgement = judged(made, given, mode)
    assert judgement.verdict is verdict
    assert judgement.expected


def test_wrong_numbers_deviate_though_nothing_was_compiled() -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output + 1)
    given[1] = replace(given[1], compilations=0)
    assert judged(made, given, "compiled").verdict is Verdict.DEVIATES


@pytest.mark.parametrize(
    ("outcome", "verdict", "expected"),
    [
        (Crashed(how="killed by SIGSEGV", recurs=True, before=(), output=""), Verdict.CRASHED, False),
        (TimedOut(limit=5.0, output=""), Verdict.TIMED_OUT, False),
    ],
)
def test_a_process_that_does_not_answer_is_the_verdict_of_its_step(
    outcome: Outcome, verdict: Verdict, expected: bool
) -> None:
    made = case(TRAIN, INFER)
    judgement = judged(made, [*outcomes(ExactLayer(case=made))[:2], outcome])
    assert (judgement.verdict, judgement.expected, judgement.steps[2].kind) == (verdict, expected, "infer")
    assert judgement.steps[1].verdict is Verdict.CONFORMS


def test_a_crash_that_does_not_recur_names_the_cells_before_it() -> None:
    crash = Crashed(how="killed by SIGABRT", recurs=False, before=("a::b", "c::d"), output="last words")
    (step,) = judged(case(TRAIN), [crash]).steps
    assert step.message == "killed by SIGABRT (not when alone, after a::b, c::d); its output ends: last words"


def test_what_is_unsupported_is_expected() -> None:
    judgement = judged(case(TRAIN), [Unsupported(reason="has no such axis")])
    assert (judgement.verdict, judgement.expected) == (Verdict.UNSUPPORTED, True)
    assert judgement.steps[0].message == "has no such axis"


def test_a_cell_is_as_bad_as_its_worst_step() -> None:
    made = case(TRAIN, INFER, TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 2, "output", lambda output: output + 1))
    assert [step.verdict for step in judgement.steps[1:]] == [Verdict.CONFORMS, Verdict.DEVIATES, Verdict.CONFORMS]
    assert (judgement.verdict, judgement.expected) == (Verdict.DEVIATES, False)


def test_a_passing_quantity_records_its_score() -> None:
    score = found(judged(case(TRAIN)), 1, "output").score
    assert score is not None
    assert 0 < score < 1


def test_the_same_outcomes_are_judged_alike_with_remembered_references() -> None:
    made, references = case(TRAIN, INFER), References()
    given = outcomes(ExactLayer(case=made))
    first, second = (judge(cell(made), given, references) for _ in range(2))
    assert first == second

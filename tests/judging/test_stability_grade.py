"""Grade O is taken from the cause of a deviation, alone or among alternatives; any other deviation has grade F."""

from __future__ import annotations

import pytest

from conformance.cause import because
from conformance.judging.judgement import Judged, StepJudgement
from conformance.judging.stability_grade import grade_of
from conformance.verdict import Verdict


@pytest.mark.parametrize(
    ("ids", "grade"),
    [
        (["one-pass-variance"], "O"),
        (["tail-dropped", "one-pass-variance"], "O"),
        (["one-pass-variance", "tail-dropped"], "O"),
        (["tail-dropped"], "F"),
        ([], "F"),
    ],
)
def test_the_grade_of_a_deviation_is_that_of_its_causes(ids: list[str], grade: str) -> None:
    judged = Judged(quantity="output", verdict=Verdict.DEVIATES, causes=tuple(because(id_) for id_ in ids))
    step = StepJudgement(number=1, kind="train", verdict=Verdict.DEVIATES, expected=False, quantities=(judged,))
    assert grade_of([step]) == grade

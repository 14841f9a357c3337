"""Two sides compared by pairs of fresh processes, which a function stands for here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import jsonschema
import numpy as np
import pytest

pytest.importorskip("scipy")

from conformance.errors import UsageError
from conformance.files.json_text import text_of
from conformance.publish.schemas import speed_schema
from conformance.throughput.comparing import CONFIRMING, PAIRS, Pace, Speed, findings
from conformance.throughput.pairing import Reading, TimedSide, Visit, compared, paired
from conformance.throughput.subject import Subject
from conformance.throughput.telling import speed_text
from tests.cells import case, cell

NAMES = ("quick", "steady", "slow")


def side(*names: str) -> TimedSide:
    subject = Subject(cell=cell(case()), name="train")
    return TimedSide(interpreters={}, subjects=dict.fromkeys(names or NAMES, subject))


BASE, NEW = side(), side()


def visiting(asked: list[tuple[TimedSide, tuple[str, ...]]], factors: Mapping[str, float], **scores: float) -> Visit:
    """Return what stands for processes: of the new side, those factors and scores; 1 % of noise."""
    rng = np.random.default_rng(1)

    def visit(one: TimedSide, names: Sequence[str]) -> Mapping[str, Reading]:
        asked.append((one, tuple(names)))
        return {
            name: Reading(
                seconds=float((factors.get(name, 1.0) if one is NEW else 1.0) * np.exp(0.01 * rng.standard_normal())),
                score=scores.get(name, 0.2) if one is NEW else 0.2,
            )
            for name in names
        }

    return visit


def test_all_are_screened_and_what_is_flagged_is_confirmed_by_fresh_pairs() -> None:
    asked: list[tuple[TimedSide, tuple[str, ...]]] = []
    found = {each.subject: each for each in compared(BASE, NEW, visiting(asked, {"slow": 1.1, "quick": 0.8}))}
    assert {name: each.pace for name, each in found.items() if name != "steady"} == {
        "slow": Pace.SLOWER,
        "quick": Pace.FASTER,
    }
    assert found["steady"].pace is Pace.SAME
    assert [names for _, names in asked[: 2 * PAIRS]] == [NAMES] * (2 * PAIRS)
    assert len(asked) == 2 * PAIRS + 2 * CONFIRMING
    assert found["slow"].pairs == CONFIRMING


def test_sides_take_turns_in_going_first() -> None:
    asked: list[tuple[TimedSide, tuple[str, ...]]] = []
    paired(BASE, NEW, NAMES, 3, visiting(asked, {}))
    assert [one is BASE for one, _ in asked] == [True, False, False, True, True, False]


def test_a_subject_that_one_process_could_not_measure_has_no_pairs() -> None:
    plain = visiting([], {})

    def visit(one: TimedSide, names: Sequence[str]) -> Mapping[str, Reading]:
        found = dict(plain(one, names))
        if one is NEW:
            del found["slow"]
        return found

    assert set(paired(BASE, NEW, NAMES, 2, visit)) == {"quick", "steady"}


def wandering(before: Sequence[float], after: Sequence[float]) -> Visit:
    """Return what stands for processes whose errors are those, one pair after another."""
    left = {id(BASE): iter(before), id(NEW): iter(after)}
    return lambda one, names: {name: Reading(seconds=1.0, score=next(left[id(one)])) for name in names}


@pytest.mark.parametrize(
    ("before", "after", "grew"),
    [
        ([0.03, 0.16, 0.04, 0.15, 0.03], [0.16, 0.03, 0.15, 0.04, 0.16], False),  # ends high by chance
        ([0.03, 0.05, 0.04, 0.05, 0.03], [0.16, 0.12, 0.15, 0.14, 0.13], True),
        ([0.1] * PAIRS, [float("nan")] * PAIRS, True),
        ([float("inf")] * PAIRS, [float("nan")] * PAIRS, False),
    ],
)
def test_an_error_grew_where_the_least_of_it_is_beyond_the_most_before(
    before: Sequence[float], after: Sequence[float], grew: bool
) -> None:
    pairs = paired(BASE, NEW, ["quick"], PAIRS, wandering(before, after))
    found = findings(pairs, {})
    assert [each.grew for each in found] == [grew]
    jsonschema.validate(json.loads(text_of(Speed(findings=found))), speed_schema())


def test_nothing_in_common_is_the_user_s_mistake() -> None:
    with pytest.raises(UsageError, match="no timed pass is of both"):
        compared(side("a"), side("b"), visiting([], {}))


def test_faster_with_a_grown_error_is_one_line_and_comes_first() -> None:
    speed = Speed(findings=compared(BASE, NEW, visiting([], {"quick": 0.8, "slow": 1.1}, quick=0.6)))
    lines = speed_text(speed, marked=False).splitlines()
    assert lines[0] == "3 timed passes: 1 slower, 1 faster, 1 the same, 0 cannot tell; 1 with an error that grew"
    assert sum("quick" in line for line in lines) == 1
    assert any(line.startswith("  faster, but its error grew 3.0 times, to 0.6 of its bound: quick") for line in lines)
    assert lines[-1].startswith("  the same: steady")
    assert speed.regression
    assert "| <code>quick</code> |" in speed_text(speed, marked=True)


def test_the_json_keeps_its_schema() -> None:
    speed = Speed(findings=compared(BASE, NEW, visiting([], {"slow": 1.1})))
    jsonschema.validate(json.loads(text_of(speed)), speed_schema())

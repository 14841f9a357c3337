"""The spread of scores, the ladder, and how pairs of implementations differ."""

from __future__ import annotations

import math

import pytest

from conformance.report.pairs import Pair, Pairs, pairs
from conformance.report.scores import HIGHEST, LOWEST, Scores, drawn, scores
from conformance.report.seconds import Timed, timed
from conformance.runfile.gathering import observed
from tests.report_lines import Line, case, record, run
from tests.run_lines import FLAX, KERAS, TORCH, environment_line, record_line

BOTH = (environment_line(TORCH), environment_line(FLAX), environment_line(KERAS))


def scores_of(*records: Line, cases: tuple[Line, ...] = ()) -> tuple[Scores, ...]:
    made = run(*records, cases=cases, environments=BOTH)
    seen = observed([made])
    return scores(seen.columns, seen.cells)


def pairs_of(*records: Line) -> tuple[Pairs, ...]:
    made = run(*records, environments=BOTH)
    seen = observed([made])
    return pairs(seen.columns, seen.cells)


def timed_of(*records: Line) -> tuple[Timed, ...]:
    made = run(*records, environments=BOTH)
    seen = observed([made])
    return timed(seen.columns, seen.step_seconds)


def test_the_spread_is_of_judged_cells_with_a_score() -> None:
    """Four scores: the median is the second, nine tenths the last, and one is above the limit."""
    values = [0.5, 0.25, "Infinity", 0.75]
    records = [record("conforms", of=f"a.{number}", score=score) for number, score in enumerate(values)]
    (found,) = scores_of(
        *records,
        record("unsupported", "skipped", of="a.9", score=0.1),
        record("crashed", "failed", of="a.8", score=None),
    )
    (spread,) = found.spreads
    assert (spread.cells, spread.median, spread.ninetieth, spread.largest, spread.beyond) == (
        4,
        0.5,
        math.inf,
        math.inf,
        1,
    )


def test_a_share_is_that_of_the_cells_at_or_below_a_score() -> None:
    """From none before the least to all at the largest."""
    records = [
        record("conforms", of=f"a.{number}", score=score) for number, score in enumerate([1.0, 0.01, 100.0, 1.0])
    ]
    (found,) = scores_of(*records)
    assert found.shares[0].points == ((-2.0, 0.0), (-2.0, 0.25), (0.0, 0.5), (0.0, 0.75), (2.0, 1.0))


@pytest.mark.parametrize(
    ("score", "at"), [(0.0, LOWEST), (1e-9, LOWEST), (1.0, 0.0), (1e30, HIGHEST), (math.inf, HIGHEST)]
)
def test_a_score_beyond_the_chart_is_drawn_at_its_edge(score: float, at: float) -> None:
    assert drawn(score) == at


def test_the_ladder_takes_the_worst_of_modes_and_cases_on_a_rung() -> None:
    """By dtype and ratio, whatever its sign, and from graded cells alone."""

    def rung(name: str, ratio: float, dtype: str = "float32") -> Line:
        steps = [{"step": "train", "input": {"kind": "ill_conditioned", "ratio": each}} for each in (ratio / 2, -ratio)]
        return case(name, dtype=dtype, steps=steps)

    cases = (
        rung("a.low", 16.0),
        rung("a.high", 256.0),
        rung("a.twin", 256.0),
        rung("a.half", 4.0, "float16"),
        case("a.flat"),
    )
    records = [
        record("conforms", of="a.low", score=0.1, grade="A"),
        record("conforms", of="a.high", score=1.0, grade="A"),
        record("deviates", "failed", of="a.high", mode="compiled", score=10.0, grade="O"),
        record("conforms", of="a.twin", score=1e5),
        record("conforms", of="a.half", score=0.01, grade="A"),
        record("conforms", of="a.flat", score=1e5, grade="A"),
    ]
    (found,) = scores_of(*records, cases=cases)
    assert {dtype: curves[0].points for dtype, curves in found.ladders.items()} == {
        "float32": ((4.0, -1.0), (8.0, 1.0)),
        "float16": ((2.0, -2.0),),
    }
    worst = max(found.rungs, key=lambda each: each.score)
    assert worst.cell == f"a.high::{TORCH}-compiled-cpu"


def test_a_pair_differs_where_verdicts_differ_in_kind() -> None:
    """Of three common cases: exact and conforms alike, dialect apart and no disagreement, deviating both."""
    records = []
    for name, one, two in (
        ("a.x", "exact", "conforms"),
        ("a.y", "dialect", "conforms"),
        ("a.z", "deviates", "conforms"),
    ):
        records += [record(one, of=name), record_line(two, of=name, implementation=FLAX)]
    (found,) = pairs_of(*records, record("exact", of="a.alone"), record("unsupported", "skipped", of="a.w"))
    assert found.implementations == (TORCH, FLAX)
    assert found.of(FLAX, TORCH) == Pair(both=3, apart=2, disagreeing=1)


def test_of_many_each_pair_stands_once() -> None:
    """Three that give three kinds of verdict on one case, in whatever order they are asked for."""
    names = (TORCH, FLAX, KERAS)
    records = [
        record_line(verdict, implementation=name)
        for name, verdict in zip(names, ("exact", "dialect", "deviates"), strict=True)
    ]
    (found,) = pairs_of(*records)
    assert [pair.disagreeing for pair in found.pairs] == [0, 1, 1]
    assert [found.of(names[2], other).disagreeing for other in names[:2]] == [1, 1]
    assert found.of(names[1], names[0]).apart == 1


def test_an_implementation_is_as_good_as_its_worst_mode() -> None:
    records = [
        record("exact"),
        record("deviates", "failed", mode="compiled"),
        record_line("exact", implementation=FLAX),
    ]
    (found,) = pairs_of(*records)
    assert found.of(TORCH, FLAX) == Pair(both=1, apart=1, disagreeing=1)


def test_two_without_a_common_case_have_none_that_differs() -> None:
    (found,) = pairs_of(record("exact"), record_line("exact", of="a.two", implementation=FLAX))
    assert found.of(TORCH, FLAX) == Pair(both=0, apart=0, disagreeing=0)


def test_seconds_are_those_of_the_steps_by_kind() -> None:
    """Of three inferences: the least, the middle one, the largest; a step without seconds counts for nothing."""
    records = []
    for number, seconds in enumerate([0.5, 0.1, 2.0, None]):
        step = {"number": 1, "kind": "infer", "verdict": "exact", "expected": True, "quantities": []}
        records.append(
            record("exact", of=f"a.{number}", steps=[step if seconds is None else {**step, "seconds": seconds}])
        )
    (found,) = timed_of(*records)
    took = found.took["infer"]
    assert (took.count, took.least, took.middle, took.largest) == (3, 0.1, 0.5, 2.0)
    assert list(found.took) == ["infer"]

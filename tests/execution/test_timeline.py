"""Who was at work when: the parts of a run, in percent, of each process."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.execution.execute import execute
from conformance.execution.pool import Limits, Workers
from conformance.execution.time_profile import Stages
from conformance.execution.timeline import PARTS, Lane, Span, drawn
from tests.fake_cells import row

WALL: Span = (100.0, 100.0 + PARTS)  # a part is one second


def lane(**fields: object) -> Lane:
    return Lane(**{"name": "torch", "began": 100.0, **fields})  # type: ignore[arg-type]  # any field of a lane


def test_a_part_says_how_much_of_it_a_process_was_at_work() -> None:
    worked = lane(calls=[(101.25, 103.0, 1.0)], imports=[(104.0, 104.5, 0.5)])
    (shown,) = drawn(WALL, [worked], []).lanes
    assert shown.parts[:6] == (0, 75, 100, 0, 50, 0)
    assert not any(shown.parts[6:])


def test_what_overlaps_is_counted_once_and_what_lies_outside_not_at_all() -> None:
    worked = lane(calls=[(90.0, 100.5, 1.0), (100.0, 100.5, 1.0), (100.25, 101.0, 1.0)])
    assert drawn(WALL, [worked], []).lanes[0].parts[:2] == (100, 0)


def test_a_process_waits_while_it_lives_and_does_nothing() -> None:
    worked = lane(began=110.0, ended=120.0, calls=[(112.0, 116.0, 4.0)], imports=[(110.0, 112.0, 2.0)])
    assert drawn(WALL, [worked], []).lanes[0].waiting == 4.0


def test_one_that_still_lives_ends_with_the_run() -> None:
    assert drawn(WALL, [lane(began=110.0)], []).lanes[0].ended == float(PARTS)


def test_the_cores_kept_busy_are_the_processor_s_time_by_the_clock_s() -> None:
    both = [lane(calls=[(100.0, 300.0, 150.0)]), lane(calls=[(100.0, 300.0, 190.0)], imports=[(100.0, 101.0, 10.0)])]
    assert drawn(WALL, both, []).busy == 350.0 / PARTS


def test_this_process_is_busy_in_its_own_spans() -> None:
    assert drawn(WALL, [], [(100.0, 101.5)]).own[:3] == (100, 50, 0)


def test_a_run_of_no_time_has_nothing_in_it() -> None:
    timeline = drawn((5.0, 5.0), [lane()], [])
    assert (timeline.busy, set(timeline.own)) == (0.0, {0})


def test_the_text_shows_seconds_by_process_and_when() -> None:
    worked = lane(calls=[(100.0, 200.0, 90.0)], cells=7, compiling=12.34)
    text = str(drawn(WALL, [worked], []))
    (row_text,) = [line for line in text.splitlines() if line.startswith("torch")]
    assert row_text.split()[1:6] == ["7", "100.0", "12.3", "0.0", "100.0"]
    assert row_text.endswith("█" * 25 + " " * 25)
    assert text.endswith("kept busy: 0.45")


def test_every_process_of_a_run_has_a_lane_with_its_cells(tmp_path: Path) -> None:
    stages = Stages()
    with Workers(1, tmp_path, Limits(start=20.0, cell=5.0), stages) as workers:
        performed = list(execute(row("sleeps", 3, fatal=-1), workers))
        assert [shown.cells for shown in stages.timeline().lanes] == [len(performed)]
    (shown,) = stages.timeline().lanes
    assert shown.calls == pytest.approx(0.6, abs=0.2)
    assert shown.ended < stages.timeline().seconds + 0.1
    assert shown.compiling is None


def test_what_a_library_tells_of_compiling_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYING_COMPILES", "0.25")
    with Workers(1, tmp_path, Limits(start=20.0, cell=5.0)) as workers:
        list(execute(row("computes", 3, fatal=-1), workers))
        (shown,) = workers.stages.timeline().lanes
    assert shown.compiling == pytest.approx(0.75)

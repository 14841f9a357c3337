"""The wall time of a run, in parts that add up to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.execution.execute import execute
from conformance.execution.pool import Limits, Workers
from conformance.execution.time_profile import REST, Stages, partition
from tests.fake_cells import row

WALL = (100.0, 110.0)


def ticking(*moments: float) -> Stages:
    """Stages by a clock that shows those moments, one after another."""
    left: Iterator[float] = iter(moments)
    return Stages(lambda: next(left))


def test_a_stage_within_another_is_not_the_other_s() -> None:
    stages = ticking(0.0, 1.0, 3.0, 4.0, 8.0, 8.0)
    with stages.at("outer"), stages.at("inner"):
        pass
    found = stages.profile()
    assert found.whole == {REST: 1.0 + 0.0, "outer": 2.0 + 4.0, "inner": 1.0}
    assert found.wall == 8.0


def test_a_stage_that_fails_ends_all_the_same() -> None:
    stages = ticking(0.0, 1.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="no"), stages.at("failing"):
        raise ValueError("no")
    assert stages.profile().whole == {REST: 1.0, "failing": 2.0}


def test_calls_that_overlap_count_once() -> None:
    found = partition(WALL, {"all": [WALL]}, [(101.0, 104.0), (102.0, 103.0), (103.5, 105.0)], [])
    assert found.framework == 4.0
    assert found.own == pytest.approx(0.6)


def test_what_lies_outside_the_run_counts_nothing() -> None:
    found = partition(WALL, {"all": [WALL]}, [(90.0, 101.0), (109.0, 120.0), (80.0, 81.0)], [])
    assert found.framework == 2.0


def test_a_moment_is_a_framework_s_before_it_is_an_import_s_and_a_stage_s_last() -> None:
    found = partition(
        WALL, {"one": [(100.0, 106.0)], "other": [(106.0, 110.0)]}, [(101.0, 103.0)], [(102.0, 105.0), (108.0, 109.0)]
    )
    assert (found.framework, found.importing) == (2.0, 3.0)
    assert found.alone == {"one": 2.0, "other": 3.0}
    assert found.whole == {"one": 6.0, "other": 4.0}
    assert found.framework + found.importing + sum(found.alone.values()) == found.wall


def test_a_run_of_no_calls_is_all_the_suite_s_own() -> None:
    assert partition(WALL, {"all": [WALL]}, [], []).own == 1.0


def test_the_table_has_every_part_and_the_own_share() -> None:
    text = str(partition(WALL, {"judging": [WALL]}, [(100.0, 108.0)], []))
    assert "inside a framework's call            8.00   80.0%" in text
    assert "judging                              2.00   20.0%   10.00" in text
    assert "own share: 20.0%" in text


def test_the_time_in_a_framework_is_what_it_slept(tmp_path: Path) -> None:
    """Five cells of 0.2 s each, judged in 0.1 s: but for the last, judging goes on beside the next one."""
    stages = Stages()
    with Workers(1, tmp_path, Limits(start=20.0, cell=5.0), stages) as workers:
        for _ in execute(row("sleeps", 5, fatal=-1), workers):
            with stages.at("judging"):
                time.sleep(0.1)
    found = stages.profile()
    assert found.framework == pytest.approx(1.0, abs=0.25)
    assert found.whole["judging"] == pytest.approx(0.5, abs=0.1)
    assert found.alone["judging"] == pytest.approx(0.1, abs=0.09)
    assert [len(lane.imports) for lane in stages.lanes] == [1]
    assert sum(used for lane in stages.lanes for _, _, used in lane.calls) < 0.2


def test_the_processor_s_time_in_a_framework_is_what_it_computed(tmp_path: Path) -> None:
    """Five cells that compute for 0.2 s each, judged in 0.1 s of computing."""
    stages = Stages()
    with Workers(1, tmp_path, Limits(start=20.0, cell=5.0), stages) as workers:
        for _ in execute(row("computes", 5, fatal=-1), workers):
            until = time.process_time() + 0.1
            while time.process_time() < until:
                pass
    found = stages.profile()
    worked = sum(used for lane in stages.lanes for _, _, used in lane.calls)
    assert worked == pytest.approx(1.0, abs=0.2)
    assert found.inside == pytest.approx(worked + sum(used for lane in stages.lanes for _, _, used in lane.imports))
    assert found.processor >= found.inside + 0.5


def test_what_was_computed_before_the_run_is_not_its_own() -> None:
    used = iter([7.0, 10.0])
    stages = Stages(processor=lambda: next(used))
    lane = stages.lane("torch")
    lane.calls.append((0.0, 4.0, 2.0))
    lane.imports.append((0.0, 1.0, 0.5))
    found = stages.profile()
    assert (found.processor, found.inside) == (3.0, 2.5)
    assert "processor time: 3.00 s, 1.20 times the frameworks' calls and imports: 2.50 s" in str(found)


def test_judging_takes_nothing_from_a_worker_s_own_time(tmp_path: Path) -> None:
    """A cell that is done in time is no time-out though nobody looked before its deadline."""
    with Workers(1, tmp_path, Limits(start=20.0, cell=0.5)) as workers:
        found = []
        for _, outcomes in execute(row("sleeps", 3, fatal=-1), workers):
            time.sleep(0.8)
            found.append(outcomes)
    assert [type(outcomes[-1]).__name__ for outcomes in found] == ["Produced"] * 3

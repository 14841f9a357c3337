"""How fast the suite itself was in published runs: numbers of timelines that are worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec

from conformance.publish.history import Edition
from conformance.publish.site import write
from conformance.publish.speed import speeds, timelines_of
from conformance.runfile.results import results_of
from conformance.runfile.run import Run
from conformance.runfile.timeline_structs import RecordedLane, RecordedTimeline
from tests.publish.test_published_runs import FIRST, SECOND, publish


def lane(*parts: int, cells: int = 10, processor: float = 6.0) -> RecordedLane:
    return RecordedLane(
        name="x", began=0.0, ended=8.0, cells=cells, calls=5.0, importing=1.0, processor=processor, parts=parts
    )


#: Two processes: in the first quarter both half at work, then one, then the other, then none.
TIMELINE = RecordedTimeline(seconds=8.0, own=(0, 0, 50, 100), lanes=(lane(50, 100, 0, 0), lane(50, 0, 75, 0, cells=30)))


def timed(run: Run, timeline: RecordedTimeline | None) -> Run:
    assert run.footer is not None
    return replace(run, footer=msgspec.structs.replace(run.footer, timeline=timeline))


def edition(name: str, *timelines: RecordedTimeline) -> Edition:
    return Edition(name=name, results=results_of([FIRST]), timelines=timelines)


def test_a_cell_took_the_wall_time_by_the_cells_that_were_performed() -> None:
    (speed,) = speeds([edition("2026-11-01-a", TIMELINE)]).speeds
    assert (speed.cells, speed.seconds, speed.milliseconds_a_cell) == (40, 8.0, 200.0)


def test_the_suite_is_alone_while_no_process_is_at_work() -> None:
    """Of four quarters 50, 100, 75 and 0 percent had a process at work: 43.75 percent of the time had none."""
    (speed,) = speeds([edition("2026-11-01-a", TIMELINE)]).speeds
    assert speed.alone == 0.4375


def test_busy_cores_are_processor_time_by_wall_time() -> None:
    (speed,) = speeds([edition("2026-11-01-a", TIMELINE)]).speeds
    assert speed.busy == 1.5


def test_runs_that_were_published_together_count_by_their_time() -> None:
    idle = RecordedTimeline(seconds=24.0, lanes=(lane(0, 0, 0, 0, cells=24, processor=4.0),))
    (speed,) = speeds([edition("2026-11-01-a", TIMELINE, idle)]).speeds
    assert (speed.cells, speed.milliseconds_a_cell, speed.busy) == (64, 500.0, 0.5)
    assert speed.alone == (8 * 0.4375 + 24 * 1) / 32


def test_a_run_without_its_timeline_is_left_out_and_counted() -> None:
    nothing_performed = RecordedTimeline(seconds=1.0, lanes=(lane(0, cells=0),))
    editions = [
        edition("2026-11-01-a"),
        edition("2026-11-02-a", TIMELINE),
        edition("2026-11-03-a", nothing_performed),
    ]
    found = speeds(editions)
    assert ([speed.edition for speed in found.speeds], found.untold) == (["2026-11-02-a"], 2)


def test_a_publication_tells_no_speed_where_one_of_its_runs_does_not() -> None:
    assert timelines_of([timed(FIRST, TIMELINE), timed(SECOND, TIMELINE)]) == (TIMELINE, TIMELINE)
    assert timelines_of([timed(FIRST, TIMELINE), timed(SECOND, None)]) == ()


def test_every_machine_is_a_line_of_each_chart() -> None:
    found = speeds([edition(name, TIMELINE) for name in ("2026-11-01-a", "2026-11-02-b", "2026-11-03-a")])
    assert found.machines == ("a", "b")
    assert len(found.charts) == 3
    for drawn in found.charts:
        assert drawn.svg.count("<polyline") == 1
        assert len(re.findall("<circle", drawn.svg)) == 3


def test_the_page_has_the_numbers_and_says_what_is_left_out(tmp_path: Path) -> None:
    folder = publish(tmp_path, FIRST, timed(SECOND, TIMELINE))
    write(folder, tmp_path / "site")
    text = (tmp_path / "site" / "speed.html").read_text()
    assert '<td class="number">200.0</td><td class="number">43.8 %</td><td class="number">1.50</td>' in text
    assert "1 published run is left out" in text
    assert 'href="speed.html"' in (tmp_path / "site" / "index.html").read_text()


def test_without_any_timeline_the_page_says_so(tmp_path: Path) -> None:
    write(publish(tmp_path, FIRST), tmp_path / "site")
    assert "No published run says it yet" in (tmp_path / "site" / "speed.html").read_text()

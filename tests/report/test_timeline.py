"""The drawing of who was at work when."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from conformance.report.timeline import timeline_drawing
from conformance.runfile.timeline_structs import RecordedLane, RecordedTimeline


def lane(name: str, parts: tuple[int, ...], began: float = 0.0, ended: float = 40.0) -> RecordedLane:
    return RecordedLane(
        name=name, began=began, ended=ended, cells=3, calls=10.0, importing=1.0, processor=9.0, parts=parts
    )


def drawing(*lanes: RecordedLane) -> ET.Element:
    return ET.fromstring(timeline_drawing(RecordedTimeline(seconds=40.0, own=(50, 0), lanes=lanes)))


def test_each_process_is_a_row_under_that_of_the_judging_one() -> None:
    names = [text.text for text in drawing(lane("torch", (0, 0)), lane("<jax>", (0, 0))).iter("text")]
    assert names[:3] == ["judging", "torch", "<jax>"]


def test_a_bar_is_as_high_as_its_part_was_busy() -> None:
    (path,) = [path for path in drawing(lane("torch", (100, 25))).iter("path") if "worked" in path.attrib["class"]][1:]
    assert [piece.partition("v-")[2].partition("h")[0] for piece in path.attrib["d"].split("z")[:2]] == ["12.0", "3.0"]


def test_a_part_without_work_has_no_bar() -> None:
    (path,) = [path for path in drawing(lane("torch", (0, 100))).iter("path") if "worked" in path.attrib["class"]][1:]
    assert path.attrib["d"].startswith("M450.0 ")
    assert path.attrib["d"].count("M") == 1


def test_a_row_says_how_long_its_process_worked_of_the_time_it_lived() -> None:
    titles = [title.text for title in drawing(lane("torch", (100, 50), ended=30.0)).iter("title")]
    assert titles == [
        "judging: at work for 10 s of the 40 s that it lived",
        "torch: at work for 30 s of the 30 s that it lived",
    ]


def test_a_run_without_parts_is_drawn_too() -> None:
    assert ET.fromstring(timeline_drawing(RecordedTimeline(seconds=0.0))).get("role") == "img"

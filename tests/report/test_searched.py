"""The largest score that a search found stands beside that of the written cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.report import write
from conformance.report.searched import Largest, Searched, read_searches
from tests.report_lines import Line, page, record, report_of, run
from tests.run_lines import TORCH


def search_file(folder: Path, *processes: Line, **other: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "search.json").write_text(json.dumps({"format": 2, "processes": processes, **other}), encoding="utf-8")
    return folder


def process(score: float, cells: int = 10) -> Line:
    return {"worker": "torch", "worst_scores": {TORCH: score}, "verdicts": {TORCH: {"conforms": cells}}, "seconds": 1.0}


def test_searches_are_taken_together(tmp_path: Path) -> None:
    """The largest of all, in the cells of all, whether the folder is named or the file in it."""
    one, two = (
        search_file(tmp_path / "one", process(0.5), process(0.25)),
        search_file(tmp_path / "two", process(0.75, 5)),
    )
    assert read_searches([one, two / "search.json"]) == {TORCH: Searched(score=0.75, cells=25)}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "expected the search.json that `conformance fuzz` leaves"),
        ('{"format": 2, "processes": [{"worst_scores": {"a": "much"}}]}', "worst_scores"),
        ('{"format": 9, "processes": []}', "format 9, expected 2"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_no_search_left_is_one_line(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "search.json").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=says.replace("[", r"\[")) as raised:
        read_searches([tmp_path])
    assert str(raised.value).startswith(str(tmp_path / "search.json"))


def test_the_largest_is_of_cells_that_agree_and_properties_count_as_searched() -> None:
    report = report_of(
        run(
            record("conforms", score=0.5),
            record("deviates", "failed", of="a.two", score=50.0),
            record("conforms", of="properties.scaling/eager", score=0.75),
        )
    )
    assert report.largest == {TORCH: Largest(written=0.5, cell=f"a.one::{TORCH}-eager-cpu", searched=0.75, drawn=1)}


def test_both_stand_on_the_page_of_the_implementation(tmp_path: Path) -> None:
    write(
        [run(record("conforms", score=0.5))],
        tmp_path / "out",
        partial=False,
        searches={TORCH: Searched(score=0.875, cells=1200)},
    )
    text = page(tmp_path / "out", f"implementations/{TORCH}.html").text
    assert "0.5 in the written cases, 0.875 found by search in 1200 drawn cells. 1 is the limit." in text
    assert "0.875" in page(tmp_path / "out", "deviations.html").text


def test_without_a_search_nothing_is_said_of_one(tmp_path: Path) -> None:
    write([run(record("conforms", score=0.5))], tmp_path / "out", partial=False)
    assert "found by search" not in page(tmp_path / "out", f"implementations/{TORCH}.html").text

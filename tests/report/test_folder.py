"""A folder written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.report.folder import MARK, write_folder

FILES = [("index.html", b"one"), ("data/index.js", b"two")]


def names(folder: Path) -> set[str]:
    """The files of a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_written_with_those_above_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "a" / "out", FILES)
    assert names(tmp_path / "a" / "out") == {"index.html", "data/index.js", MARK}


def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    """What the new one does not have is gone, and nothing is left beside it."""
    write_folder(tmp_path / "out", FILES)
    write_folder(tmp_path / "out", [("index.html", b"new")])
    assert names(tmp_path / "out") == {"index.html", MARK}
    assert (tmp_path / "out" / "index.html").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_folder(tmp_path / "out", FILES)
    assert "index.html" in names(tmp_path / "out")


@pytest.mark.parametrize("earlier", [True, False], ids=["in a report", "in another folder"])
def test_a_file_that_no_report_wrote_is_never_deleted(earlier: bool, tmp_path: Path) -> None:
    """A run file, or what a web host wants there."""
    if earlier:
        write_folder(tmp_path / "out", FILES)
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "run.jsonl").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"holds deep/run\.jsonl, which no report wrote"):
        write_folder(tmp_path / "out", FILES)
    assert (tmp_path / "out" / "deep" / "run.jsonl").read_bytes() == b"mine"


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"is a file, and a report is a folder"):
        write_folder(tmp_path / "out", FILES)


@pytest.mark.parametrize("mark", [b"not JSON", b"7", b"\xff"])
def test_a_spoilt_mark_makes_no_folder_ours(mark: bytes, tmp_path: Path) -> None:
    write_folder(tmp_path / "out", FILES)
    (tmp_path / "out" / MARK).write_bytes(mark)
    with pytest.raises(UsageError, match="which no report wrote"):
        write_folder(tmp_path / "out", FILES)


def test_a_fault_half_way_leaves_the_earlier_report(tmp_path: Path) -> None:
    """Neither a mixture nor a rest of the new one."""

    def failing() -> Iterator[tuple[str, bytes]]:
        yield "index.html", b"new"
        raise UsageError("no")

    write_folder(tmp_path / "out", FILES)
    with pytest.raises(UsageError, match="no"):
        write_folder(tmp_path / "out", failing())
    assert (tmp_path / "out" / "index.html").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

"""A file appears whole or not at all, and a place where none can be is refused before any work."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.files.whole import check_folder, check_place, write_whole


def test_a_file_is_made_with_the_folders_above_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "file"
    write_whole(file, b"content")
    assert file.read_bytes() == b"content"
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_cannot_be_finished_leaves_the_one_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        write_whole(file, b"after")
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    """A temporary file is its owner's alone."""
    write_whole(tmp_path / "written", b"")
    (tmp_path / "any").touch()
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "any").stat().st_mode


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("folder", "is a folder, and a file was expected"),
        ("/dev/null", "is a device or a pipe, and a file was expected"),
        ("file/below", "file is no folder"),
        ("x" * 300, "cannot be written: File name too long"),
    ],
)
def test_a_place_where_no_file_can_be_is_refused(place: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=message):
        check_place(tmp_path / place)


@pytest.mark.parametrize(
    ("place", "message"), [("file", "expected a folder, and this is none"), ("file/below", "file is no folder")]
)
def test_a_place_where_no_folder_can_be_is_refused(place: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=message):
        check_folder(tmp_path / place)


@pytest.mark.parametrize("place", ["there", "not/there/yet"])
def test_a_folder_that_is_there_or_can_be_made_is_accepted(place: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    check_folder(tmp_path / place)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]

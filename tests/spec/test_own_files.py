"""Files and folders named on the command line become case files, and what cannot be one is refused in one line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.spec.own_files import case_files


def test_a_folder_stands_for_its_case_files_by_name(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "notes.md"):
        (tmp_path / name).touch()
    assert [file.name for file in case_files([tmp_path])] == ["a.yml", "b.yaml"]


def test_a_file_named_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    with contextlib.chdir(tmp_path):
        assert case_files([Path("a.yaml"), tmp_path, Path("..", tmp_path.name, "a.yaml")]) == [tmp_path / "a.yaml"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere.yaml", "nowhere.yaml: no such file"), ("empty", "empty: no case file in this folder")],
)
def test_what_is_no_case_file_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with contextlib.chdir(tmp_path), pytest.raises(UsageError, match=message):
        case_files([Path(name)])


@pytest.mark.parametrize("folder", ["with[brackets]", "with::colons"])
def test_a_path_by_which_no_cell_could_be_named_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "a.yaml").touch()
    with pytest.raises(UsageError, match="no cell could be named"):
        case_files([tmp_path / folder])

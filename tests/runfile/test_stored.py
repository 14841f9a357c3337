"""A run file that is too large to be held: its records are those of the file, read again whenever they are asked for."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from conformance.compare.comparison import compare
from conformance.errors import UsageError
from conformance.files.json_text import text_of
from conformance.report import files
from conformance.runfile import reading
from conformance.runfile.reading import read
from conformance.runfile.results import results_of
from conformance.runfile.stored import StoredRecords
from tests.many_cells import write_many
from tests.report_lines import whole

CELLS = 600


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_many(tmp_path_factory.mktemp("runs") / "run.jsonl", CELLS)


@pytest.fixture
def none_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HELD", 0)


def files_of(file: Path) -> dict[str, bytes]:
    return {path: whole(pieces) for path, pieces in files([read(file)])}


@pytest.mark.usefixtures("none_held")
def test_the_records_are_those_of_the_file(file: Path) -> None:
    records = read(file).records
    assert isinstance(records, StoredRecords)
    held = reading.parse(file.read_bytes(), file).records
    assert (len(records), list(records)) == (CELLS, list(held))
    assert records[-1] == held[-1]
    assert records[3:9:2] == tuple(held[3:9:2])


def test_every_file_of_a_report_is_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = files_of(file)
    monkeypatch.setattr(reading, "HELD", 0)
    assert files_of(file) == held


@pytest.mark.usefixtures("none_held")
def test_a_compressed_file_is_the_same(file: Path, tmp_path: Path) -> None:
    folded = tmp_path / "run.jsonl.xz"
    folded.write_bytes(lzma.compress(file.read_bytes(), preset=0))
    assert list(read(folded).records) == list(read(file).records)


@pytest.mark.usefixtures("none_held")
def test_results_and_a_comparison_need_no_record_at_hand(file: Path) -> None:
    results = results_of([read(file)])
    assert compare(results, results).same == CELLS
    assert text_of(results) == text_of(results_of([read(file)]))


@pytest.mark.usefixtures("none_held")
@pytest.mark.parametrize("change", ["shortened", "replaced", "removed", "rewritten"])
def test_a_file_that_changed_since_is_refused_in_one_line(file: Path, tmp_path: Path, change: str) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(file.read_bytes())
    records = read(copy).records
    match change:
        case "shortened":
            copy.write_bytes(copy.read_bytes()[:-20_000])
        case "replaced":
            other = tmp_path / "other.jsonl"
            other.write_bytes(file.read_bytes())
            other.replace(copy)
        case "removed":
            copy.unlink()
        case _:
            copy.write_bytes(b"x" * copy.stat().st_size)
    with pytest.raises(UsageError, match=rf"^{copy}.*(changed while it was read|cannot be read|not JSON).*$"):
        _ = records[-1]


@pytest.mark.usefixtures("none_held")
def test_a_run_that_goes_on_adds_to_its_file_and_what_was_read_stays(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(file.read_bytes())
    records = read(copy).records
    with copy.open("ab") as opened:
        opened.write(b"{}\n")
    assert records[-1] == read(file).records[-1]


def test_a_file_beyond_every_limit_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HELD", 0)
    monkeypatch.setattr(reading, "LARGEST", 1000)
    with pytest.raises(UsageError, match=r"bytes, over the limit of 1,000$"):
        read(file)


def test_a_line_longer_than_any_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LIMIT", 50)
    with pytest.raises(UsageError, match=r":1: has more than 50 bytes, and no line does$"):
        read(file)

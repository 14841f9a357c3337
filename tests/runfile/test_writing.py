"""A run file being written: whole lines from the moment they are added, and no file of another's lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.errors import StorageError, UsageError
from conformance.runfile.reading import read
from conformance.runfile.run import Run
from conformance.runfile.structs import FORMAT, AnyLine
from conformance.runfile.writing import Judges, RunWriter, check_resumable, is_unbegun
from conformance.verdict import Verdict
from tests.many_cells import decoded
from tests.run_lines import record_line, run_of, write_run

ONE, OTHER = record_line(), record_line(of="a.two")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def refusal(file: Path, **asked: Any) -> str:
    with pytest.raises(UsageError) as caught:
        RunWriter(file, **asked)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_was_written_is_read(tmp_path: Path) -> None:
    run = run_of(ONE, OTHER)
    again = read(write_run(run, tmp_path))
    assert (again.environments, again.cases, again.records, again.footer) == (
        run.environments,
        run.cases,
        run.records,
        run.footer,
    )
    assert again.header.format == FORMAT


def test_the_footer_counts_the_verdicts_from_best_to_worst(file: Path) -> None:
    with RunWriter(file) as writer:
        for verdict, case in (("deviates", "a.one"), ("exact", "a.two"), ("deviates", "a.three")):
            writer.add(decoded("record", record_line(verdict, of=case)))
        writer.close_run(ended=True)
    footer = json.loads(file.read_text().splitlines()[-1])
    assert list(footer["verdicts"].items()) == [("exact", 1), ("deviates", 2)]
    assert (footer["recorded"], footer["ended"]) == (3, True)


def test_a_resumed_run_goes_on_after_its_last_whole_line_and_has_one_footer(tmp_path: Path) -> None:
    run = run_of(ONE, OTHER, ended=False)
    file = write_run(run, tmp_path)
    file.write_bytes(file.read_bytes()[:-5])
    with RunWriter(file, resumed=read(file)) as writer:
        writer.add(run.records[1])
        writer.close_run(ended=False)
    with RunWriter(file, resumed=read(file)) as writer:
        assert writer.recorded == 2
        writer.close_run(ended=True)
    again = read(file)
    assert (again.records, again.complete, file.read_text().count('"kind":"footer"')) == (run.records, True, 1)


def test_a_new_run_replaces_an_old_one(tmp_path: Path) -> None:
    write_run(run_of(ONE), tmp_path)
    assert [record.case for record in read(write_run(run_of(OTHER), tmp_path)).records] == ["a.two"]


@pytest.mark.parametrize("content", [b"a letter\n", b"\x00\x01", b"{}\n", b'{"kind": "record"}\n', b"[" * 100_000])
@pytest.mark.parametrize("kind", Judges)
def test_what_is_no_run_file_stays_as_it_is(file: Path, content: bytes, kind: Judges) -> None:
    file.write_bytes(content)
    assert "is no run file, and stays as it is" in refusal(file, kind=kind)
    assert file.read_bytes() == content


def test_a_run_of_one_kind_does_not_overwrite_one_of_the_other(tmp_path: Path) -> None:
    judged = write_run(run_of(ONE), tmp_path)
    timed = write_run(run_of(name="timed.jsonl", throughput={"planned": 0}), tmp_path)
    before = judged.read_bytes(), timed.read_bytes()
    assert "holds a run of judged cells" in refusal(judged, kind=Judges.TIMINGS)
    assert "holds a run of timings" in refusal(timed)
    assert (judged.read_bytes(), timed.read_bytes()) == before


def test_a_narrowed_run_does_not_overwrite_a_full_one(tmp_path: Path) -> None:
    full, narrowed = run_of(ONE), run_of(ONE, narrowed=True, name="narrowed.jsonl")
    assert "holds a full run" in refusal(write_run(full, tmp_path), narrowed=True)
    RunWriter(write_run(narrowed, tmp_path), narrowed=True).__exit__()


def test_an_empty_file_is_nobody_s(file: Path) -> None:
    file.touch()
    RunWriter(file).__exit__()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder, and a file was expected" in refusal(tmp_path)


def test_a_file_that_another_run_writes_is_left_alone_and_no_lock_stays(file: Path, run: Run) -> None:
    with RunWriter(file) as first:
        first.add(run.header)
        assert "another run is writing it" in refusal(file)
        assert file.read_bytes().count(b"\n") == 1
    assert [each.name for each in file.parent.iterdir()] == ["run.jsonl"]


@pytest.fixture
def run() -> Run:
    return run_of(ONE, OTHER)


def test_a_write_that_takes_a_part_of_a_line_is_gone_on_with(
    file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a signal, a pipe or a full disk: what the system took is less than it was given."""
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: whole(descriptor, content[:7]))
    with RunWriter(file) as writer:
        header = msgspec.structs.replace(run.header, format=FORMAT)
        lines: list[AnyLine] = [header, *run.environments, *run.cases.values(), *run.records]
        for line in lines:
            writer.add(line)
    assert read(file).records == run.records


def test_a_line_that_finds_no_place_leaves_none_of_it(file: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    with RunWriter(file) as writer:
        writer.add(run.header)
        before = file.read_bytes()

        def full(descriptor: int, content: bytes) -> int:
            whole(descriptor, content[:7])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StorageError, match="No space left on device; --resume goes on from what is there"):
            writer.add(run.environments[0])
    assert file.read_bytes() == before


def test_a_file_that_something_else_writes_to_is_not_written_on(file: Path, run: Run) -> None:
    with RunWriter(file) as writer:
        writer.add(run.header)
        os.truncate(file, 0)
        with pytest.raises(StorageError, match="something else wrote to it"):
            writer.add(run.environments[0])


@pytest.mark.parametrize("becomes", ["absent", "another"])
def test_a_file_that_is_gone_at_the_end_is_told(file: Path, run: Run, becomes: str) -> None:
    with RunWriter(file) as writer:
        writer.add(run.header)
        file.unlink()
        if becomes == "another":
            file.touch()
        with pytest.raises(StorageError, match="was removed or replaced while the run wrote it"):
            writer.close_run(ended=True)


@pytest.mark.parametrize("kept", [0, 1, 16, 100])
def test_a_file_whose_first_line_is_not_whole_is_a_run_that_had_not_begun(file: Path, run: Run, kept: int) -> None:
    with RunWriter(file) as writer:
        writer.add(run.header)
    os.truncate(file, kept)
    assert is_unbegun(file)
    with RunWriter(file) as writer:
        writer.add(run.header)
    assert not is_unbegun(file)


@pytest.mark.parametrize("text", ["{ my thesis", '{"kind":"heading",', "{}"])
def test_what_begins_otherwise_is_no_run_that_had_not_begun(file: Path, text: str) -> None:
    file.write_text(text)
    assert not is_unbegun(file)


def test_text_that_is_no_unicode_is_written_as_its_escape(file: Path) -> None:
    line = decoded("record", ONE)
    with RunWriter(file) as writer:
        writer.add(msgspec.structs.replace(line, again="lone \udc80"))
    assert json.loads(file.read_text())["again"] == "lone \\udc80"


def test_a_run_of_timings_or_of_format_1_is_not_resumed() -> None:
    with pytest.raises(UsageError, match="cannot be resumed"):
        check_resumable(run_of(throughput={"planned": 0}))
    with pytest.raises(UsageError, match="is of format 1; --resume completes format 2 alone"):
        check_resumable(run_of(ONE))


def test_nothing_that_a_report_imports_locks_as_unix_alone_does() -> None:
    """On Windows there is no `fcntl`, and a report is made there too."""
    code = "import sys; sys.modules['fcntl'] = None; import conformance.report, conformance.runfile.reading"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)


def test_counts_begin_at_none(file: Path) -> None:
    with RunWriter(file) as writer:
        assert (writer.recorded, writer.counts[Verdict.EXACT]) == (0, 0)

"""A run file: whole lines from the moment they are written, and refused where it is none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.runfile.run_file import FORMAT, RunWriter, number, number_from, read, read_all

HEADER: dict[str, Any] = {"format": FORMAT, "planned": 2}
ENVIRONMENT: dict[str, Any] = {"id": "torch", "versions": {"torch": "2.13.0"}}
CASE: dict[str, Any] = {"id": "fam.one", "title": "Eins, zwei: é"}


def record(cell: str, verdict: str = "conforms", **fields: Any) -> dict[str, Any]:
    return {"cell": cell, "verdict": verdict, **fields}


def written(path: Path, *records: dict[str, Any], ended: bool = True) -> Path:
    with RunWriter(path) as writer:
        writer.add("header", HEADER)
        writer.add("environment", ENVIRONMENT)
        writer.add("case", CASE)
        for each in records:
            writer.add("record", each)
        if ended:
            writer.close_run({"ended": True})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def test_what_was_written_is_read(file: Path) -> None:
    run = read(written(file, record("a"), record("b", "deviates")))
    assert (run.header, run.environments, run.cases) == (
        {"kind": "header", **HEADER},
        ({"kind": "environment", **ENVIRONMENT},),
        {"fam.one": {"kind": "case", **CASE}},
    )
    assert run.records == tuple({"kind": "record", **each} for each in (record("a"), record("b", "deviates")))


def test_the_footer_counts_the_verdicts_from_best_to_worst(file: Path) -> None:
    footer = read(written(file, record("a", "deviates"), record("b", "exact"), record("c", "deviates"))).footer
    assert footer == {"kind": "footer", "recorded": 3, "verdicts": {"exact": 1, "deviates": 2}, "ended": True}
    assert list(footer["verdicts"]) == ["exact", "deviates"]


@pytest.mark.parametrize(
    ("records", "ended", "complete"),
    [(["a", "b"], True, True), (["a"], True, False), (["a", "b"], False, False), (["a", "b", "c"], True, False)],
)
def test_a_run_is_complete_where_it_ended_and_recorded_what_it_planned(
    file: Path, records: list[str], ended: bool, complete: bool
) -> None:
    assert read(written(file, *map(record, records), ended=ended)).complete is complete


def test_a_line_is_in_the_file_as_soon_as_it_is_added(file: Path) -> None:
    with RunWriter(file) as writer:
        writer.add("header", HEADER)
        writer.add("record", record("a"))
        assert [each["cell"] for each in read(file).records] == ["a"]


def test_a_half_written_last_line_is_not_there(file: Path) -> None:
    raw = written(file, record("a"), record("b"), ended=False).read_bytes()
    file.write_bytes(raw[:-5])
    assert [each["cell"] for each in read(file).records] == ["a"]


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_run_killed_at_any_byte_is_read(file: Path, cut: int) -> None:
    raw = written(file, record("a"), record("b")).read_bytes()
    file.write_bytes(raw[:-cut])
    run = read(file)
    assert [each["cell"] for each in run.records] == ["a", "b"]
    assert not run.complete


def test_a_resumed_run_goes_on_after_its_last_whole_line(file: Path) -> None:
    raw = written(file, record("a", "exact"), record("b"), ended=False).read_bytes()
    file.write_bytes(raw[:-5])
    with RunWriter(file, resumed=read(file)) as writer:
        writer.add("record", record("b"))
        assert writer.recorded == 2
        writer.close_run({"ended": True})
    run = read(file)
    assert ([each["cell"] for each in run.records], run.complete) == (["a", "b"], True)


def test_a_resumed_run_has_one_footer_which_counts_all(file: Path) -> None:
    written(file, record("a", "exact"))
    with RunWriter(file, resumed=read(file)) as writer:
        writer.add("record", record("b"))
        writer.close_run({"ended": True})
    assert file.read_text().count('"kind":"footer"') == 1
    assert read(file).footer == {
        "kind": "footer",
        "recorded": 2,
        "verdicts": {"exact": 1, "conforms": 1},
        "ended": True,
    }


def test_a_new_run_replaces_the_old_file(file: Path) -> None:
    written(file, record("a"), record("b"))
    assert [each["cell"] for each in read(written(file, record("c"))).records] == ["c"]


def test_a_file_that_another_run_writes_is_left_alone(file: Path) -> None:
    with RunWriter(file) as first:
        first.add("header", HEADER)
        with pytest.raises(UsageError, match="another run is writing it"):
            RunWriter(file)
        assert read(file).header["planned"] == 2


def test_a_cell_recorded_twice_is_refused(file: Path) -> None:
    assert refusal(written(file, record("a"), record("a"))) == f"{file}: the cell a is recorded twice"


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (0.1, 0.1), (None, None)]
)
def test_a_number_that_json_lacks_is_text_and_comes_back(value: float | None, text: object) -> None:
    assert number(value) == text
    back = number_from(number(value))
    assert back == value or (back is not None and value is not None and math.isnan(back) and math.isnan(value))


def test_no_line_holds_what_strict_json_lacks(file: Path) -> None:
    written(file, record("a", score=math.nan, steps=[{"values": (math.inf, [-math.inf])}]))

    def lacking(name: str) -> None:
        raise AssertionError(name)

    lines = [json.loads(text, parse_constant=lacking) for text in file.read_text().splitlines()]
    assert (lines[3]["score"], lines[3]["steps"]) == ("NaN", [{"values": ["Infinity", ["-Infinity"]]}])


def test_text_that_is_no_unicode_is_written_all_the_same(file: Path) -> None:
    written(file, record("a", message="lone \udc80"))
    assert read(file).records[0]["message"] == "lone \udc80"


def test_what_json_cannot_hold_is_refused_before_anything_is_written(file: Path) -> None:
    with RunWriter(file) as writer:
        with pytest.raises(TypeError, match="which JSON cannot"):
            writer.add("header", {**HEADER, "path": {1, 2}})
        assert file.read_text() == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: not a run file: its first line is no header"),
        ("- id: fam.one\n", ":1: not JSON: "),
        ("<html>\n", ":1: not JSON: "),
        ("[1, 2]\n", ":1: expected an object with a kind"),
        ('{"a": 1}\n', ":1: expected an object with a kind"),
        ('{"kind": "record", "cell": "a"}\n', ":1: not a run file: its first line is no header"),
        ('{"kind": "header", "format": 99, "planned": 1}\n', f":1: format 99, expected {FORMAT}"),
        ('{"kind": "header", "planned": 1}\n', f":1: format None, expected {FORMAT}"),
        (f'{{"kind": "header", "format": {FORMAT}}}\n', ": not a run file: a header has no planned"),
        (f'{{"kind": "header", "format": {FORMAT}, "planned": 1}}\nbroken\n', ":2: not JSON: "),
        (
            f'{{"kind": "header", "format": {FORMAT}, "planned": 1}}\n{{"kind": "record"}}\n',
            ": not a run file: a record has no cell",
        ),
    ],
)
def test_what_is_no_run_file_is_refused_in_one_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    assert refusal(file).startswith(f"{file}{message}")


def test_a_binary_file_is_refused_in_one_line(file: Path) -> None:
    file.write_bytes(bytes(range(128, 256)) + b"\n")
    assert refusal(file).startswith(f"{file}:1: not JSON: ")


def test_an_absent_file_is_refused_in_one_line(file: Path) -> None:
    assert refusal(file) == f"{file}: cannot be read: No such file or directory"


def test_a_folder_stands_for_its_run_files(tmp_path: Path) -> None:
    for name in ("b", "a"):
        written(tmp_path / f"{name}.jsonl", record(name))
    (tmp_path / "notes.txt").write_text("no run")
    assert [run.path.name for run in read_all([tmp_path])] == ["a.jsonl", "b.jsonl"]


def test_a_folder_without_run_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run file"):
        read_all([tmp_path])

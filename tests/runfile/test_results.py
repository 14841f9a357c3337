"""results.json: what a report publishes for programs, small, strict, the same bytes for the same runs."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from conformance.errors import UsageError
from conformance.files.json_text import text_of
from conformance.publish.schemas import results_schema
from conformance.runfile.results import Results, results_of
from conformance.runfile.results_reading import parse, read
from tests.run_lines import FLAX, TORCH, case_line, environment_line, record_line, run_of, strict


def varied() -> Results:
    """Return results with something of everything."""
    diagnosed = record_line("deviates", 12.5, of="a.two", diagnosis="epsilon outside the root")
    return results_of(
        [
            run_of(
                diagnosed,
                record_line(),
                record_line("exact", 0.0, implementation=FLAX),
                record_line("unsupported", None, of="a.two", implementation=FLAX, steps=[]),
                record_line("conforms", math.nan, of="stability.x", grade="W"),
                environments=(
                    environment_line(),
                    environment_line(FLAX, "0.12.8"),
                    {"id": "tensorflow", "group": "tensorflow", "adapter": None, "failed": "no such wheel"},
                ),
            )
        ]
    )


def document() -> Any:
    """Return the same results as JSON values."""
    return strict(text_of(varied()))


def refusal(document: Any) -> str:
    with pytest.raises(UsageError) as caught:
        parse(json.dumps(document).encode(), "old.json")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_cell_is_a_row_of_positions_and_values() -> None:
    """By case, then by column, whatever the order in which the cells ended."""
    found = document()
    rows = [dict(zip(found["cell_fields"], row, strict=True)) for row in found["cells"]]
    assert [found["cases"][row["case"]]["id"] for row in rows] == ["a.two", "a.two", "a.one", "a.one", "stability.x"]
    first = rows[0]
    assert found["columns"][first["column"]]["implementation"] == TORCH
    assert found["environments"][first["environment"]]["id"] == "torch"
    assert found["texts"][first["diagnosis"]] == "epsilon outside the root"
    assert (first["verdict"], first["status"], first["score"]) == ("deviates", "unexpected", 12.5)
    assert (first["seconds"], first["grade"]) == (0.25, "")


def test_what_was_not_measured_is_null_and_what_is_right_needs_no_diagnosis() -> None:
    """An unsupported cell ran no step; texts begin with the empty one."""
    found = document()
    rows = [dict(zip(found["cell_fields"], row, strict=True)) for row in found["cells"]]
    assert (rows[1]["score"], rows[1]["seconds"]) == (None, None)
    assert found["texts"][rows[2]["diagnosis"]] == ""


def test_numbers_that_json_lacks_are_texts() -> None:
    """As in the run file."""
    assert document()["cells"][-1][5] == "NaN"


def test_the_grade_of_a_column_is_its_worst_with_the_case_that_set_it() -> None:
    """Over the ladder alone."""
    records = [record_line(of=f"stability.{letter}", grade=letter) for letter in "AWD"]
    found = results_of([run_of(*records, record_line(of="a.one"))])
    assert [(each.dtype, each.grade, found.cases[each.case].id) for each in found.grades] == [
        ("float32", "W", "stability.W")
    ]


def test_a_cell_that_did_not_run_to_its_end_has_no_grade() -> None:
    """What it gave before it was refused says nothing of its stability."""
    cut = [
        record_line(verdict, of=f"stability.{verdict}", grade="A") for verdict in ("refused", "crashed", "timed_out")
    ]
    found = results_of([run_of(*cut, record_line("deviates", 9.0, of="stability.full", grade="O"))])
    assert [row.grade for row in found.cells] == ["", "", "", "O"]
    assert [each.grade for each in found.grades] == ["O"]
    assert results_of([run_of(*cut)]).grades == ()


def test_an_environment_that_failed_says_why() -> None:
    """Not built is not the same as not started."""
    failed = document()["environments"][-1]
    assert (failed["id"], failed["fault"], failed["failed"]) == ("tensorflow", "not built", "no such wheel")


def test_a_cell_of_the_second_run_refers_to_the_environment_of_that_run() -> None:
    """Two runs may name an environment alike."""
    first = run_of(record_line(), name="a.jsonl")
    second = run_of(record_line(of="a.two"), environments=(environment_line(version="2.12.0"),), name="b.jsonl")
    found = results_of([first, second])
    versions = [found.environments[row.environment].versions["torch"] for row in found.cells]
    assert versions == ["2.13.0", "2.12.0"]
    assert [each.run for each in found.environments] == [0, 1]


def test_the_definition_of_a_case_follows_from_its_data_and_not_from_its_words() -> None:
    """Another title is the same case; another seed is not."""
    steps = [{"step": "infer", "input": {"kind": "ramp", "start": 2.0}}]
    variants = [case_line(), case_line(title="Other words", clauses=["1.1"], source="x"), case_line(steps=steps)]
    one, reworded, other = (results_of([run_of(record_line(), cases=(each,))]).cases[0].definition for each in variants)
    assert one == reworded
    assert one != other


@pytest.mark.parametrize(("field", "empty"), [("input_dtype", None), ("upstream_memory", None), ("options", {})])
def test_a_case_is_the_same_as_before_its_configuration_had_a_field_that_says_nothing(field: str, empty: Any) -> None:
    lacking = case_line()
    configuration = {name: value for name, value in lacking["configuration"].items() if name != field}
    saying_nothing, before = {**configuration, field: empty}, configuration
    definitions = {
        results_of([run_of(record_line(), cases=({**lacking, "configuration": one},))]).cases[0].definition
        for one in (saying_nothing, before)
    }
    assert len(definitions) == 1


def test_runs_that_do_not_belong_together_are_refused() -> None:
    """The same cell twice, another spec, or a run that did not end."""
    run = run_of(record_line(), name="a.jsonl")
    with pytest.raises(UsageError, match=r"b\.jsonl: the cell a\.one::torch.* is in a\.jsonl too"):
        results_of([run, run_of(record_line(), name="b.jsonl")])
    with pytest.raises(UsageError, match="one report shows one spec"):
        results_of([run, run_of(record_line(of="a.two"), name="b.jsonl", spec="other")])
    with pytest.raises(UsageError, match="is no complete run"):
        results_of([run_of(record_line(), planned=2)])


def test_a_partial_run_says_so() -> None:
    """Where it is wanted."""
    found = results_of([run_of(record_line(), planned=2)], partial=True)
    assert (found.complete, found.runs[0].planned, found.runs[0].recorded) == (False, 2, 1)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Plain and compressed."""
    results = varied()
    plain, packed = tmp_path / "results.json", tmp_path / "results.json.gz"
    plain.write_text(text_of(results), encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(plain) == read(packed) == results


def test_the_same_runs_are_the_same_bytes_in_whatever_order_they_are_given() -> None:
    """By their start and name."""
    runs = [run_of(record_line(of=f"a.{name}"), name=f"{name}.jsonl") for name in "abc"]
    assert text_of(results_of(runs)) == text_of(results_of(runs[::-1]))


def test_the_document_obeys_its_schema() -> None:
    """And the schema is a valid one."""
    jsonschema.Draft202012Validator.check_schema(results_schema())
    jsonschema.Draft202012Validator(results_schema()).validate(document())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 3),
        ("suite", None),
        ("extra", 1),
        ("cells", [[0, 0, 0, "splendid", "agrees", 0.1, 0.1, 0, ""]]),
        ("cells", [[0, 0, 0, "conforms", "agrees", 0.1, 0.1, 0]]),
        ("cells", [["0", 0, 0, "conforms", "agrees", 0.1, 0.1, 0, ""]]),
        ("cells", [[0, 0, 0, "conforms", "agrees", "inf", 0.1, 0, ""]]),
    ],
)
def test_the_schema_and_the_reader_refuse_the_same(key: str, value: Any) -> None:
    """A wrong shape, in one line."""
    wrong = {**document(), key: value}
    assert not jsonschema.Draft202012Validator(results_schema()).is_valid(wrong)
    assert refusal(wrong).startswith("old.json: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "old.json: results of format 9; this version reads formats 1 and 2"),
        ({"format": "1"}, "old.json: no results of a conformance report"),
        ({"reasons": []}, "old.json: reasons: expected as many as texts"),
        ({"cells": [[99, 0, 0, "conforms", "agrees", 0.1, 0.1, 0, ""]]}, "old.json: cells: "),
        ({"cells": [[0, 0, 0, "conforms", "agrees", 0.1, 0.1, -1, ""]]}, "old.json: cells: "),
        ({"cells": [[0, 0, 0, "conforms", "agrees", 0.1, 0.1, 0, ""]] * 2}, "old.json: the cell a.two::torch"),
        ({"grades": [{"column": 0, "dtype": "float32", "grade": "A", "case": 9}]}, "old.json: grades: "),
    ],
)
def test_what_cannot_be_meant_is_told(change: dict[str, Any], message: str) -> None:
    """Another format first; then what refers to nothing, and what is there twice."""
    assert refusal({**document(), **change}).startswith(message)


def test_results_of_the_first_format_are_read_and_have_no_reasons() -> None:
    """They tell of causes in words alone."""
    first = {name: value for name, value in document().items() if name != "reasons"} | {"format": 1}
    assert parse(json.dumps(first).encode(), "old.json").reasons == ()


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"{}", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_results_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    """Whatever it is."""
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: no")
    assert "\n" not in str(caught.value)


def test_a_compressed_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    """In one line."""
    path = tmp_path / "results.json.gz"
    path.write_bytes(gzip.compress(text_of(varied()).encode())[:-20])
    with pytest.raises(UsageError, match="not whole"):
        read(path)


def test_text_that_is_no_unicode_does_not_spoil_the_document() -> None:
    """A framework's message may hold anything."""
    found = results_of([run_of(record_line("deviates", diagnosis='lone \udc80 "quoted" </script>'))])
    assert parse(text_of(found).encode(), "x").texts[1] == 'lone \\udc80 "quoted" </script>'


def test_a_cell_takes_less_than_a_hundred_bytes() -> None:
    """So that 100,000 of them stay below ten megabytes."""
    records = [record_line(of=f"a.case-{number}", score=0.123456789) for number in range(1000)]
    rows = [row for row in text_of(results_of([run_of(*records)])).splitlines() if row.startswith("[")]
    assert len(rows) == 1000
    assert max(map(len, rows)) < 100

"""What a person hands over as a run file: typed lines, or one line that says what is wrong with it."""

from __future__ import annotations

import gzip
import json
import lzma
import math
import os
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.runfile.cause_text import alternatives_text, diagnosis_text
from conformance.runfile.compression import content
from conformance.runfile.format_1 import call_from
from conformance.runfile.numbers import finite, not_finite, number, number_from
from conformance.runfile.reading import parse, read, read_all
from conformance.runfile.structs import FORMAT, NativeCall
from conformance.verdict import Standing
from tests.run_lines import TORCH, case_line, environment_line, header_line, raw_of, record_line, run_of, write_run

NAME = Path("run.jsonl")
HEADER = {"kind": "header", "format": FORMAT, "suite": "1", "spec": "x", "planned": 1, "narrowed": False}
LINES: list[tuple[str, dict[str, Any]]] = [
    ("header", header_line(planned=1)),
    ("environment", environment_line()),
    ("case", case_line()),
    ("record", record_line()),
    ("footer", {"recorded": 1, "ended": True}),
]


def refusal(raw: bytes) -> str:
    with pytest.raises(UsageError) as caught:
        parse(raw, NAME)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_run_killed_at_any_byte_is_read(cut: int) -> None:
    run = parse(raw_of(LINES)[:-cut], NAME)
    assert len(run.records) == 1
    assert not run.complete


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: not a run file: its first line is no header"),
        ("- id: fam.one\n", ":1: not JSON: "),
        ("[1, 2]\n", ":1: expected `object`"),
        ('{"a": 1}\n', ":1: not a run file: its first line is no header"),
        ('{"kind": "record", "cell": "a"}\n', ":1: not a run file: its first line is no header"),
        ('{"kind": "header", "format": 99, "planned": 1}\n', f":1: format 99, expected 1 or {FORMAT}"),
        ('{"kind": "header", "planned": 1}\n', f":1: format None, expected 1 or {FORMAT}"),
        (json.dumps({**HEADER, "planned": "1"}) + "\n", ":1: expected `int`, got `str` - at `$.planned`"),
        (json.dumps({**HEADER, "plan": 1}) + "\n", ":1: object contains unknown field `plan`"),
        (json.dumps(HEADER) + "\nbroken\n", ":2: not JSON: "),
        (json.dumps(HEADER) + '\n{"kind": "record"}\n', ":2: object missing required field `cell`"),
        (json.dumps(HEADER) + '\n{"kind": "verdict"}\n', ":2: invalid value 'verdict' - at `$.kind`"),
        (json.dumps(HEADER) + "\n" + "[" * 100_000 + "]" * 100_000 + "\n", ":2: "),
        (json.dumps(HEADER) + '\n{"kind": "footer", "recorded": NaN, "ended": true}\n', ":2: not JSON"),
        ("\x80\x81\n", ":1: not JSON"),
    ],
)
def test_what_is_no_run_file_is_refused_in_one_line(text: str, message: str) -> None:
    assert refusal(text.encode("latin-1")).startswith(f"{NAME}{message}")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([*LINES, LINES[0]], "has 2 headers and 1 footers"),
        ([*LINES, LINES[-1]], "has 1 headers and 2 footers"),
        ([*LINES, LINES[1]], "the environment torch is recorded twice"),
        ([*LINES, LINES[2]], "the case a.one is recorded twice"),
        ([*LINES, LINES[3]], f"the cell a.one::{TORCH}-eager-cpu is recorded twice"),
        ([*LINES[:1], *LINES[2:]], "is of no case or environment in that file"),
        ([*LINES[:2], *LINES[3:]], "is of no case or environment in that file"),
        ([LINES[0], ("environment", environment_line(failed="x")), *LINES[2:]], "is of no case or environment"),
        ([*LINES[:3], ("record", {**record_line(), "cell": "b::x"})], "the cell b::x is that of a.one on"),
        ([("header", header_line(planned=1, throughput={"planned": 1})), *LINES[1:]], "a run does one of the two"),
        ([LINES[0], ("environment", {"id": "x"})], "has no library and did not fail"),
    ],
)  # fmt: skip
def test_lines_that_contradict_one_another_are_refused(changed: list[tuple[str, Any]], message: str) -> None:
    assert message in refusal(raw_of(changed))


@pytest.mark.parametrize("causes", [{}, {"c": {"words": "{lacking}"}}, {"c": {"words": "open {"}}])
def test_a_cause_without_words_that_its_parameters_fill_is_refused(tmp_path: Path, causes: dict[str, Any]) -> None:
    lines = [json.loads(line) for line in write_run(run_of(record_line()), tmp_path).read_text().splitlines()]
    lines[0]["causes"] = causes
    lines[3]["diagnosis"] = [[{"id": "c", "parameters": {"given": 1}}]]
    assert "its cause c" in refusal("".join(f"{json.dumps(line)}\n" for line in lines).encode())


def test_an_absent_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read: No such file or directory$"):
        read(tmp_path / "run.jsonl")


def test_a_folder_stands_for_its_run_files(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_run(run_of(record_line(of=f"{name}.x"), name=f"{name}.jsonl"), tmp_path)
    (tmp_path / "notes.txt").write_text("no run")
    assert [run.path.name for run in read_all([tmp_path])] == ["a.jsonl", "b.jsonl"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no run file"):
        read_all([tmp_path / "empty"])


@pytest.mark.parametrize(
    ("sentence", "id_", "parameters"),
    [
        ("has dtype float32, expected float64 or float16", "wrong-dtype", {"dtype": "float32", "expected": "float64 or float16"}),
        ("has shape (8, 1), expected (8,)", "wrong-shape", {"shape": "(8, 1)", "expected": "(8,)"}),
        ("was not given", "not-given", {}),
        ("differs from step 2, which had the same input and state", "differs-from-step", {"step": 2}),
        ("the step wrote to its caller's input", "caller-array-overwritten", {"array": "input"}),
        ("3 values are NaN or infinite that must be finite and 2 values are finite that must be NaN or infinite", "not-finite-and-finite", {"lost": 3, "found": 2}),
        ("outside the bound of float32 arithmetic; that of float16 admits anything", "narrower-arithmetic-admits-anything", {"wider": "float32", "narrower": "float16"}),
        ("unexplained: x is 2·y; which", "unexplained", {"weights": "x is 2·y; which"}),
        ("epsilon outside the root", "as-recorded", {}),
    ],
)  # fmt: skip
def test_a_sentence_of_format_1_is_a_cause_that_keeps_it(sentence: str, id_: str, parameters: dict[str, Any]) -> None:
    step = record_line("deviates")["steps"][0]
    quantity = {**step["quantities"][0], "reason": sentence}
    diagnosis = f"decay inverted; {sentence}"
    run = run_of(record_line("deviates", diagnosis=diagnosis, steps=[{**step, "quantities": [quantity]}]))
    (record,), words = run.records, run.header.causes
    (cause,) = record.steps[0].quantities[0].causes
    assert (cause.id, cause.parameters) == (id_, {"text": sentence, **parameters})
    assert alternatives_text((cause,), words) == sentence
    assert [explanation[0].id for explanation in record.diagnosis] == ["as-recorded", id_]
    assert record.diagnosis[1][0].quantities == ("output",)
    assert diagnosis_text(record.diagnosis, words) == diagnosis


@pytest.mark.parametrize(
    ("status", "verdict", "standing"),
    [
        ("passed", "conforms", Standing.AGREES), ("passed", "refused", Standing.DOCUMENTED),
        ("skipped", "unsupported", Standing.APART), ("xfailed", "deviates", Standing.KNOWN),
        ("failed", "exact", Standing.UNEXPECTED),
    ],
)  # fmt: skip
def test_what_pytest_was_told_in_format_1_is_a_standing(status: str, verdict: str, standing: Standing) -> None:
    (record,) = run_of(record_line(verdict, status=status)).records
    assert (record.standing, record.known) == (standing, status == "xfailed")


def test_a_call_that_format_1_wrote_is_data_and_the_same_text() -> None:
    text = "torch.nn.functional.batch_norm(…, eps=0.001, names=('a', ')'), device=g(1))"
    call = call_from(text)
    keywords = {"eps": "0.001", "names": "('a', ')')", "device": "g(1)"}
    assert call == NativeCall(path="torch.nn.functional.batch_norm", keywords=keywords, function=True)
    assert call is not None
    assert call.text == text


@pytest.mark.parametrize("text", ["no call at all", "f(\x00)", "(((", "f(**{'a': 1})", "f(1)", "f"])
def test_what_is_no_call_is_refused(text: str) -> None:
    assert "is no call" in refusal(raw_of([*LINES[:3], ("record", record_line(call=text))]))


def test_a_lone_surrogate_is_read_as_its_escape() -> None:
    """Which a framework's message may hold, and no Unicode text."""
    (record,) = run_of(record_line("deviates", diagnosis="lone \udc80")).records
    assert record.diagnosis[0][0].parameters["text"] == "lone \\udc80"


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (0.1, 0.1), (None, None)]
)
def test_a_number_that_json_lacks_is_text_and_comes_back(value: float | None, text: object) -> None:
    assert number(value) == text
    assert repr(number_from(number(value))) == repr(value)
    assert repr(not_finite(finite({"a": [value]}))) == repr({"a": [value]})


@pytest.mark.parametrize(("pack", "name"), [(lzma.compress, "a.xz"), (gzip.compress, "a.gz")])
def test_what_is_compressed_is_unfolded_up_to_a_limit(tmp_path: Path, pack: Any, name: str) -> None:
    """Some kilobytes may stand for more than a machine holds."""
    file = tmp_path / name
    file.write_bytes(pack(b"one") + pack(bytes(200)))
    assert content(file) == b"one" + bytes(200)
    with pytest.raises(UsageError, match="unfolds to more than 150 bytes"):
        content(file, limit=150)
    file.write_bytes(pack(bytes(200))[:-9])
    with pytest.raises(UsageError, match="not whole"):
        content(file)


def test_what_unfolds_to_far_more_than_any_run_file_is_refused_while_it_does(tmp_path: Path) -> None:
    """Half a megabyte may stand for gigabytes: what it would be is never held."""
    file = tmp_path / "bomb.xz"
    file.write_bytes(lzma.compress(bytes(64 * 2**20), preset=0))
    with pytest.raises(UsageError, match="unfolds to more than 16,777,216 bytes"):
        content(file)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A pipe has no end until somebody writes to it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a device or a pipe"):
        content(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a folder"):
        content(tmp_path)

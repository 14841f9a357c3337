"""`conformance compare`: what it reads, what it writes, and what it exits with."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conformance import cli
from conformance.compare.command import Form
from conformance.files.json_text import text_of
from conformance.runfile.results import results_of
from conformance.runfile.run import Run
from tests.run_lines import record_line, run_of, strict, write_run
from tests.run_pairs import PAIRS

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(name="command")
def _command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command with those words: exit code, output, errors."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["conformance", "compare", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return run


def written(name: str, folder: Path) -> tuple[Path, Path]:
    """Write the pair of that name and return the files."""
    base, new = PAIRS[name]
    return (
        write_run(replace(base, path=Path("base.jsonl")), folder),
        write_run(replace(new, path=Path("new.jsonl")), folder),
    )


def published(run: Run, path: Path) -> Path:
    """Write the results of the run to the path and return it."""
    content = text_of(results_of([run], partial=True)).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    ("name", "code"),
    [("nothing", 0), ("drift", 0), ("conforms-deviates", 1), ("cell-gone", 1), ("dialect-conforms", 1)],
)
def test_a_regression_is_exit_code_one(command: Command, tmp_path: Path, name: str, code: int) -> None:
    """Anything else that is told is none."""
    base, new = written(name, tmp_path)
    assert command("--base", base, "--new", new)[0] == code


def test_a_run_against_itself_says_one_line(command: Command, tmp_path: Path) -> None:
    """And exits 0."""
    base, _ = written("nothing", tmp_path)
    assert command("--base", base, "--new", base) == (0, "Nothing changed: 2 cells compared.\n", "")


def test_what_fails_can_be_widened_and_the_limits_of_drift_set(command: Command, tmp_path: Path) -> None:
    """By options that repeat."""
    base, new = written("drift", tmp_path)
    both = ["--base", base, "--new", new]
    assert command(*both, "--fail-on", "exactness", "--fail-on", "drift")[0] == 1
    assert command(*both, "--fail-on", "drift", "--drift-factor", "4.5")[0] == 0
    assert command(*both, "--fail-on", "drift", "--drift-floor", "0.6")[0] == 0


def test_the_policy_is_stated_where_help_is(command: Command) -> None:
    """With every word that --fail-on takes."""
    code, out, _ = command("--help")
    told = " ".join(out.split())
    assert code == 0
    assert all(word in told for word in ("13.4", "Moved", "(drift)", "(exactness)", "(appeared)", "(vanished)"))


def test_the_formats_say_the_same(command: Command, tmp_path: Path) -> None:
    """For a terminal, a pull request, a program."""
    base, new = written("conforms-deviates", tmp_path)
    both = ["--base", base, "--new", new, "--format"]
    assert "epsilon outside the root" in command(*both, "text")[1]
    assert "<code>epsilon outside the root</code>" in command(*both, "markdown")[1]
    document = strict(command(*both, "json")[1])
    assert document["changes"][0]["what"] == "epsilon outside the root"
    assert document["base"]["files"] == ["base.jsonl"]


def test_the_same_two_runs_are_the_same_bytes(command: Command, tmp_path: Path) -> None:
    """In every format."""
    base, new = written("versions-and-settings", tmp_path)
    for form in Form:
        both = ["--base", base, "--new", new, "--format", form.value]
        assert command(*both) == command(*both)


def test_run_files_folders_and_published_results_compare_alike(command: Command, tmp_path: Path) -> None:
    """A side is any of them."""
    base, new = PAIRS["conforms-deviates"]
    (tmp_path / "folder").mkdir()
    places = [
        write_run(new, tmp_path),
        write_run(new, tmp_path / "folder").parent,
        published(new, tmp_path / "old-results.json"),
        published(new, tmp_path / "results.json.gz"),
        published(new, tmp_path / "site" / "results.json").parent,
    ]
    first = write_run(replace(base, path=Path("base.jsonl")), tmp_path)
    outputs = {command("--base", first, "--new", place, "--format", "json") for place in places}
    assert len(outputs) == 1


def test_a_side_may_be_several_run_files(command: Command, tmp_path: Path) -> None:
    """That share no cell."""
    one = write_run(run_of(record_line(), name="one.jsonl"), tmp_path)
    two = write_run(run_of(record_line(of="a.two"), name="two.jsonl"), tmp_path)
    assert command("--base", one, "--base", two, "--new", tmp_path)[1] == "Nothing changed: 2 cells compared.\n"
    code, _, errors = command("--base", one, "--base", one, "--new", two)
    assert (code, errors.count("\n")) == (2, 1)
    assert "is in" in errors


def test_a_partial_run_is_refused_unless_it_is_asked_for(command: Command, tmp_path: Path) -> None:
    """As a run file and as published results."""
    base, new = written("partial", tmp_path)
    packed = published(PAIRS["partial"][1], tmp_path / "new.json")
    for each in (new, packed):
        code, out, errors = command("--base", base, "--new", each)
        assert (code, out, errors.count("\n")) == (2, "", 1)
        assert "--partial" in errors
        assert command("--base", base, "--new", each, "--partial")[0] == 0


def test_the_file_appears_whole_or_not_at_all(command: Command, tmp_path: Path) -> None:
    """With nothing beside it, and an old one kept where there is nothing to write."""
    base, new = written("drift", tmp_path)
    out = tmp_path / "deep" / "comparison.json"
    assert command("--base", base, "--new", new, "--format", "json", "--out", out)[:2] == (0, "")
    before = out.read_bytes()
    assert json.loads(before)["changes"]
    assert command("--base", base, "--new", tmp_path / "absent.jsonl", "--out", out)[0] == 2
    assert out.read_bytes() == before
    assert [each.name for each in out.parent.iterdir()] == [out.name]


def test_a_file_where_a_folder_must_be_is_told_in_one_line(command: Command, tmp_path: Path) -> None:
    """With exit code 2."""
    base, new = written("drift", tmp_path)
    code, _, errors = command("--base", base, "--new", new, "--out", base / "x.json")
    assert (code, errors.count("\n")) == (2, 1)
    assert "cannot be written" in errors


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.json",
            b'{"format": 9, "cell_fields": [], "cells": []}',
            "results of format 9; this version reads formats 1 and 2",
        ),
        ("x.json", b"{}", "no results of a conformance report"),
        ("x.jsonl", b"{}\n", "not a run file: its first line is no header"),
        ("x.txt", b"hello\n", "not JSON"),
        ("x.json.gz", b"\x1f\x8b\x08", "not whole"),
    ],
)
def test_what_is_no_run_is_one_line_and_exit_code_two(
    command: Command, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """It names the file."""
    path = tmp_path / name
    path.write_bytes(content)
    code, out, errors = command("--base", path, "--new", path)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert str(path) in errors
    assert message in errors


@pytest.mark.parametrize("words", [["--drift-factor", "nan"], ["--drift-factor", "0.5"], ["--drift-floor", "inf"], ["--fail-on", "x"]])  # fmt: skip
def test_a_limit_that_cannot_be_is_refused(command: Command, tmp_path: Path, words: list[str]) -> None:
    """With exit code 2."""
    base, new = written("drift", tmp_path)
    code, out, _ = command("--base", base, "--new", new, *words)
    assert (code, out) == (2, "")


def test_published_results_stand_alone(command: Command, tmp_path: Path) -> None:
    """They cannot be joined with others."""
    base, new = written("drift", tmp_path)
    packed = published(PAIRS["drift"][0], tmp_path / "results.json")
    code, _, errors = command("--base", packed, "--base", base, "--new", new)
    assert (code, errors.count("\n")) == (2, 1)
    assert "stand alone" in errors


def test_two_runs_with_nothing_in_common_are_exit_code_two(command: Command, tmp_path: Path) -> None:
    """Silence would look like no regression."""
    one = write_run(run_of(record_line(), name="one.jsonl"), tmp_path)
    two = write_run(run_of(record_line(of="a.two"), name="two.jsonl"), tmp_path)
    code, _, errors = command("--base", one, "--new", two)
    assert (code, errors.count("\n")) == (2, 1)
    assert "nothing to compare" in errors

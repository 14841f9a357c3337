"""How far a run is, read from the file that it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.errors import SuiteError, UsageError
from conformance.regression.running import recorded, run_cells
from tests.run_lines import record_line, run_of, write_run


def test_a_run_is_as_far_as_its_file(tmp_path: Path) -> None:
    """A line that is half written is none yet."""
    whole = write_run(run_of(*(record_line(of=f"a.{name}") for name in "abc")), tmp_path).read_bytes()
    file, lines = tmp_path / "growing.jsonl", whole.splitlines(keepends=True)
    first = next(place for place, line in enumerate(lines) if b'"record"' in line)
    so_far = recorded(file)
    assert next(so_far) == (0, 0)
    file.write_bytes(b"".join(lines[: first + 1]) + lines[first + 1][:20])
    assert next(so_far) == (1, 3)
    file.write_bytes(whole)
    assert next(so_far) == (3, 3)


@pytest.mark.parametrize(
    ("code", "said", "error"),
    [
        (2, "error: --mode x: no such mode", "^--mode x: no such mode$"),
        (3, "the plan broke", r"run.jsonl ended with code 3: the plan broke"),
    ],
)
def test_a_run_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str, error: str
) -> None:
    pretend(monkeypatch, tmp_path, code, said)
    with pytest.raises((UsageError, SuiteError), match=error):
        run_cells(tmp_path / "run.jsonl", (), (), lambda *_: None)


def test_a_run_that_selects_nothing_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tmp_path, 2, "error: nothing selected")
    assert not run_cells(tmp_path / "run.jsonl", (), (), lambda *_: None)


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, code: int, said: str) -> None:
    """Put a program in the place of Python that says that and ends with that code."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

"""What `--python` names is asked whether it is an interpreter, before any work."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.run.programs import check_interpreters, complaint_of


def program(folder: Path, text: str, mode: int = 0o755) -> str:
    file = folder / "python"
    file.write_text(text)
    file.chmod(mode)
    return str(file)


def test_an_interpreter_is_one(tmp_path: Path) -> None:
    assert complaint_of(sys.executable) == ""
    assert complaint_of(program(tmp_path, f'#!/bin/sh\nexec {sys.executable} "$@"\n')) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("garbage\n", "cannot be run: Exec format error"),
        ("", "cannot be run: Exec format error"),
        ("\x7fELF\x02\x01\x01", "cannot be run: Exec format error"),
        ("#!/nowhere/python\n", "cannot be run: No such file or directory"),
        ("#!/bin/sh\nexit 0\n", "does not answer as one"),
        ("#!/bin/sh\nwhile :; do echo python; done\n", "does not answer as one"),
        ("#!/bin/sh\necho python 2 7\n", "is Python 2.7, expected 3.11 or newer"),
    ],
)
def test_another_program_is_told(text: str, said: str, tmp_path: Path) -> None:
    assert said in complaint_of(program(tmp_path, text))


def test_a_program_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    started = time.monotonic()
    assert "does not answer" in complaint_of(program(tmp_path, "#!/bin/sh\nsleep 60\n"), seconds=0.2)
    assert time.monotonic() - started < 30


def test_a_folder_a_text_and_nothing_are_no_programs(tmp_path: Path) -> None:
    text = program(tmp_path, "print()\n", mode=0o644)
    assert {complaint_of(path) for path in (str(tmp_path), text, str(tmp_path / "absent"))} == {"no interpreter there"}


def test_the_option_is_told_with_what_is_wrong_with_it(tmp_path: Path) -> None:
    garbage = program(tmp_path, "garbage\n")
    with pytest.raises(UsageError, match=f"--python torch={garbage}: expected a Python interpreter"):
        check_interpreters({"torch": garbage})

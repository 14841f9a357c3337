"""`conformance check` accepts what is in order, and tells what is not in one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.own_cases import OWN
from tests.command_line import inside


def test_check_accepts_the_shipped_spec(tmp_path: Path) -> None:
    """The spec, its published numbers and its divergences are in order."""
    found = inside("check", folder=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")


def test_a_wrong_spec_file_is_one_line_with_its_place(tmp_path: Path) -> None:
    """File, line, column, key, and exit code 2; no traceback."""
    (tmp_path / "bad.yaml").write_text("- id: bad.one\n  titel: A title that is long enough\n")
    found = inside("check", "bad.yaml", folder=tmp_path)
    assert found.returncode == 2
    assert "bad.yaml:2:3: titel: unknown key; did you mean title?" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("edges.yaml", OWN.replace("own.", "edges."), "edges.yaml:1:1: 'edges' is a family of the shipped cases"),
        ("own.yaml", OWN.replace("decay", "momentum"), "own.yaml:8:3: momentum: unknown key; here it is decay"),
        ("own.yaml", OWN + OWN, "own.yaml:12:3: id: 'own.drift' is also the id at own.yaml:1:3"),
    ],
)
def test_an_own_file_that_cannot_be_meant_is_one_line(
    command: str, name: str, text: str, said: str, tmp_path: Path
) -> None:
    """The same line whether it is checked or run."""
    (tmp_path / name).write_text(text)
    found = inside(command, name, folder=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith(f"error: {said}")
    assert found.stderr.count("\n") == 1


def test_numbers_that_agree_with_too_much_are_warned_of(tmp_path: Path) -> None:
    """The check passes all the same."""
    expected = '  expected: [{step: 1, quantity: moving_mean, values: ["0.4", "0.5"]}]\n'
    (tmp_path / "own.yaml").write_text(OWN + expected)
    found = inside("check", "own.yaml", folder=tmp_path)
    assert (found.returncode, found.stderr.count("warning: own.yaml:1:3: own.drift: published moving_mean")) == (0, 1)

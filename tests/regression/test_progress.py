"""The line of a phase, in a pipe and on a terminal."""

from __future__ import annotations

import re

import pytest

from conformance.regression.progress import phase


def test_in_a_pipe_a_phase_is_one_line_that_begins_when_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with phase("cells") as running:
        assert capsys.readouterr().err == "cells: "
        running.reached(3, 9)
        running.outcome = "9 run"
    assert re.fullmatch(r"9 run \(\d+ s\)\n", capsys.readouterr().err)


def test_on_a_terminal_a_phase_shows_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with phase("[cells]") as running:
        running.reached(3, 9)
        running.outcome = "9 run"
    shown = capsys.readouterr().err
    assert "[cells]: 3 of 9 cells" in shown
    assert re.search(r"\[cells\]: 9 run \(\d+ s\)\n$", shown)


def test_a_phase_that_ends_by_an_error_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), phase("cells"):
        raise ValueError("no")
    assert re.fullmatch(r"cells: stopped \(\d+ s\)\n", capsys.readouterr().err)

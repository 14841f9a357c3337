"""Spoiled case files, answers and command lines end in an answer or a refusal; what once did not is here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.worker.wire import encode
from tests.mutated_inputs.attempts import attempts
from tests.mutated_inputs.command_lines import run_line
from tests.mutated_inputs.frames import take_frame

#: More characters than a file system takes.
LONG = "x" * 400
COUNTS = {"specs": 60, "frames": 400, "lines": 60}


@pytest.mark.parametrize("kind", COUNTS)
def test_no_spoiled_input_ends_in_a_traceback(kind: str) -> None:
    failures = [f"{spoiled!r}\n{failure}" for spoiled, failure, _ in attempts(kind, 2, COUNTS[kind]) if failure]
    assert failures == []


def frame(text: str) -> bytes:
    """Return a frame of that JSON text."""
    raw = text.encode()
    return (8 + len(raw)).to_bytes(8, "little") + len(raw).to_bytes(8, "little") + raw


@pytest.mark.parametrize(
    "spoiled",
    [
        # More bytes than a number of the machine counts.
        frame('{"$array": ["float32", [4294967296, 4294967296, 4294967296]]}'),
        (8).to_bytes(8, "little") + (2**64 - 1).to_bytes(8, "little"),
        # A time of more digits than a float has.
        frame(f'{{"quantities": {{}}, "state": {{}}, "seconds": {10**400}}}'),
    ],
)
def test_an_answer_that_once_ended_the_run_is_no_frame(spoiled: bytes, tmp_path: Path) -> None:
    take_frame(b"step\n" + spoiled, tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["publish", LONG],
        ["report", LONG, "--out", "x"],
        ["compare", "--base", LONG, "--new", "x"],
        ["run", "--adapter", f"{LONG}.py:ADAPTER"],
        ["run", "--python", f"torch={LONG}"],
    ],
    ids=lambda words: words[0],
)
def test_a_name_longer_than_any_file_has_is_refused(words: list[str], tmp_path: Path) -> None:
    run_line(json.dumps(words).encode(), tmp_path)


def test_a_declaration_that_holds_half_a_character_is_refused(tmp_path: Path) -> None:
    take_frame(b"offer\n" + encode(json.loads('{"library": "\\ud800", "versions": {}}')), tmp_path)

"""The page about explanations shows what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.answers.explained import explain

PAGE = Path(__file__).parents[2] / "docs" / "explaining.md"
SHOWN = re.findall(
    r"^```console\n\$ conformance explain (.+?)\n(.+?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("command", "lines"), SHOWN, ids=[command[:40] for command, _ in SHOWN])
def test_every_line_shown_is_one_that_the_command_prints(command: str, lines: str) -> None:
    printed = explain(*shlex.split(command)).out.splitlines()
    assert [line for line in lines.splitlines() if line not in printed] == []


def test_there_are_commands_to_look_at() -> None:
    assert len(SHOWN) == 5

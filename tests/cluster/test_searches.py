"""A search on a cluster finds what one on this machine finds, and goes on with what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.loopback import PLANTED, ran
from tests.command_line import inside

pytest.importorskip("distributed")

WORDS = ("--adapter", PLANTED, "--implementation", "planted.epsilon_twice", "--shrinking", "1", "--out", "finds")
FOUND = "found-planted-epsilon-twice-epsilon-twice.yaml"


def search(folder: Path, *words: str) -> tuple[int, str]:
    return ran(folder, *WORDS, *words, command="fuzz")


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory, cluster: Any) -> Path:
    """Return a folder with what was found there."""
    folder = tmp_path_factory.mktemp("search")
    code, output = search(folder, "--examples", "12", "--scheduler", cluster.address)
    assert code == 1, output
    assert output.count("epsilon twice") == 1, output
    return folder


def test_a_planted_fault_is_found_there_and_written_here(folder: Path) -> None:
    assert (folder / "finds" / FOUND).is_file()
    (told,) = json.loads((folder / "finds" / "search.json").read_text())["processes"]
    assert (told["worker"], told["cases"] >= 12) == ("planted", True)
    assert ("epsilon-twice", True) in [(find["cause"], find["replays"]) for find in told["finds"]]
    assert told["exercised"]["operation"].keys() == {"batch_norm"}


def test_what_was_found_there_replays_here(folder: Path) -> None:
    words = (f"finds/{FOUND}", "--adapter", PLANTED, "--implementation", "planted.epsilon_twice")
    code, output = ran(folder, *words, "--out", "replay.jsonl")
    assert code == 1
    assert "epsilon twice" in output


def test_what_an_earlier_search_found_is_told_again_there_and_not_searched_for(folder: Path, cluster: Any) -> None:
    before = (folder / "finds" / FOUND).read_bytes()
    code, output = search(folder, "--examples", "3", "--scheduler", cluster.address)
    assert code == 1, output
    assert "still found: " in output
    assert output.count("epsilon twice") == 1
    assert (folder / "finds" / FOUND).read_bytes() == before


def test_two_are_held_against_each_other_there(tmp_path: Path, cluster: Any) -> None:
    words = ("--against", "planted.nothing", "--examples", "12", "--scheduler", cluster.address)
    code, output = search(tmp_path, *words)
    assert code == 1, output
    finds = json.loads((tmp_path / "finds" / "search.json").read_text())["processes"][0]["finds"]
    assert ("planted.nothing", "epsilon-twice") in [(find["against"], find["cause"]) for find in finds]


def test_an_interpreter_is_of_a_search_on_this_machine(tmp_path: Path) -> None:
    ended = inside("fuzz", "--python", "torch=x", "--scheduler", "tcp://127.0.0.1:1", folder=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.startswith("error: --python: is of a run on this machine")

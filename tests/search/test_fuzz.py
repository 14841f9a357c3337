"""`conformance fuzz` from the command line: what it leaves, what it returns, and that what it left replays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.search.fuzz import share_of
from conformance.search.hunt import Effort
from conformance.spec.locations import root
from tests.command_line import inside

NUMPY = root() / "adapters" / "numpy" / "batch_norm.py"
#: As docs/writing-a-case.md has it.
RIGHT, WRONG = "decay * old + (1 - decay) * batch", "(1 - decay) * old + decay * batch"


def conformance(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "conformance", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a faulty adapter, searched for a moment."""
    folder = tmp_path_factory.mktemp("fuzz")
    text = NUMPY.read_text()
    assert RIGHT in text
    (folder / "faulty.py").write_text(text.replace(RIGHT, WRONG))
    searched = fuzz(folder)
    assert searched.returncode == 1, searched.stderr
    assert "decay inverted" in searched.stdout
    return folder


def fuzz(folder: Path) -> subprocess.CompletedProcess[str]:
    words = ("--examples", "20", "--shrinking", "4", "--out", "finds", "--implementation", "numpy.BatchNorm")
    return conformance(folder, "fuzz", "--adapter", "faulty.py:ADAPTER", *words)


CASE = "finds/found-numpy-batchnorm-decay-inverted.yaml"


def test_a_find_replays_from_its_case(folder: Path) -> None:
    words = ("--adapter", "faulty.py:ADAPTER", "--implementation", "numpy.BatchNorm", "--out", "replay.jsonl")
    replayed = conformance(folder, "run", CASE, *words)
    assert replayed.returncode == 1, replayed.stderr
    assert "decay inverted" in replayed.stdout


def test_a_find_s_script_shows_it_without_the_suite(folder: Path) -> None:
    script = (folder / CASE).with_suffix(".py")
    assert "conformance" not in [line.split()[1] for line in script.read_text().splitlines() if "import " in line[:7]]
    ended = subprocess.run([sys.executable, str(script)], cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr


def test_a_search_goes_on_with_what_it_found(folder: Path) -> None:
    before = (folder / CASE).read_bytes()
    again = fuzz(folder)
    assert again.returncode == 1
    assert "still found" in again.stdout
    assert (folder / CASE).read_bytes() == before


def test_a_search_tells_what_it_exercised_and_what_not(folder: Path) -> None:
    (told,) = json.loads((folder / "finds" / "search.json").read_text())["processes"]
    assert told["cells"] > 0
    assert told["exercised"]["operation"].keys() == {"batch_norm"}
    assert "22.1" in told["not_exercised"]["clauses"]
    assert any(find["cause"] == "decay-inverted" and find["replays"] for find in told["finds"])


def test_nothing_found_is_exit_code_0(tmp_path: Path) -> None:
    words = ("--examples", "5", "--implementation", "numpy.Centering")
    ended = conformance(tmp_path, "fuzz", "--adapter", f"{NUMPY}:ADAPTER", *words)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "0 finds" in ended.stdout


def test_nothing_selected_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    ended = inside("fuzz", "--adapter", f"{NUMPY}:ADAPTER", "--implementation", "nobody", folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "error: nothing selected: no implementation matches, or none of what matches could be started"
    ]


def test_without_hypothesis_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "hypothesis.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'hypothesis'\", name='hypothesis')"
    )
    command = "import sys; sys.path.insert(0, '.'); sys.argv = ['conformance', 'fuzz']; from conformance.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-P", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr == "error: search needs Hypothesis: pip install 'batchnorm-conformance[search]'\n"


def test_an_implementation_is_held_against_another(folder: Path) -> None:
    text = NUMPY.read_text().replace(RIGHT, WRONG).replace('"numpy.BatchNorm"', '"numpy.Faulty"')
    (folder / "both.py").write_text(text)
    words = ("--adapter", "both.py:ADAPTER", "--adapter", f"{NUMPY}:ADAPTER", "--examples", "20", "--shrinking", "2")
    ended = conformance(folder, "fuzz", *words, "--against", "numpy.BatchNorm", "--out", "apart")
    assert ended.returncode == 1, ended.stderr
    assert "numpy.Faulty and numpy.BatchNorm differ" in ended.stdout
    (find,) = json.loads((folder / "apart" / "search.json").read_text())["processes"][0]["finds"]
    assert (find["implementation"], find["against"]) == ("numpy.Faulty", "numpy.BatchNorm")
    assert find["replays"]


def test_against_what_is_not_there_is_one_line_with_the_nearest_name(tmp_path: Path) -> None:
    ended = inside("fuzz", "--adapter", f"{NUMPY}:ADAPTER", "--against", "numpy.BatchNor", folder=tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: --against numpy.BatchNor: expected the name of one implementation")
    assert line.endswith("the nearest name is numpy.BatchNorm")


def test_processes_with_many_finds_leave_time_for_the_last() -> None:
    whole, left, shares = Effort(seconds=1_800.0, shrinking=60.0), 1_800.0, []
    for processes in range(60, 0, -1):
        share = share_of(whole, left, processes)
        assert share.seconds is not None
        shares.append(share.seconds)
        left -= share.seconds + share.shrinking  # a find just before its time was over
    assert min(shares) > 0.05 * max(shares)


def test_a_long_search_makes_finds_smaller_for_as_long_as_was_asked() -> None:
    assert share_of(Effort(seconds=1_800.0, shrinking=60.0), 1_800.0, 2).shrinking == 60.0


def test_without_a_limit_of_time_a_process_has_the_whole_effort() -> None:
    effort = Effort(examples=100, shrinking=60.0)
    assert share_of(effort, None, 7) == effort

"""`conformance run` as a person and a program meet it: what it records, prints, leaves and exits with."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli.own_cases import NUMPY, OWN, conformance, lines_of, records_of
from tests.command_line import inside
from tests.fake_cells import DYING


def test_a_run_records_what_it_planned(folder: Path) -> None:
    """Header, environment, cases, records and footer, in that order."""
    found = conformance("run", "own.yaml", *NUMPY, "--out", "run.jsonl", folder=folder)
    lines = lines_of(folder / "run.jsonl")
    assert found.returncode == 0, found.stdout
    assert list(dict.fromkeys(line["kind"] for line in lines)) == ["header", "environment", "case", "record", "footer"]
    assert found.stdout.count("not judged") <= 1
    assert lines[0]["planned"] == lines[-1]["recorded"] == len(records_of(folder / "run.jsonl")) > 0


def test_a_profile_says_how_much_of_a_run_its_slow_framework_took(folder: Path) -> None:
    """Each train step sleeps 0.2 s; the shares of the parts add up to the whole."""
    words = ["--adapter", f"{DYING}:ADAPTER", "--implementation", "dying.sleeps", "--profile"]
    found = conformance("run", "own.yaml", *words, "--out", "run.jsonl", folder=folder)
    slept = 0.2 * (folder / "run.jsonl").read_text().count('"kind":"train","verdict"')
    table = found.stdout.partition("where the time went")[2].splitlines()[1:]
    seconds = {line[:32].strip(): float(line[32:41]) for line in table if line[41:49].endswith("%")}
    assert slept > 0
    assert slept - 0.01 <= seconds["inside a framework's call"] < slept + 1  # printed to a hundredth
    whole = next(float(line[32:41]) for line in table if line.startswith("wall time"))
    assert sum(seconds.values()) == pytest.approx(whole, abs=0.05)
    own = float(found.stdout.partition("own share: ")[2].partition("%")[0])
    # Seconds are printed to a hundredth, the share to a tenth of a percent.
    assert own == pytest.approx(100 * (1 - seconds["inside a framework's call"] / whole), abs=1 / whole + 0.05)


def test_a_run_works_from_another_folder_and_leaves_only_its_own_files(folder: Path) -> None:
    """Logs and cache go to .conformance, the run beside them."""
    conformance("run", "own.yaml", *NUMPY, folder=folder)
    assert sorted(file.name for file in folder.iterdir()) == [".conformance", "own.yaml"]
    assert (folder / ".conformance" / "narrowed.jsonl").is_file()


def test_a_run_on_a_terminal_shows_progress_and_ends_with_what_was_found(folder: Path) -> None:
    """In place of pytest's dots; the last line tells where the run file is."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-m", "conformance", "run", "own.yaml", *NUMPY, "--out", "run.jsonl"]
    with subprocess.Popen(command, cwd=folder, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = read_terminal(ours)
    assert process.returncode == 0
    cells = len(records_of(folder / "run.jsonl"))
    assert f"{cells}/{cells}" in shown
    assert "own.yaml ." not in shown
    assert shown.splitlines()[-3].startswith("Verdicts: ")
    assert shown.splitlines()[-1].startswith("Run file: run.jsonl.")


def read_terminal(end: int) -> str:
    """Return all that was written to the other end, until it was closed."""
    parts = []
    with contextlib.suppress(OSError):  # Linux tells so that nobody has it open any more
        while part := os.read(end, 65_536):
            parts.append(part)
    os.close(end)
    return b"".join(parts).decode()


def test_a_narrowed_run_does_not_overwrite_a_full_one(folder: Path) -> None:
    """The full run's file is left as it was, byte for byte."""
    full = folder / "run.jsonl"
    full.write_text(json.dumps({"kind": "header", "format": 1, "narrowed": False, "planned": 0}) + "\n")
    before = full.read_bytes()
    found = inside("run", "own.yaml", *NUMPY, "--out", "run.jsonl", folder=folder)
    assert found.returncode == 2
    assert full.read_bytes() == before


def test_unexpected_verdicts_are_exit_code_1_and_blamed(folder: Path) -> None:
    """A refusal that no profile documents fails its item, with the exception told."""
    adapter = folder / "refusing.py"
    adapter.write_text(
        DYING.read_text()
        .replace("FATAL_DECAY = 0.125", "FATAL_DECAY = 0.75")
        .replace("Path(__file__).parents[2]", f"Path({str(DYING.parents[2])!r})")
    )
    words = ["--adapter", f"{adapter}:ADAPTER", "--implementation", "dying.value_error"]
    found = conformance("run", "own.yaml", *words, "--out", "run.jsonl", folder=folder)
    assert found.returncode == 1
    assert "ValueError: expected more than 1 value per channel" in found.stdout
    assert {record["verdict"] for record in records_of(folder / "run.jsonl")} == {"refused"}


def test_pytest_words_go_after_two_dashes(folder: Path) -> None:
    """-k selects by id and --junitxml writes every cell that ran."""
    words = ["run", "own.yaml", *NUMPY, "--out", "run.jsonl", "--", "-k", "numpy", "--junitxml=out.xml"]
    found = conformance(*words, folder=folder)
    assert found.returncode == 0, found.stdout
    cases = ET.parse(folder / "out.xml").getroot().iter("testcase")
    assert len(list(cases)) == len(records_of(folder / "run.jsonl"))


def test_the_first_failure_ends_a_run_with_x(folder: Path) -> None:
    """What was not run is not a result: the file has no more records than were judged."""
    broken = (
        DYING.read_text()
        .replace('_HEALTHY.steps["train"](live, x, upstream)', "{}")
        .replace("Path(__file__).parents[2]", f"Path({str(DYING.parents[2])!r})")
    )
    (folder / "broken.py").write_text(broken)
    words = ["--adapter", f"{folder / 'broken.py'}:ADAPTER", "--implementation", "dying.nothing", "--out", "run.jsonl"]
    found = conformance("run", "own.yaml", *words, "--", "-x", folder=folder)
    assert found.returncode == 1
    failed = [record for record in records_of(folder / "run.jsonl") if record["standing"] == "unexpected"]
    assert len(failed) == 1
    assert lines_of(folder / "run.jsonl")[0]["planned"] == 2


def test_a_group_that_was_not_built_is_a_failing_item_with_its_log(tmp_path: Path) -> None:
    """It is an environment that failed, told with the installer's last lines, and never a verdict."""
    (tmp_path / "pip.log").write_text("ERROR: No matching distribution found for torch==99\n")
    words = ["run", "--implementation", "numpy.*", "--case", "axes.rank-2/float64", "--workers", "1"]
    words += ["--unbuilt", "torch=pip.log", "--out", "run.jsonl"]
    found = conformance(*words, folder=tmp_path)
    failed = [line for line in lines_of(tmp_path / "run.jsonl") if line["kind"] == "environment" and "failed" in line]
    assert found.returncode == 1
    assert "environment::torch" in found.stdout
    assert "No matching distribution found for torch==99" in str(failed[0]["failed"])


def test_parallel_plugins_are_refused_with_one_line(folder: Path) -> None:
    """Parallelism is over workers: -n of pytest-xdist is an error."""
    found = conformance("run", "own.yaml", *NUMPY, "--", "-n", "2", folder=folder)
    assert found.returncode == 2
    assert "--workers" in found.stderr


def test_a_case_file_of_one_s_own_runs_from_any_folder_and_serves_every_command(tmp_path: Path) -> None:
    """A project's own conftest.py is not read, and pytest's words still go after two dashes."""
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "own.yaml").write_text(OWN)
    (tmp_path / "cases" / "conftest.py").write_text("raise SystemExit('read')\n")
    found = conformance("run", "cases/own.yaml", *NUMPY, "--out", "run.jsonl", "--", "-rA", folder=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "PASSED cases/own.yaml::own.drift::numpy.BatchNorm-eager-cpu" in found.stdout
    words = ["run", "cases", *NUMPY, "--out", "run.jsonl", "--resume", "--", "-rA"]
    assert "no tests ran" in conformance(*words, folder=tmp_path).stdout
    for command in (
        ["report", "run.jsonl", "--out", "report"],
        ["compare", "--base", "run.jsonl", "--new", "run.jsonl"],
        ["reproduce", "own.drift::numpy.BatchNorm-eager-cpu", "--run", "run.jsonl", "--out", "script.py"],
    ):
        answered = inside(*command, folder=tmp_path)
        assert (answered.returncode, answered.stderr) == (0, "")
    script = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert script.returncode == 0, script.stdout + script.stderr


def test_own_cases_leave_a_run_of_the_shipped_ones_alone(tmp_path: Path) -> None:
    """They go where narrowed runs go."""
    (tmp_path / "own.yaml").write_text(OWN)
    conformance("run", "own.yaml", *NUMPY, folder=tmp_path)
    assert [file.name for file in (tmp_path / ".conformance").glob("*.jsonl")] == ["narrowed.jsonl"]


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("text.txt", "expected a folder"),
        ("text.txt/x", "is no folder"),
        ("full", "holds thesis.txt, which no report wrote"),
    ],
)
def test_a_first_report_that_cannot_be_written_is_told_before_work_begins(folder: Path, place: str, why: str) -> None:
    (folder / "text.txt").write_text("a text\n")
    (folder / "full").mkdir()
    (folder / "full" / "thesis.txt").write_text("a text\n")
    ended = conformance("run", "own.yaml", *NUMPY, "--out", "run.jsonl", "--first-report", place, folder=folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.startswith(f"error: {place}: ")
    assert why in ended.stderr
    assert not (folder / "run.jsonl").exists()

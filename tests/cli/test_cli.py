"""The command line as a person and a program meet it: one line and an exit code for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import __version__
from tests.cli.own_cases import NUMPY, conformance
from tests.command_line import inside
from tests.fake_cells import DYING


def test_list_cases_is_json_for_a_program(tmp_path: Path) -> None:
    """Each row has an id and the clauses it tests."""
    found = inside("list", "cases", "--json", folder=tmp_path)
    rows = json.loads(found.stdout)
    assert found.returncode == 0
    assert all(row["id"] and row["clauses"] for row in rows)


def test_list_implementations_asks_the_workers(tmp_path: Path) -> None:
    """What an adapter offers is known without importing it here."""
    found = inside("list", "implementations", "--adapter", str(DYING), "--json", folder=tmp_path)
    assert "dying.abort" in {row["name"] for row in json.loads(found.stdout)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--case", "no.such.case"], "--case no.such.case: no such case"),
        (["--case", "egdes.*"], "--case egdes.*: no such case; did you mean edges.*?"),
        (["--implementation", "torch.nn.BatchNrom"], "no such implementation; did you mean torch.nn.BatchNorm?"),
        (["--mode", "eagre"], "'eagre': expected eager, compiled or xla; did you mean eager?"),
        (["--device", "gup"], "'gup': expected cpu or gpu; did you mean gpu?"),
        (["--python", "torch"], "expected GROUP=PATH"),
        (["--python", "torch=/nowhere/python"], "no interpreter there"),
        (["--python", f"thorch={sys.executable}"], "no adapter runs in group 'thorch'"),
        (["--adapter", "nowhere.py:ADAPTER"], "no such file"),
        (["--adapter", "no_such_package.module:ADAPTER"], "cannot find"),
        (["--resume"], "--resume needs --out"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words: list[str], said: str, tmp_path: Path) -> None:
    """Nothing runs, nothing is written but logs, and no traceback is shown."""
    found = inside("run", *words, folder=tmp_path)
    assert found.returncode == 2
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize("words", [["--mode", "eagre"], ["--implementation", "numpy.BatchNrom"], ["--case", "egdes.*"]])
def test_a_word_that_is_none_is_told_before_anything_is_started(words: list[str], tmp_path: Path) -> None:
    """No worker left a log, and of ours nothing was imported that needs NumPy."""
    command = (
        "import sys\nfrom conformance.cli import main\ntry:\n    main()\nfinally:\n    print('numpy' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-P", "-c", command, "run", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "False\n", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_printed(tmp_path: Path) -> None:
    found = conformance("--version", folder=tmp_path)
    assert (found.returncode, found.stdout) == (0, f"conformance {__version__}\n")


def test_a_place_where_no_run_file_can_be_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in ("file/run.jsonl", ".", "x" * 300):
        refused = inside("run", "--out", out, folder=tmp_path)
        assert (refused.returncode, len(refused.stderr.splitlines()), refused.stdout) == (2, 1, "")
        assert not (tmp_path / ".conformance").exists()


def test_a_fault_of_the_suite_never_exits_as_unexpected_verdicts_do(tmp_path: Path) -> None:
    code = "import conformance.cli as cli; cli.app = lambda **_: 1 // 0; cli.main()"
    failed = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert failed.returncode == 3
    assert failed.stderr.endswith("error: the suite's own fault: ZeroDivisionError\n")


def test_the_report_refuses_a_run_that_did_not_end(folder: Path) -> None:
    """Planned is not recorded: exit code 2, no page, unless a partial one is asked for."""
    conformance("run", "own.yaml", *NUMPY, "--out", "run.jsonl", folder=folder)
    text = (folder / "run.jsonl").read_text().splitlines(keepends=True)
    (folder / "run.jsonl").write_text("".join(text[:-2]))
    refused = inside("report", "run.jsonl", "--out", "pages", folder=folder)
    shown = inside("report", "run.jsonl", "--out", "pages", "--partial", folder=folder)
    assert (refused.returncode, shown.returncode) == (2, 0)
    assert (folder / "pages" / "index.html").is_file()


@pytest.mark.parametrize("what", ["cases", "clauses", "causes"])
def test_a_list_in_a_pipe_is_one_item_a_line(what: str, tmp_path: Path) -> None:
    """As many lines as items, the fields apart by tabs, and no box drawn."""
    lines = inside("list", what, folder=tmp_path).stdout.splitlines()
    rows = json.loads(inside("list", what, "--json", folder=tmp_path).stdout)
    assert [line.split("\t")[0] for line in lines] == [str(next(iter(row.values()))) for row in rows]
    assert not any(character in line for line in lines for character in "│┃━╇")

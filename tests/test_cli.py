"""The command line as a person and a program meet it: one line and an exit code for every mistake."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import psutil
import pytest

from conformance import __version__
from tests.command_line import inside
from tests.fake_cells import DYING

#: One adapter, named: asking every one what it offers starts a process for each.
NUMPY = ["--adapter", str(DYING.parents[2] / "adapters" / "numpy" / "batch_norm.py"), "--workers", "1"]
OWN = """- id: own.drift
  title: A quarter of the way to the batch is gone after one batch.
  source: a test
  clauses: ["7.1"]
  op: batch_norm
  shape: [4, 2]
  feature_axes: [-1]
  decay: 0.75
  steps:
    - {step: train, input: {kind: normal, seed: 1, mean: 2.0}}
    - {step: infer, input: {kind: normal, seed: 2}}
"""
TWICE = OWN + OWN.replace("own.drift", "own.second")


def conformance(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "conformance", *words]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300
    )


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def records_of(path: Path) -> list[dict[str, object]]:
    return [line for line in lines_of(path) if line["kind"] == "record"]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Return a folder with a file of two cases, own.yaml: loaded in no time, where the shipped ones take seconds."""
    (tmp_path / "own.yaml").write_text(TWICE)
    return tmp_path


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


HANGING = ["own.yaml", "--implementation", "dying.hang_in_python", "--out", "run.jsonl"]


def hanging(folder: Path) -> subprocess.Popen[str]:
    """Start a run whose second implementation hangs, and wait until it has records."""
    adapter = folder / "hanging.py"
    text = DYING.read_text().replace("FATAL_DECAY = 0.125", "FATAL_DECAY = 0.75")
    adapter.write_text(text.replace("Path(__file__).parents[2]", f"Path({str(DYING.parents[2])!r})"))
    command = [sys.executable, "-P", "-m", "conformance", "run", "--adapter", str(adapter), *HANGING]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A background job of a shell is started with interrupts ignored, and would hand that on.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    deadline = time.monotonic() + 240
    while not _has_worker_in_cell(process.pid, folder):
        assert time.monotonic() < deadline, "no cell hangs"
        time.sleep(0.1)
    return process


def _has_worker_in_cell(pid: int, folder: Path) -> bool:
    logs = list((folder / ".conformance" / "logs").glob("*.log"))
    return bool(psutil.Process(pid).children()) and any("about to die" in log.read_text() for log in logs)


def test_ctrl_c_leaves_no_orphan_and_no_false_record(folder: Path) -> None:
    """Exit code 130; the cell in flight is not a result; the worker is gone."""
    process = hanging(folder)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert children
    assert not [child for child in children if child.is_running()]
    lines = lines_of(folder / "run.jsonl")
    assert lines[-1]["kind"] == "footer"
    assert lines[-1]["ended"] is False
    assert not [record for record in records_of(folder / "run.jsonl") if record["verdict"] == "timed_out"]


def test_a_killed_run_leaves_no_orphan_and_is_completed_by_resume(folder: Path) -> None:
    """SIGKILL loses at most the cells in flight; --resume records the rest, each cell once."""
    process = hanging(folder)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    psutil.wait_procs(children, timeout=10)
    assert children
    assert not [child for child in children if child.is_running()]
    text = (folder / "hanging.py").read_text().replace("FATAL_DECAY = 0.75", "FATAL_DECAY = 0.125")
    (folder / "hanging.py").write_text(text)
    found = conformance("run", "--adapter", str(folder / "hanging.py"), *HANGING, "--resume", folder=folder)
    lines = lines_of(folder / "run.jsonl")
    cells = [record["cell"] for record in records_of(folder / "run.jsonl")]
    assert found.returncode in (0, 1), found.stderr
    assert len(set(cells)) == len(cells) == lines[0]["planned"] == lines[-1]["recorded"]


def test_a_run_killed_while_it_wrote_its_head_is_completed_by_resume(folder: Path) -> None:
    """Of the head there may be a part of the first line, or any number of whole lines."""
    words = ["run", "own.yaml", *NUMPY, "--out", "run.jsonl"]
    conformance(*words, folder=folder)
    whole = (folder / "run.jsonl").read_bytes()
    for kept in (40, whole.index(b"\n") + 1, whole.index(b'{"kind":"record"') - 20):
        (folder / "run.jsonl").write_bytes(whole[:kept])
        assert conformance(*words, "--resume", folder=folder).returncode == 0
        lines = lines_of(folder / "run.jsonl")
        assert sorted(str(line["kind"]) for line in lines) == sorted(
            json.loads(line)["kind"] for line in whole.splitlines()
        )


def test_a_resumed_run_exits_as_an_undisturbed_one(folder: Path) -> None:
    """What failed before the interruption is a failure still, also where nothing is left to do."""
    words = ["run", "own.yaml", "--adapter", f"{DYING}:ADAPTER", "--implementation", "dying.drifting"]
    words += ["--out", "run.jsonl"]
    assert conformance(*words, folder=folder).returncode == 1
    assert conformance(*words, "--resume", folder=folder).returncode == 1
    assert conformance("run", "own.yaml", *NUMPY, "--out", "fine.jsonl", folder=folder).returncode == 0
    words = ["run", "own.yaml", *NUMPY, "--out", "fine.jsonl", "--resume"]
    assert conformance(*words, folder=folder).returncode == 0


def test_a_full_disk_is_one_line_and_exit_code_3_and_resume_mends_it(folder: Path) -> None:
    words = ["run", "own.yaml", *NUMPY, "--out", "run.jsonl"]
    full = subprocess.run(
        [sys.executable, "-P", "-m", "conformance", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert full.returncode == 3
    assert full.stderr == "error: run.jsonl: cannot be written: File too large; --resume goes on from what is there\n"
    assert "Traceback" not in full.stdout
    assert conformance(*words, "--resume", folder=folder).returncode == 0
    assert lines_of(folder / "run.jsonl")[-1]["kind"] == "footer"


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


def test_resume_refuses_another_selection(folder: Path) -> None:
    """A run is completed as it was begun or not at all."""
    conformance("run", "own.yaml", *NUMPY, "--out", "run.jsonl", folder=folder)
    words = ["run", "own.yaml", *NUMPY, "--case", "own.second", "--out", "run.jsonl", "--resume"]
    found = inside(*words, folder=folder)
    assert found.returncode == 2
    assert "another selection" in found.stderr


def test_the_report_refuses_a_run_that_did_not_end(folder: Path) -> None:
    """Planned is not recorded: exit code 2, no page, unless a partial one is asked for."""
    conformance("run", "own.yaml", *NUMPY, "--out", "run.jsonl", folder=folder)
    text = (folder / "run.jsonl").read_text().splitlines(keepends=True)
    (folder / "run.jsonl").write_text("".join(text[:-2]))
    refused = inside("report", "run.jsonl", "--out", "pages", folder=folder)
    shown = inside("report", "run.jsonl", "--out", "pages", "--partial", folder=folder)
    assert (refused.returncode, shown.returncode) == (2, 0)
    assert (folder / "pages" / "index.html").is_file()


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


@pytest.mark.parametrize("what", ["cases", "clauses", "causes"])
def test_a_list_in_a_pipe_is_one_item_a_line(what: str, tmp_path: Path) -> None:
    """As many lines as items, the fields apart by tabs, and no box drawn."""
    lines = inside("list", what, folder=tmp_path).stdout.splitlines()
    rows = json.loads(inside("list", what, "--json", folder=tmp_path).stdout)
    assert [line.split("\t")[0] for line in lines] == [str(next(iter(row.values()))) for row in rows]
    assert not any(character in line for line in lines for character in "│┃━╇")

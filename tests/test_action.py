"""The GitHub Action: its form, and its steps run with programs that stand for those of GitHub's machines."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.run_lines import record_line, run_of, write_run
from tests.run_pairs import CONFORMS, DEVIATES

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "pull-request.yml"
#: What the action's own steps may take from the event: in `env`, `if` and `with`, where it is a value and no text of a script.
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")

#: Writes what it was asked, and answers with what lies beside it under the name of the path.
GH = """\
import json, os, pathlib, re, sys
folder = pathlib.Path(os.environ["GH_FOLDER"])
with (folder / "asked").open("a") as asked:
    print(json.dumps([sys.argv[2:], sys.stdin.read()]), file=asked)
assert sys.argv[1] == "api" and os.environ["GH_TOKEN"] == "secret"
if "--method" in sys.argv and sys.argv[sys.argv.index("--method") + 1] != "GET" and (folder / "forbidden").exists():
    sys.exit("gh: Resource not accessible by integration (HTTP 403)")
answer = folder / re.sub("[^a-z0-9]", "-", sys.argv[2].partition("?")[0])
sys.stdout.buffer.write(answer.read_bytes() if answer.exists() else b"[]")
"""


def action() -> Any:
    return yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def step(name: str) -> Any:
    (named,) = [entry for entry in action()["runs"]["steps"] if entry["name"] == name]
    return named


def complaints(document: Any) -> list[str]:
    """Return what is wrong with the form of a composite action."""
    steps, text = document["runs"]["steps"], json.dumps(document)
    ids = {entry["id"] for entry in steps if "id" in entry}
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    return [
        *[f"no {key}" for key in ("name", "description", "inputs", "outputs") if not document.get(key)],
        *[f"{entry['name']}: no shell" for entry in steps if "run" in entry and "shell" not in entry],
        *[f"{entry['name']}: an expression in a script" for entry in steps if _EXPRESSION.search(entry.get("run", ""))],
        *[f"{name}: not declared" for name in used - set(document["inputs"])],
        *[f"{name}: not used" for name in set(document["inputs"]) - used],
        *[f"{name}: of no step" for name in re.findall(r"steps\.([\w-]+)\.", text) if name not in ids],
        *[f"{name}: never written" for name in re.findall(r"\.outputs\.([\w-]+)", text) if f"{name}=" not in text],
        *[f"{name}: neither required nor with a default" for name, each in document["inputs"].items() if not (each.get("required") or "default" in each)],
    ]  # fmt: skip


def test_the_action_has_the_form_of_one() -> None:
    assert action()["runs"]["using"] == "composite"
    assert complaints(action()) == []


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (
            {"name": "a", "run": "echo ${{ github.event.pull_request.title }}", "shell": "bash"},
            "a: an expression in a script",
        ),
        ({"name": "a", "run": "true"}, "a: no shell"),
        ({"name": "a", "if": "inputs.other == 'true'", "uses": "x"}, "other: not declared"),
        ({"name": "a", "if": "steps.nobody.outputs.run", "uses": "x"}, "nobody: of no step"),
        ({"name": "a", "if": "steps.run.outputs.ran", "uses": "x"}, "ran: never written"),
    ],
)
def test_a_fault_of_form_would_be_seen(planted: dict[str, str], said: str) -> None:
    document = action()
    document["runs"]["steps"].append(planted)
    assert complaints(document) == [said]


def test_the_example_uses_inputs_and_outputs_that_there_are() -> None:
    document = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    (job,) = document["jobs"].values()
    (used,) = [entry for entry in job["steps"] if "batchnorm-conformance@" in entry.get("uses", "")]
    required = {name for name, entry in action()["inputs"].items() if entry.get("required")}
    assert required <= set(used["with"]) <= set(action()["inputs"])
    outputs = re.findall(rf"steps\.{used['id']}\.outputs\.([\w-]+)", EXAMPLE.read_text(encoding="utf-8"))
    assert set(outputs) <= set(action()["outputs"])
    assert document["permissions"] == {"contents": "read", "actions": "read", "pull-requests": "write"}


@pytest.mark.parametrize("path", sorted(EXAMPLE.parent.glob("*.yml")), ids=lambda path: path.stem)
def test_no_script_of_an_example_takes_text_of_an_event(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    scripts = [entry["run"] for job in jobs for entry in job["steps"] if "run" in entry]
    assert [script for script in scripts if "github.event." in script or "github.head_ref" in script] == []


class Machine:
    """A machine of GitHub's, as far as the steps see it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temp = folder / "temp dir"
        self.gh = folder / "gh"
        programs, suite = folder / "bin", self.temp / "conformance" / "bin"
        for path in (programs, suite, self.gh):
            path.mkdir(parents=True)
        script(programs / "gh", f'exec "{sys.executable}" "{self.gh}/gh.py" "$@"')
        (self.gh / "gh.py").write_text(GH)
        script(suite / "python", f'exec "{sys.executable}" "$@"')
        script(suite / "conformance", f'exec "{sys.executable}" -P -m conformance "$@"')
        self.path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def run(self, name: str, **values: str) -> subprocess.CompletedProcess[str]:
        """Run a step as GitHub does, with values in the place of the expressions of its `env`."""
        entry = step(name)
        assert set(values) == set(entry.get("env", {})), "a value for each variable of the step"
        file = self.folder / "script.sh"
        file.write_text(entry["run"])
        environment = {
            "PATH": self.path,
            "PYTHONPATH": str(ROOT),
            "GH_FOLDER": str(self.gh),
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_REPOSITORY": "owner/framework",
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(file)]
        return subprocess.run(command, cwd=self.folder, env={**environment, **values}, capture_output=True, text=True)

    def output(self) -> dict[str, str]:
        """What the steps wrote for those that follow."""
        lines = (self.folder / "output").read_text().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def answer(self, path: str, content: bytes) -> None:
        """Let `gh` answer with that content."""
        (self.gh / re.sub("[^a-z0-9]", "-", path)).write_bytes(content)

    def asked(self) -> list[tuple[list[str], str]]:
        """What `gh` was asked, and what it was given."""
        file = self.gh / "asked"
        return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def run_file(folder: Path, name: str, *records: Any) -> Path:
    return write_run(run_of(*records, name=name), folder)


def artifact(id_: int, created: str, **run: Any) -> dict[str, Any]:
    own = {"head_branch": "main", "repository_id": 1, "head_repository_id": 1, **run}
    return {"id": id_, "expired": False, "created_at": created, "workflow_run": own}


def test_the_suite_is_installed_beside_the_framework_and_what_a_worker_needs_into_it(machine: Machine) -> None:
    script(machine.folder / "suite-python", f'echo "suite $*" >> "{machine.folder}/installed"')
    script(machine.folder / "framework-python", f'echo "framework $*" >> "{machine.folder}/installed"')
    script(machine.temp / "conformance" / "bin" / "python", f'echo "own $*" >> "{machine.folder}/installed"')
    done = machine.run("Install the suite", SUITE_INTERPRETER="./suite-python", INTERPRETER="./framework-python")
    assert done.returncode == 0, done.stderr
    assert (machine.folder / "installed").read_text().splitlines() == [
        f"suite -m venv {machine.temp}/conformance",
        f"own -m pip install --quiet {ROOT}[report]",
        "framework -m pip install --quiet numpy ml_dtypes",
    ]


def test_the_cells_run_with_every_glob_as_one_word_and_an_unexpected_verdict_is_no_failure_yet(
    machine: Machine,
) -> None:
    words = machine.folder / "words"
    script(machine.temp / "conformance" / "bin" / "conformance", f'printf "%s\\n" "$@" > "{words}"; exit 1')
    done = machine.run(
        "Run the cells",
        INTERPRETER="python3",
        GROUP="torch",
        IMPLEMENTATION="torch.nn.*\n$(touch planted)\n",
        CASE="",
        TIER="smoke",
    )
    assert done.returncode == 0, done.stderr
    given = words.read_text().splitlines()
    assert given[:4] == ["run", "--grouped", "--tier", "smoke"]
    assert given[4] == "--python"
    assert given[5].startswith("torch=/")
    assert given[-4:] == ["--implementation", "torch.nn.*", "--implementation", "$(touch planted)"]
    assert not (machine.folder / "planted").exists()
    assert machine.output()["run"] == f"{machine.temp}/conformance-out/run.jsonl"


def test_a_run_that_fails_fails_the_step(machine: Machine) -> None:
    script(machine.temp / "conformance" / "bin" / "conformance", "exit 3")
    done = machine.run("Run the cells", INTERPRETER="python3", GROUP="t", IMPLEMENTATION="", CASE="", TIER="smoke")
    assert done.returncode != 0


def find(machine: Machine, base_run: str = "") -> subprocess.CompletedProcess[str]:
    return machine.run(
        "Find the run of the base branch",
        GH_TOKEN="secret",
        BASE_RUN=base_run,
        BASE_BRANCH="main",
        ARTIFACT="normalization",
    )


def test_the_base_is_the_newest_run_of_the_branch_and_never_that_of_a_fork(machine: Machine) -> None:
    artifacts = [
        artifact(1, "2026-01-01T00:00:00Z"),
        artifact(2, "2026-01-02T00:00:00Z"),
        artifact(3, "2026-01-03T00:00:00Z", head_repository_id=666),
        artifact(4, "2026-01-04T00:00:00Z", head_branch="other"),
        {**artifact(5, "2026-01-05T00:00:00Z"), "expired": True},
    ]
    machine.answer("repos/owner/framework/actions/artifacts", json.dumps([{"artifacts": artifacts}]).encode())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("run.jsonl", "the run of 2")
    machine.answer("repos/owner/framework/actions/artifacts/2/zip", packed.getvalue())
    done = find(machine)
    assert done.returncode == 0, done.stderr
    assert Path(machine.output()["base"]).read_text() == "the run of 2"


def test_where_the_branch_has_no_run_that_is_a_notice(machine: Machine) -> None:
    machine.answer("repos/owner/framework/actions/artifacts", b'[{"artifacts": []}]')
    done = find(machine)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "::notice::no artefact normalization of main to compare with"
    assert not (machine.folder / "output").exists()


def test_a_base_that_is_named_is_looked_for_nowhere_else(machine: Machine) -> None:
    base = run_file(machine.folder, "base.jsonl", CONFORMS)
    assert find(machine, str(base)).returncode == 0
    assert (machine.output()["base"], machine.asked()) == (str(base), [])


def compared(machine: Machine, base: str, *records: Any) -> subprocess.CompletedProcess[str]:
    out = machine.temp / "conformance-out"
    out.mkdir()
    return machine.run("Compare and report", RUN=str(run_file(out, "run.jsonl", *records)), BASE=base, GROUP="torch")


@pytest.mark.parametrize(("new", "regressed"), [(DEVIATES, "true"), (record_line(score=0.25), "false")])
def test_the_comparison_is_the_summary_of_the_job_and_a_report_lies_beside_it(
    machine: Machine, new: Any, regressed: str
) -> None:
    done = compared(machine, str(run_file(machine.folder, "base.jsonl", CONFORMS)), new)
    assert done.returncode == 0, done.stderr
    written = machine.output()
    assert written["regressed"] == regressed
    assert (Path(written["report"]) / "index.html").is_file()
    summary = (machine.folder / "summary").read_text()
    assert summary == Path(written["comparison"]).read_text()
    assert ("Regression: 1 cell" in summary) is (regressed == "true")


def test_a_run_without_a_base_is_told_without_a_verdict_of_its_own(machine: Machine) -> None:
    done = compared(machine, "", DEVIATES)
    assert done.returncode == 0, done.stderr
    assert "no run to compare with" in (machine.folder / "summary").read_text()
    assert "regressed" not in machine.output()


def commented(machine: Machine) -> subprocess.CompletedProcess[str]:
    text = machine.folder / "comparison.md"
    text.write_text("Nothing changed.\n")
    return machine.run(
        "Comment on the pull request",
        GH_TOKEN="secret",
        NUMBER="7",
        ARTIFACT="normalization-torch",
        COMPARISON=str(text),
    )


MARK = "<!-- normalization-conformance normalization-torch -->"


def test_the_first_comment_is_written(machine: Machine) -> None:
    assert commented(machine).returncode == 0
    (words, given) = machine.asked()[-1]
    assert words == ["repos/owner/framework/issues/7/comments", "--method", "POST", "--input", "-"]
    assert json.loads(given) == {"body": f"{MARK}\nNothing changed.\n"}


def test_a_comment_of_its_own_is_renewed_and_a_stranger_s_is_not(machine: Machine) -> None:
    bot, stranger = {"login": "github-actions[bot]"}, {"login": "somebody"}
    pages = [
        [{"id": 1, "user": stranger, "body": f"{MARK}\nmine"}, {"id": 2, "user": bot, "body": "another action"}],
        [{"id": 3, "user": bot, "body": f"{MARK}\nbefore"}],
    ]
    machine.answer("repos/owner/framework/issues/7/comments", json.dumps(pages).encode())
    assert commented(machine).returncode == 0
    assert machine.asked()[-1][0][:3] == ["repos/owner/framework/issues/comments/3", "--method", "PATCH"]


def test_a_token_that_may_not_comment_is_told_of_and_fails_nothing(machine: Machine) -> None:
    (machine.gh / "forbidden").touch()
    done = commented(machine)
    assert (done.returncode, done.stdout.strip()[:36]) == (0, "::notice::this token may not comment")


def test_a_regression_fails_the_last_step() -> None:
    last = action()["runs"]["steps"][-1]
    assert last["if"] == "inputs.fail == 'true' && steps.compare.outputs.regressed == 'true'"
    assert subprocess.run(["bash", "-e", "-c", last["run"]], capture_output=True).returncode == 1

"""A package outside this project brings its own adapter: found once it is installed, or by its module's name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "docs" / "example-adapter"
COLUMN = "welford_norm.WelfordNorm"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the suite with NumPy's adapters alone: a run that names none starts a process for each there is."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "conformance", folder / "conformance")
    shutil.copytree(ROOT / "adapters" / "numpy", folder / "adapters" / "numpy")
    shutil.copy(ROOT / "adapters" / "processes.yaml", folder / "adapters")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "spec").symlink_to(ROOT / "spec", target_is_directory=True)
    return folder


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, suite: Path) -> Path:
    """An interpreter of its own that has the suite's packages, and the example as an installer leaves it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    (site / "suite.pth").write_text(f"{suite}\n{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    shutil.copytree(PACKAGE / "welford_norm", site / "welford_norm")
    information = site / f"welford_norm-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0.0\n")
    (information / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
            for group, entries in project["entry-points"].items()
        )
    )
    return python


def conformance(python: Path, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-P", "-m", "conformance", *words]
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False, timeout=300)


def verdicts(run: Path) -> dict[str, str]:
    records = [json.loads(line) for line in run.read_text().splitlines()]
    return {each["case"]: each["verdict"] for each in records if each.get("implementation") == COLUMN}


def test_an_installed_package_takes_part_in_a_run_that_names_no_adapter(python: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.jsonl"
    words = ("--implementation", "*Norm", "--case", "axes.rank-2/*", "--case", "stability.ratio-2-8", "--out", str(run))
    done = conformance(python, "run", *words, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    agree = {"axes.rank-2/float32", "axes.rank-2/float64", "stability.ratio-2-8"}
    assert {case: verdict in {"conforms", "exact"} for case, verdict in verdicts(run).items()} == dict.fromkeys(
        agree, True
    )
    assert "numpy.BatchNorm" in run.read_text()


def test_a_module_named_on_the_command_line_runs_alone(python: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.jsonl"
    named = ("--adapter", "welford_norm.conformance_adapter:ADAPTER")
    done = conformance(python, "run", *named, "--case", "axes.*", "--out", str(run), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = verdicts(run)
    assert found["axes.rank-2/float32"] == "conforms"
    assert found["axes.rank-5/features-first"] == "unsupported"
    assert "numpy.BatchNorm" not in run.read_text()


def test_a_module_that_is_not_installed_is_one_line(python: Path, tmp_path: Path) -> None:
    done = conformance(python, "run", "--adapter", "welford_norm.nothing:ADAPTER", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "welford_norm.nothing" in done.stderr


def test_a_fault_in_an_installed_package_fails_the_run(python: Path, tmp_path: Path) -> None:
    """Its output a thousandth too large: an installed adapter is judged, not believed."""
    broken = tmp_path / "broken.py"
    text = (PACKAGE / "welford_norm" / "conformance_adapter.py").read_text()
    broken.write_text(text.replace('{"output": layer.fit(x)}', '{"output": layer.fit(x) * 1.001}'))
    words = ("--adapter", f"{broken}:ADAPTER", "--case", "axes.rank-2/float32", "--out", str(tmp_path / "run.jsonl"))
    done = conformance(python, "run", *words, folder=tmp_path)
    assert done.returncode == 1
    assert verdicts(tmp_path / "run.jsonl") == {"axes.rank-2/float32": "deviates"}

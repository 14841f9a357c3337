"""The locks hold what `pyproject.toml` asks for: every package at one version, by hash, from wherever pip is told to look."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"
#: The index chooses their build, so that no hash holds everywhere.
UNHASHED = {"torch"}
GROUPS = ("torch", "tensorflow", "jax", "portable", "tensorflow-gpu", "jax-gpu")

_ENTRY = re.compile(
    r"(?P<name>[\w.-]+)==(?P<version>\S+)(?P<marker> ; [^\\\n]+)? \\\n(?P<hashes>(?: +--hash=\S+(?: \\)?\n)+)"
)


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def locked(text: str) -> dict[str, list[Version]]:
    versions: dict[str, list[Version]] = {}
    for entry in _ENTRY.finditer(text):
        versions.setdefault(canonicalize_name(entry["name"]), []).append(Version(entry["version"]))
    return versions


def missing(text: str, wanted: list[str]) -> list[str]:
    """Return the requirements that a lock does not meet."""
    versions = locked(text)
    return [
        line
        for line in wanted
        for requirement in [Requirement(line)]
        if not (at := versions.get(canonicalize_name(requirement.name)))
        or not all(v in requirement.specifier for v in at)
    ]


def unhashed(text: str) -> list[str]:
    """Return the lines that name a package to install and have no hash."""
    named = re.findall(r"(?m)^(?![#\s]).+", text)
    return [line for line in named if not any(entry[0].startswith(line) for entry in _ENTRY.finditer(text))]


def asked_of_the_suite() -> list[str]:
    told = project()
    extras = [
        line
        for name in ("cluster", "regression", "report", "search", "throughput", "weights")
        for line in told["project"]["optional-dependencies"][name]
    ]
    tools = [
        line for name in ("tests", "browser", "lint", "typing", "build") for line in told["dependency-groups"][name]
    ]
    return [*told["project"]["dependencies"], *extras, *tools]


def asked_of(group: str) -> list[str]:
    groups = project()["dependency-groups"]
    alone = groups.get(f"{group.removesuffix('-gpu')}-alone", [])
    return [line for line in [*groups[group], *groups["timing"], *alone] if Requirement(line).name not in UNHASHED]


def test_the_suite_s_lock_has_what_the_suite_and_its_tools_require() -> None:
    assert missing((LOCKS / "suite.txt").read_text(), asked_of_the_suite()) == []


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_s_lock_has_its_pins(group: str) -> None:
    assert missing((LOCKS / f"{group}.txt").read_text(), asked_of(group)) == []


def test_the_lock_of_the_documentation_s_site_has_its_pin() -> None:
    assert missing((LOCKS / "docs.txt").read_text(), project()["dependency-groups"]["docs"]) == []


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_package_has_a_hash_and_none_an_address(path: Path) -> None:
    text = path.read_text()
    assert unhashed(text) == []
    assert "://" not in text
    assert UNHASHED.isdisjoint(locked(text))


def test_the_tools_that_stand_in_a_group_s_lock_too_are_of_the_suite_s_versions() -> None:
    """What times a framework inside its process is read by the suite."""
    ours = locked((LOCKS / "suite.txt").read_text())
    for group in GROUPS:
        theirs = locked((LOCKS / f"{group}.txt").read_text())
        assert {name: theirs[name] for name in ("pytest-benchmark", "numpy")} == {
            name: ours[name] for name in ("pytest-benchmark", "numpy")
        }


def test_a_pin_that_was_edited_and_not_locked_is_seen() -> None:
    text = "mypy==2.4.1 \\\n    --hash=sha256:00\n    # via pyproject.toml\n"
    assert missing(text, ["mypy==2.4.1"]) == []
    assert missing(text, ["mypy==2.5.0", "ruff"]) == ["mypy==2.5.0", "ruff"]


def test_an_entry_without_a_hash_is_seen() -> None:
    assert unhashed("a==1 \\\n    --hash=sha256:00\nb==2\nc @ file:///c.whl\n") == ["b==2", "c @ file:///c.whl"]


def test_ci_runs_the_very_commands_of_the_readme() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Test\n")[2]
    commands = section.partition("```\n")[2].partition("```")[0]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.endswith(f"\n{commands}")
    assert commands.startswith("pip install nox && nox -s lint typing tests")

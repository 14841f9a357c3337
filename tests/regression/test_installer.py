"""What installs: uv where it is present, from where pip would take packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.regression import installer
from conformance.regression.installer import install_command, pip_settings, uv_options

LISTED = """\
:env:.find-links='/env/wheels'
global.constraint='/etc/constraints.txt'
global.extra-index-url='file:///one file:///two'
global.find-links='/global/wheels'
freeze.find-links='/other'
"""


def test_pip_s_settings_are_uv_s_options_and_the_environment_comes_before_the_files() -> None:
    assert list(uv_options(pip_settings(LISTED))) == [
        "--index", "file:///one", "--index", "file:///two", "--find-links", "/env/wheels",
        "--constraint", "/etc/constraints.txt",
    ]  # fmt: skip


def test_what_has_hashes_is_held_to_no_constraint() -> None:
    """Uv refuses a range beside hashes, and the version of a requirement with a hash is said already."""
    assert "--constraint" not in list(uv_options(pip_settings(LISTED), hashed=True))


def test_the_settings_of_the_pip_that_is_named_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/uv")
    pip = tmp_path / "pip"
    pip.write_text("#!/bin/sh\necho \"global.find-links='/its/wheels'\"; echo \"global.cert='/its/cert.pem'\"\n")
    pip.chmod(0o755)
    command = installer.uv_command(Path("python"), (str(pip),))
    assert command is not None
    assert command[-2:] == ["--find-links", "/its/wheels"]
    assert installer.uv_variables((str(pip),)) == {"SSL_CERT_FILE": "/its/cert.pem"}


def test_a_pip_that_may_ask_no_index_gives_a_uv_that_may_ask_none() -> None:
    assert list(uv_options({"no-index": "1"})) == ["--no-index"]


def test_the_file_needs_nothing_but_the_standard_library() -> None:
    """The Python that runs nox may have nothing else."""
    asked = f"import runpy; runpy.run_path({installer.__file__!r})"
    subprocess.run([sys.executable, "-I", "-S", "-c", asked], check=True)


def test_where_uv_is_absent_pip_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    command = install_command(Path("python"), ["layers==1"], "index", dependencies=False)
    assert command[1:3] == ["-m", "pip"]
    assert command[-4:] == ["--extra-index-url", "index", "--no-deps", "layers==1"]


def test_where_uv_is_present_it_installs_the_newest_of_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/uv")
    monkeypatch.setattr(installer, "_settings", lambda _: {"find-links": "/wheels"})
    command = install_command(Path("python"), ["layers==1"], "index", dependencies=True)
    assert command == [
        "/uv", "pip", "install", "--python", "python", "--index-strategy", "unsafe-best-match",
        "--find-links", "/wheels", "--index", "index", "layers==1",
    ]  # fmt: skip

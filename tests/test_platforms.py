"""The core works where a platform lacks something: modules of Unix, a writable home, a network, plain letters in paths."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: Runs commands one after the other as `conformance` does, without modules, and refuses every connection.
COMMANDS = """
import socket, sys
sys.modules |= dict.fromkeys({absent!r})
def refused(*_):
    raise OSError("no network")
socket.socket.connect = socket.socket.connect_ex = refused
socket.getaddrinfo = refused
from conformance.cli import main
for words in {commands!r}:
    sys.argv = ["conformance", *words]
    try:
        main()
    except SystemExit as ended:
        print("exit code", ended.code)
"""
RUN = [
    "run",
    "--implementation",
    "numpy.BatchNorm",
    "--case",
    "edges.one-value",
    "--workers",
    "1",
    "--out",
    "läuft.jsonl",
]
ALL = [
    RUN,
    ["check"],
    ["report", "läuft.jsonl", "--out", "ein Bericht"],
    ["compare", "--base", "läuft.jsonl", "--new", "läuft.jsonl"],
]
#: As on Windows, and on a Python that was built without them.
ABSENT = ["fcntl", "resource", "grp", "pwd", "termios"]


def ended(commands: list[list[str]], absent: list[str], folder: Path, **environment: str) -> str:
    """Return what the commands print, in a process of their own."""
    program = COMMANDS.format(absent=absent, commands=commands)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_commands_work_without_modules_of_unix_a_home_a_network_and_plain_letters(tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner mit Ümläuten – 数"
    folder.mkdir()
    # Nothing can be made there, whoever asks.
    said = ended(ALL, ABSENT, folder, HOME="/proc", XDG_CACHE_HOME="/proc/cache")
    assert said.count("exit code 0") == len(ALL), said
    assert "Traceback" not in said
    assert {path.name for path in folder.iterdir()} >= {"läuft.jsonl", "ein Bericht", ".conformance"}


def test_a_checkout_in_a_path_with_spaces_and_other_letters_works(tmp_path: Path) -> None:
    checkout = tmp_path / "eine Prüfung 数"
    checkout.mkdir()
    root = Path(__file__).parents[1]
    for name in ("conformance", "adapters", "spec"):
        shutil.copytree(root / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", checkout)
    said = ended([RUN], [], tmp_path, PYTHONPATH=str(checkout))
    assert "exit code 0" in said, said
    assert (tmp_path / "läuft.jsonl").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's own")
def test_a_worker_serves_where_there_is_no_prctl(tmp_path: Path) -> None:
    adapter = tmp_path / "without.py"
    example = Path(__file__).parents[1] / "docs" / "examples" / "plain_python.py"
    adapter.write_text(example.read_text())
    boot = "import ctypes\nctypes.CDLL = lambda *_: object()\n"
    (tmp_path / "sitecustomize.py").write_text(boot)
    # A worker inherits no PYTHONPATH: what its interpreter begins with is in a file of its own.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    adapter.write_text(adapter.read_text().replace('"group": None', '"group": "own"'))
    words = ["list", "implementations", "--adapter", f"{adapter}:ADAPTER", "--python", f"own={python}"]
    said = ended([words], [], tmp_path)
    assert "plain_python.BatchNorm\t" in said, said

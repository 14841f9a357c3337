"""What installs packages into an environment: uv where it is present, else pip, both from where pip is told to look.

The noxfile loads this file alone, in whatever Python runs nox: it imports the standard library and nothing else.
"""

from __future__ import annotations

import functools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
#: Settings of pip that say where packages come from, with uv's option of the same meaning.
_PLACES = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}
_SETTING = re.compile(r"(?P<section>[\w:-]+)\.(?P<name>[\w-]+)='(?P<value>.*)'")


def install_command(python: Path, requirements: Sequence[str], index: str = "", *, dependencies: bool) -> list[str]:
    """Return the command that installs requirements for that interpreter.

    `index` is looked at beside those that pip knows. Without `dependencies` nothing else is installed.
    """
    alone = [] if dependencies else ["--no-deps"]
    uv = uv_command(python)
    if uv is None:
        beside = ["--extra-index-url", index] if index else []
        return [
            *(*PIP, "--python", str(python), "install", "--no-input", "--prefer-binary"),
            *(*beside, *alone, *requirements),
        ]
    beside = ["--index", index] if index else []
    return [*uv, *beside, *alone, *requirements]


def uv_command(python: Path, pip: tuple[str, ...] = PIP, *, hashed: bool = False) -> list[str] | None:
    """Return the words by which uv installs what follows them for that interpreter; None where there is no uv.

    It takes packages from where the settings of `pip`, a command, say. Requirements that are `hashed` are held to no
    constraint of these: each has its one version, and beside hashes uv takes no constraint that is a range.
    """
    uv = shutil.which("uv")
    if uv is None:
        return None
    # As pip does: the newest of all places, where uv would stay with the first that knows the name.
    strategy = ["--index-strategy", "unsafe-best-match"]
    return [uv, "pip", "install", "--python", str(python), *strategy, *uv_options(_settings(pip), hashed=hashed)]


def uv_variables(pip: tuple[str, ...] = PIP) -> dict[str, str]:
    """Return the environment in which uv reaches what `pip`, a command, reaches: it reads no certificate but this variable's."""
    certificate = _settings(pip).get("cert")
    return {"SSL_CERT_FILE": certificate} if certificate else {}


def uv_options(settings: Mapping[str, str], *, hashed: bool = False) -> Iterator[str]:
    """Yield what tells uv where packages come from, of pip's settings by name: uv reads none of them."""
    for name, option in _PLACES.items():
        for value in [] if hashed and name == "constraint" else shlex.split(settings.get(name, "")):
            yield from (option, value)
    if settings.get("no-index", "") in {"1", "true", "yes", "on"}:
        yield "--no-index"


def pip_settings(listed: str) -> dict[str, str]:
    """Return pip's settings as `pip config list` prints them, by name: the environment's before the files'."""
    found = [match for line in listed.splitlines() if (match := _SETTING.fullmatch(line.strip()))]
    sections = ("global", "install", ":env:")
    ordered = sorted(
        (entry for entry in found if entry["section"] in sections), key=lambda e: sections.index(e["section"])
    )
    return {entry["name"]: entry["value"] for entry in ordered}


@functools.cache
def _settings(pip: tuple[str, ...]) -> Mapping[str, str]:
    done = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=True)
    return pip_settings(done.stdout)

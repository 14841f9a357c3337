"""Where the spec and the adapters are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

from conformance.errors import SuiteError

PROJECT = "batchnorm-conformance"
_PACKAGE = Path(__file__).resolve().parents[1]


@functools.cache
def root() -> Path:
    """Return the folder that holds `spec` and `adapters`.

    A checkout is known by the name in its `pyproject.toml`, never by the mere presence of a folder.
    """
    project = _PACKAGE.parent / "pyproject.toml"
    if project.is_file() and tomllib.loads(project.read_text()).get("project", {}).get("name") == PROJECT:
        return _PACKAGE.parent
    shipped = _PACKAGE / "_shipped"
    if not shipped.is_dir():
        raise SuiteError(f"neither a checkout of {PROJECT} nor a wheel with its spec: {_PACKAGE}")
    return shipped


def spec_folder() -> Path:
    """Return the folder with `semantics.md`, `cases/` and `divergences.yaml`."""
    return root() / "spec"


def adapter_files() -> tuple[Path, ...]:
    """Return the adapters by library and name, without the files with an underscore, which libraries share."""
    return tuple(sorted((root() / "adapters").glob("*/[!_]*.py")))

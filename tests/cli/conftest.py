"""A folder to run in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.own_cases import TWICE


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Return a folder with a file of two cases, own.yaml: loaded in no time, where the shipped ones take seconds."""
    (tmp_path / "own.yaml").write_text(TWICE)
    return tmp_path

"""What a person may ask of a row, before anything is built."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.version import Version

from conformance.compare.values import Policy
from conformance.regression import row
from conformance.regression.history import History
from conformance.regression.pins import Source
from conformance.regression.version import Asked
from tests.command_line import inside
from tests.regression.test_following import RIGHT, WRONG, followed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--head: expected a version, a wheel or a checkout, or --versions for a row of releases"),
        (["--versions", ">=1", "--bisect"], "--bisect: looks between two versions"),
        (["--head", "1", "--index-url", "file:///i"], "--index-url: names where builds of a night are"),
        (["--versions", "1.0"], "--versions 1.0: expected a range of versions"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    done = inside("regression", "--package", "flax", *words, folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {said}")


@pytest.mark.parametrize("code", [1, 0])
def test_a_row_is_written_and_told_and_what_is_worse_in_its_newest_version_is_exit_code_1(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_versions: list[str] = []

    def run_row(asked: Asked, versions: Sequence[Source], policy: Policy) -> History:
        asked_versions.extend(map(str, versions))
        return followed(RIGHT, WRONG) if code else followed(WRONG, RIGHT)

    monkeypatch.setattr(row, "run_row", run_row)
    monkeypatch.setattr(row, "released", lambda package: tuple(map(Version, ("1.0", "1.1", "2.0"))))
    words = ["--every", "minor", "--last", "2", "--out", "out", "--json"]
    done = inside("regression", "--package", "flax", *words, folder=tmp_path)
    assert (done.returncode, asked_versions) == (code, ["1.1", "2.0"]), done.stderr
    assert done.stdout == (tmp_path / "out" / "history.json").read_text()
    assert json.loads(done.stdout)["package"] == "torch"
    assert (tmp_path / "out" / "history" / "index.html").is_file()

"""Environments by version, of wheels of a few lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.regression import pins as pinned
from conformance.regression.environments import Built, Unbuilt, build
from conformance.regression.pins import Pins, Source, source
from conformance.regression.releases import released
from tests.tiny_wheels import write_wheel

GROUP = Pins(group="g", together=("layers==2", "arrays==2"))


@pytest.fixture(name="index", autouse=True)
def _index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with two versions of a library and of what it needs; a worker needs nothing."""
    folder = tmp_path / "index"
    write_wheel(folder, "arrays", "1")
    write_wheel(folder, "arrays", "2")
    write_wheel(folder, "layers", "1", code="answer = 1", requires=("arrays<2",))
    write_wheel(folder, "layers", "2", code="answer = 2")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(pinned, "WORKER", ())
    return folder


def built(at: str | Source, folder: Path, group: Pins = GROUP) -> Built:
    found = build(group, "layers", source(at) if isinstance(at, str) else at, folder)
    assert isinstance(found, Built), found
    return found


def answered(environment: Built) -> str:
    command = [str(environment.python), "-c", "import layers; print(layers.answer)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_environment_holds_that_version(tmp_path: Path) -> None:
    found = built("2", tmp_path)
    assert (found.kept, found.versions) == ("as pinned", {"layers": "2", "arrays": "2"})
    assert answered(found) == "2"


def test_what_has_to_move_moves_to_the_nearest_older_and_is_told(tmp_path: Path) -> None:
    found = built("1", tmp_path)
    assert (found.kept, found.versions) == ("as pinned or older", {"layers": "1", "arrays": "1"})


def test_what_was_built_is_used_again(tmp_path: Path, index: Path) -> None:
    first = built("2", tmp_path)
    for wheel in index.glob("*.whl"):
        wheel.unlink()
    assert built("2", tmp_path) == first


def test_a_version_that_does_not_install_is_a_result_with_the_installer_s_words(tmp_path: Path) -> None:
    found = build(GROUP, "layers", source("9"), tmp_path)
    assert isinstance(found, Unbuilt)
    assert "layers==9" in found.reason
    assert "others free" in found.log.read_text()


def test_a_wheel_takes_the_place_of_the_version_of_its_name(tmp_path: Path) -> None:
    one = write_wheel(tmp_path / "one", "layers", "2", code="answer = 'one'")
    two = write_wheel(tmp_path / "two", "layers", "2", code="answer = 'two'")
    assert [answered(built(str(wheel), tmp_path)) for wheel in (one, two)] == ["one", "two"]


def test_a_package_that_is_alone_leaves_what_it_asks_for_out(tmp_path: Path) -> None:
    group = Pins(group="g", together=("arrays==2",), alone=("layers==2",))
    assert built("1", tmp_path, group).versions == {"layers": "1", "arrays": "2"}


def test_versions_in_the_index_are_listed_oldest_first() -> None:
    assert [str(each) for each in released("layers")] == ["1", "2"]


def test_a_package_that_is_in_no_index_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="nothing-at-all: its versions cannot be listed"):
        released("nothing-at-all")


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "layers-2-py3-none-any.whl"
    wheel.write_text("no archive")
    with pytest.raises(UsageError, match="not a wheel"):
        build(GROUP, "layers", source(str(wheel)), tmp_path)

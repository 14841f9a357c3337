"""The two versions that are compared: told at once where they are of another package, or the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.regression import wheels
from conformance.regression.pins import Local, Source, source
from conformance.regression.wheels import built_wheel, check_asked, check_different, digest_of
from tests.tiny_wheels import write_wheel


def wheel(folder: Path, name: str = "layers", code: str = "a = 1") -> Source:
    return Local(path=write_wheel(folder, name, "2", code=code))


def checkout(folder: Path, text: str) -> Source:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(text)
    return Local(path=folder)


def test_a_wheel_packed_again_is_the_same(tmp_path: Path) -> None:
    one, again = (write_wheel(tmp_path / name, "layers", "2", code="a = 1") for name in ("one", "again"))
    other = write_wheel(tmp_path / "other", "layers", "2", code="a = 2")
    assert digest_of(one) == digest_of(again) != digest_of(other)


@pytest.mark.parametrize(("base", "head"), [("1.2", "1.2"), ("1.2", "1.2.0")])
def test_one_version_twice_is_told(base: str, head: str) -> None:
    with pytest.raises(UsageError, match=rf"layers: base and head are the same, {head}: nothing to compare"):
        check_asked("layers", source(base), source(head))


def test_a_wheel_of_the_same_content_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="base and head are the same"):
        check_asked("layers", wheel(tmp_path / "one"), wheel(tmp_path / "again"))


def test_wheels_of_one_version_and_another_content_are_compared(tmp_path: Path) -> None:
    check_different("layers", wheel(tmp_path / "one"), wheel(tmp_path / "other", code="a = 2"))


def test_a_wheel_of_another_package_is_told_with_both_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--head .*/arrays-2-py3-none-any.whl: is of arrays, not of layers"):
        check_asked("layers", source("1"), wheel(tmp_path, "arrays"))


def test_a_name_is_spelled_in_any_way_that_pip_takes(tmp_path: Path) -> None:
    check_asked("Many-Layers", source("1"), wheel(tmp_path, "many_layers"))


def test_a_file_that_is_not_named_as_a_wheel_is_told(tmp_path: Path) -> None:
    file = tmp_path / "layers.whl"
    file.touch()
    with pytest.raises(UsageError, match=r"layers\.whl: not a wheel's name: expected NAME-VERSION"):
        check_asked("layers", source("1"), Local(path=file))


def test_a_checkout_of_another_package_is_told_before_a_wheel_is_built(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--base .*: is of arrays, not of layers"):
        check_asked("layers", checkout(tmp_path / "it", '[project]\nname = "arrays"\n'), source("1"))


def test_a_checkout_that_states_no_name_is_told_once_its_wheel_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = checkout(tmp_path / "it", "[build-system]\n")
    check_asked("layers", source("1"), at)
    monkeypatch.setattr(wheels, "_wheel", lambda *_: write_wheel(tmp_path, "arrays", "2"))
    with pytest.raises(UsageError, match="it: is of arrays, not of layers"):
        built_wheel("layers", at, tmp_path)


def test_a_checkout_whose_project_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pyproject.toml: not TOML"):
        check_asked("layers", source("1"), checkout(tmp_path / "it", "[project"))

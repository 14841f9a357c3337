"""The spec and the adapters are found beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.errors import SuiteError
from conformance.spec import locations


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    locations.root.cache_clear()
    yield
    locations.root.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder in a place of its own, taken for ours."""
    folder = tmp_path / "conformance"
    folder.mkdir()
    monkeypatch.setattr(locations, "_PACKAGE", folder)
    return folder


def test_a_checkout_is_known_by_the_name_of_its_project(package: Path) -> None:
    (package.parent / "pyproject.toml").write_text('[project]\nname = "batchnorm-conformance"\n')
    assert locations.spec_folder() == package.parent / "spec"


@pytest.mark.parametrize("project", [None, '[project]\nname = "another"\n', "[tool.x]\n"])
def test_elsewhere_the_spec_is_inside_the_package(package: Path, project: str | None) -> None:
    if project is not None:
        (package.parent / "pyproject.toml").write_text(project)
    (package.parent / "spec").mkdir()
    (package / "_shipped").mkdir()
    assert locations.spec_folder() == package / "_shipped" / "spec"


def test_a_package_without_a_spec_is_the_suite_s_own_fault(package: Path) -> None:
    with pytest.raises(SuiteError, match="neither a checkout of batchnorm-conformance nor a wheel"):
        locations.root()


def test_adapters_are_the_files_of_a_library_by_name_and_none_that_others_share(package: Path) -> None:
    folder = package / "_shipped" / "adapters"
    for name in ("torch/nn.py", "jax/nn.py", "torch/_native.py", "jax/batch_norm.py", "jax/notes.txt", "beside.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    files = [file.relative_to(folder).as_posix() for file in locations.adapter_files()]
    assert files == ["jax/batch_norm.py", "jax/nn.py", "torch/nn.py"]


def test_the_spec_is_found_from_another_folder(tmp_path: Path) -> None:
    code = "from conformance.spec.locations import spec_folder; print((spec_folder() / 'semantics.md').is_file())"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"

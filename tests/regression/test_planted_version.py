"""One line of a real library changed on the fly, as a version of its own: found in its cells, with its cause, alone."""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

import pytest
from packaging.version import Version

from conformance.compare.values import Policy
from conformance.regression import version
from conformance.regression.environments import Built
from conformance.regression.pins import Pins, Released, Source
from conformance.regression.regression import Request, check
from conformance.regression.version import Asked
from tests.adapters.test_contracts import interpreters

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif("jax" not in interpreters(), reason="CONFORMANCE_PYTHONS names no interpreter of jax"),
]

RIGHT, WRONG = "scale * jax.lax.rsqrt(var + eps)", "scale / (jax.numpy.sqrt(var) + eps)"
#: Where a package lies, found without importing it.
_WHERE = "import importlib.util as u; print(u.find_spec('haiku').submodule_search_locations[0])"


def haiku(python: Path) -> Path:
    """Return the folder of Haiku in that environment."""
    return Path(subprocess.run([python, "-c", _WHERE], capture_output=True, text=True, check=True).stdout.strip())


def environment(folder: Path, edit: tuple[str, str]) -> Path:
    """Return an interpreter that sees the packages of the group, and before them Haiku with one line replaced."""
    original = haiku(Path(interpreters()["jax"]))
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python3*/site-packages")
    shutil.copytree(original, packages / "haiku")
    (packages / "group.pth").write_text(f"{original.parent}\n")
    file = packages / "haiku" / "_src" / "batch_norm.py"
    text = file.read_text()
    assert text.count(edit[0]) == 1, "Haiku writes its formula otherwise now"
    file.write_text(text.replace(*edit))
    return folder / "bin" / "python"


def test_a_planted_line_is_found_in_its_cells_with_its_cause_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = {"1": (RIGHT, RIGHT), "2": (RIGHT, WRONG)}

    def build(pins: Pins, package: str, at: Source, folder: Path) -> Built:
        python = environment(tmp_path / str(at), edits[str(at)])
        assert haiku(python).is_relative_to(tmp_path)
        return Built(group=pins.group, python=python, kept="as pinned", versions={}, seconds=0.0)

    monkeypatch.setattr(version, "build", build)
    cells = Asked(
        package="dm-haiku",
        pins=(Pins(group="jax", together=("dm-haiku",)),),
        cases=("published.layer-2017/*", "centering.rank-2/float32"),
        selection=("--mode", "eager", "--implementation", "haiku.*", "--implementation", "flax.linen.BatchNorm"),
        environments=tmp_path,
        out=tmp_path / "out",
    )
    one, two = (Released(version=Version(number)) for number in ("1", "2"))
    asked = Request(cells=cells, base=one, head=two, policy=Policy())
    found = check(asked).comparison
    (change,) = found.changes
    assert found.compared > len(change.cells)
    assert (change.implementation, change.regression, change.what) == (
        "haiku.BatchNorm",
        True,
        "epsilon outside the root",
    )
    assert {cell.case for cell in change.cells} == {
        "published.layer-2017/features-first",
        "published.layer-2017/features-last",
    }
    others = (found.grades, found.environments, found.vanished, found.appeared)
    assert others == ((), (), (), ())

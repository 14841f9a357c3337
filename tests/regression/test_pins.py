"""Pins with one package replaced."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

from conformance.errors import UsageError
from conformance.regression.pins import (
    Local,
    NightlyBuilds,
    Pins,
    Released,
    holding,
    pinned_version,
    pins,
    rungs,
    source,
    with_nightly,
)
from conformance.spec.locations import root

PROJECT = {
    "dependency-groups": {
        "jax": ["jax==0.10.2", "flax==0.12.8", "numpy>=2"],
        "tensorflow": ["tensorflow-cpu==2.21.0"],
        "tensorflow-alone": ["tf_keras==2.21.0"],
        "portable": ["mlx[cpu]==0.32.4", "keras==3.15.1; python_version > '3'"],
        "portable-gpu": [{"include-group": "portable"}],
    }
}
JAX, TENSORFLOW, PORTABLE = pins(PROJECT, ["jax", "tensorflow", "portable"])


def test_a_group_has_what_is_resolved_together_and_what_is_installed_alone() -> None:
    assert Pins(group="tensorflow", together=("tensorflow-cpu==2.21.0",), alone=("tf_keras==2.21.0",)) == TENSORFLOW


def test_gpu_pins_are_a_group_of_their_own_that_may_include_another() -> None:
    assert pins(PROJECT, ["portable"], gpu=True)[0].together == PORTABLE.together


def test_the_package_is_replaced_and_the_other_pins_are_kept() -> None:
    first = rungs(JAX, "flax", "==0.12.0")[0]
    assert (first.kept, first.together) == ("as pinned", ("jax==0.10.2", "flax==0.12.0", "numpy>=2", "ml_dtypes"))


def test_what_a_package_imports_without_asking_for_it_is_installed_in_every_attempt() -> None:
    (shipped,) = pins(tomllib.loads((root() / "pyproject.toml").read_text()), ["portable"])
    assert all(
        any(text.startswith("setuptools") for text in rung.together)
        for rung in rungs(shipped, "paddlepaddle", "==3.2.0")
    )


def test_where_the_pins_do_not_go_together_the_others_may_be_older_and_then_anything() -> None:
    _, older, free = rungs(JAX, "flax", "==0.12.0")
    assert older.together == ("jax<=0.10.2", "flax==0.12.0", "numpy", "ml_dtypes")
    assert free.together == ("jax", "flax==0.12.0", "numpy", "ml_dtypes")


def test_extras_and_markers_stay_with_the_package() -> None:
    assert rungs(PORTABLE, "mlx", "==0.30.0")[0].together[0] == "mlx[cpu]==0.30.0"
    assert rungs(PORTABLE, "mlx", " @ file:///m.whl")[1].together[:2] == (
        "mlx[cpu] @ file:///m.whl",
        'keras<=3.15.1 ; python_version > "3"',
    )


def test_a_package_that_is_installed_alone_is_replaced_there() -> None:
    first = rungs(TENSORFLOW, "tf-keras", "==2.20.0")[0]
    assert (first.together, first.alone) == (("tensorflow-cpu==2.21.0", "numpy", "ml_dtypes"), ("tf_keras==2.20.0",))


def test_a_package_that_no_pin_names_joins_the_group() -> None:
    assert "numpy==1.26.4" in rungs(TENSORFLOW, "numpy", "==1.26.4")[0].together


def test_only_groups_that_pin_the_package_take_part() -> None:
    assert holding([JAX, TENSORFLOW, PORTABLE], "Flax") == (JAX,)
    assert pinned_version([JAX], "flax") == Released(version=Version("0.12.8"))


def test_a_packaging_that_reads_no_groups_is_told_in_one_line_with_what_installs_a_newer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "packaging.dependency_groups", None)
    with pytest.raises(UsageError, match=r"needs packaging 26\.1 or newer: pip install '.*\[regression\]'"):
        pins(PROJECT, ["jax"])


def test_an_unknown_package_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError, match="--package tensorflow: no group pins it; did you mean tensorflow-cpu"):
        holding([JAX, TENSORFLOW], "tensorflow")


def test_a_version_or_a_path_is_told_apart(tmp_path: Path) -> None:
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.touch()
    (tmp_path / "pyproject.toml").touch()
    assert source("1.2.3rc1") == Released(version=Version("1.2.3rc1"))
    assert source(str(wheel)) == Local(path=wheel)
    assert source(str(tmp_path)) == Local(path=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("newest", "expected a version"),
        ("no/such.whl", "no wheel and no"),
        ("folder", "no wheel and no"),
        ("", "expected a version"),
    ],
)
def test_what_is_neither_is_refused(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        source(text)


def test_a_build_of_a_night_takes_the_package_s_place_under_its_own_name() -> None:
    builds = NightlyBuilds(distribution="tf-nightly-cpu", along=("ml_dtypes",), without=("Keras",))
    group = Pins(group="t", together=("tensorflow-cpu==2.21.0", "keras==3.15.1"), alone=("tf_keras==2.21.0",))
    renamed = with_nightly(group, "tensorflow-cpu", builds)
    first, older, free = rungs(renamed, builds.distribution, "==2.22.dev1")
    assert first.together == ("tf-nightly-cpu==2.22.dev1", "ml_dtypes>=0.dev0", "numpy")
    assert {older.together, free.together} == {first.together}
    assert (first.alone, free.alone) == (("tf_keras==2.21.0",), ("tf_keras",))


def test_the_nights_that_the_project_names_are_of_packages_that_it_pins() -> None:
    project = tomllib.loads((root() / "pyproject.toml").read_text())
    for package in project["tool"]["conformance"]["nightly"]:
        assert holding(pins(project, ["torch", "tensorflow", "jax", "portable"]), package)

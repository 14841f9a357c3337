"""A glob that can match nothing is told from one that can, by the texts of the files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.planning.known_names import case_ids, check_names, implementation_names, may_hold, meet
from conformance.spec.loader import load
from conformance.spec.locations import adapter_files, spec_folder


def test_every_implementation_whose_calls_are_recorded_has_a_name_that_fits() -> None:
    names = implementation_names(adapter_files())
    recorded = {entry["name"] for entry in json.loads((spec_folder() / "calls.json").read_text(encoding="utf-8"))}
    assert len(recorded) > 40
    assert [name for name in recorded if not any(meet(name, known) for known in names)] == []


def test_every_case_has_an_id_that_fits() -> None:
    ids = case_ids(spec_folder() / "cases")
    assert [
        entry.case.id
        for entry in load(spec_folder()).cases
        if entry.case.id not in ids and f"{entry.case.id.partition('/')[0]}/*" not in ids
    ] == []


@pytest.mark.parametrize("glob", ["torch.*", "*BatchNorm", "keras.layers.BatchNormalization+jax", "numpy.[BC]*", "*"])
def test_a_glob_that_can_match_is_taken(glob: str) -> None:
    check_names([glob], [], own_adapters=False)


@pytest.mark.parametrize(
    ("glob", "meant"),
    [
        ("torch.nn.BatchNorm2d", "torch.nn.BatchNorm?"),
        ("tourch.*", "torch.*?"),
        ("Numpy.BatchNorm", "numpy.BatchNorm?"),
    ],
)
def test_a_glob_that_can_match_nothing_is_refused_with_the_nearest_name(glob: str, meant: str) -> None:
    with pytest.raises(UsageError, match="no such implementation") as refused:
        check_names([glob], [], own_adapters=False)
    assert str(refused.value).endswith(meant)


def test_adapters_of_one_s_own_may_have_any_names() -> None:
    check_names(["mine.Layer"], [], own_adapters=True)


def test_cases_of_one_s_own_may_have_any_ids() -> None:
    check_names([], ["own.*"], own_adapters=False, folder=None)


def test_the_names_of_an_adapter_s_weights_are_none_of_implementations(tmp_path: Path) -> None:
    text = 'A = Implementation(name="one.Layer")\nB = [replace(A, name=f"{A.name}+{x}") for x in Y]\nz.add(name="moving")\n'
    (tmp_path / "adapter.py").write_text(text)
    assert implementation_names([tmp_path / "adapter.py"]) == ["one.Layer", "one.Layer+*"]


@pytest.mark.parametrize(
    ("one", "other", "do"),
    [
        ("a*", "*b", True),
        ("a*c", "*b", False),
        ("a?c", "abc", True),
        ("a[xy]c", "a*", True),
        ("", "*", True),
        ("a", "", False),
        ("a**", "a", True),
    ],
)
def test_two_globs_meet_where_one_text_matches_both(one: str, other: str, do: bool) -> None:
    assert meet(one, other) is do
    assert meet(other, one) is do


@pytest.fixture(name="library")
def _library(tmp_path: Path) -> Path:
    """Return a folder with a row of the library's own and two files, one of which makes a variant of it."""
    (tmp_path / "_native.py").write_text('LAYER = Implementation(name="one.Layer")\n')
    (tmp_path / "variants.py").write_text('B = replace(LAYER, name=f"{LAYER.name}+{word}")\n')
    (tmp_path / "function.py").write_text('C = Implementation(name="one.function")\n')
    return tmp_path


@pytest.mark.parametrize(
    ("glob", "file", "may"),
    [
        ("one.Layer+twice", "variants.py", True),
        ("one.Layer+twice", "function.py", False),
        ("one.Layer", "function.py", True),  # it may offer the library's own row as it is
        ("one.function", "function.py", True),
        ("one.function", "variants.py", False),
        ("two.*", "function.py", False),
    ],
)
def test_a_file_is_asked_only_where_its_names_fit(library: Path, glob: str, file: str, may: bool) -> None:
    assert may_hold(library / file, [glob]) is may
    assert may_hold(library / file, ["no.such.*", glob]) is may


def test_every_file_is_asked_where_nothing_is_selected(library: Path) -> None:
    assert may_hold(library / "function.py", [])


def test_a_file_is_held_against_every_glob(library: Path) -> None:
    """The last of several may be the one that matches."""
    assert may_hold(library / "function.py", ["two.*", "one.function"])

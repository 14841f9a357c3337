"""The families of processes: what a file gets that names one."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.planning.discovery import keys, processes
from conformance.planning.families import family, name_of

FAMILIES = """
pair:
  shared: true
  processes: &pair
    - {group: g, environment: [{A: "1"}, {B: "2", A: "3"}], dtypes: [float32]}
    - {suffix: wide, group: g, environment: {A: "1"}, dtypes: [float64], threads: "no number"}
alone:
  processes: *pair
unknown-key:
  processes: [{group: g, environment: {}, color: red}]
"""


def file(folder: Path, name: str, text: str = "") -> Path:
    (folder / "processes.yaml").write_text(FAMILIES)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("flax/nnx_transforms.py", "flax-nnx-transforms"),
        ("tf_keras/batch_norm.py", "tf-keras"),
        ("top_file.py", "top-file"),
    ],
)
def test_processes_are_named_after_the_library_and_the_file(path: str, name: str, tmp_path: Path) -> None:
    assert name_of(file(tmp_path, path)) == name


def test_a_file_that_names_a_family_runs_in_its_processes(tmp_path: Path) -> None:
    found = processes(file(tmp_path, "mine/layer.py", 'PROCESSES = "alone"\n'))
    assert found == [
        {"name": "mine-layer", "group": "g", "environment": {"A": "3", "B": "2"}, "dtypes": ["float32"]},
        {
            "name": "mine-layer-wide",
            "group": "g",
            "environment": {"A": "1"},
            "dtypes": ["float64"],
            "threads": "no number",
        },
    ]


def test_files_of_a_shared_family_follow_one_another_in_each_of_its_processes(tmp_path: Path) -> None:
    files = [file(tmp_path, name, 'PROCESSES = "pair"\n') for name in ("mine/layer.py", "yours/batch_norm.py")]
    found = [(key.name, key.shared, key.process) for key in keys({}, map(str, files))]
    assert [name for name, _, _ in found] == ["mine-layer", "mine-layer-wide", "yours", "yours-wide"]
    assert [shared for _, shared, _ in found] == ["pair", "pair-wide"] * 2
    assert found[0][2] == found[2][2] != found[1][2]


def test_a_file_elsewhere_may_name_a_family_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text('PROCESSES = "jax"\n')
    assert [(each["name"], each["shared"]) for each in processes(path)] == [("mine", "jax"), ("mine-x64", "jax-x64")]


def test_a_family_that_is_not_there_is_one_line_with_the_nearest(tmp_path: Path) -> None:
    path = file(tmp_path, "mine/layer.py")
    with pytest.raises(UsageError, match=r"layer\.py: PROCESSES names no family of .*: 'par'; did you mean pair\?"):
        family("par", path)


def test_a_process_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, "mine/layer.py", 'PROCESSES = "unknown-key"\n')
    with pytest.raises(UsageError, match=r"layer\.py:1: expected PROCESSES to be a list of"):
        processes(path)

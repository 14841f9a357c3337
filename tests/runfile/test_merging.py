"""Shards of one run as one: nothing lost, nothing twice, nothing of another run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.runfile.merging import merged
from conformance.runfile.reading import read
from conformance.runfile.run import Run
from conformance.spec.locations import spec_folder

#: What differs between two runs that compute the same.
OWN = ("started", "finished", "seconds", "judging", "host")
NUMPY = spec_folder().parent / "adapters" / "numpy" / "batch_norm.py"
WORDS = ["--adapter", f"{NUMPY}:ADAPTER", "--workers", "1", "--case", "axes.rank-*"]


def conformance(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "conformance", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module", name="run_folder")
def _run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run in two shards, and the same run in one piece as one shard."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in ("1/2", "2/2", "1/1"):
        out = f"{shard.replace('/', '-of-')}.jsonl"
        assert conformance("run", *WORDS, "--shard", shard, "--out", out, folder=folder).returncode == 0
    return folder


def without_times(value: Any) -> Any:
    match value:
        case dict():
            return {name: without_times(item) for name, item in value.items() if name not in OWN}
        case list():
            return [without_times(item) for item in value]
        case _:
            return value


def lines_of(path: Path) -> list[Any]:
    return [without_times(json.loads(line)) for line in path.read_text().splitlines()]


def merge(folder: Path, *names: str) -> Run:
    return merged([read(folder / f"{name}.jsonl") for name in names], folder / "whole.jsonl")


def edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """Write the second shard with each line changed, and return its name."""
    lines = [json.loads(line) for line in (folder / "2-of-2.jsonl").read_text().splitlines()]
    for line in lines:
        change(line)
    (folder / "edited.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return "edited"


def test_shards_merge_to_the_run_in_one_piece(run_folder: Path) -> None:
    for names, out in ((["2-of-2", "1-of-2"], "two.jsonl"), (["1-of-1"], "one.jsonl")):
        words = [*(f"{name}.jsonl" for name in names), "--out", out]
        assert conformance("merge", *words, folder=run_folder).returncode == 0
    assert lines_of(run_folder / "two.jsonl") == lines_of(run_folder / "one.jsonl")


def test_each_shard_has_a_part_of_the_cells(run_folder: Path) -> None:
    planned = [lines_of(run_folder / f"{name}.jsonl")[0]["planned"] for name in ("1-of-2", "2-of-2", "1-of-1")]
    assert planned[0] + planned[1] == planned[2]
    assert min(planned[:2]) > 0


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["1-of-2"], "missing: shard 2 of 2"),
        (["1-of-2", "1-of-2"], "is shard 1 of 2, as 1-of-2.jsonl is"),
        (["1-of-2", "1-of-1"], "is shard 1 of 1, as 1-of-2.jsonl is"),
        (["1-of-2", "2-of-2", "plain"], "plain.jsonl: is no shard"),
    ],
)
def test_shards_that_make_no_whole_are_refused(names: list[str], complaint: str, run_folder: Path) -> None:
    header, *rest = (run_folder / "1-of-1.jsonl").read_text().splitlines()
    plain = {name: value for name, value in json.loads(header).items() if name != "shard"}
    (run_folder / "plain.jsonl").write_text("\n".join([json.dumps(plain), *rest]) + "\n")
    with pytest.raises(UsageError) as refused:
        merge(run_folder, *names)
    assert complaint in str(refused.value).replace(f"{run_folder}/", "")


def other_spec(line: dict[str, Any]) -> None:
    if line["kind"] == "header":
        line["spec"] = "0" * 64


def other_version(line: dict[str, Any]) -> None:
    if line["kind"] == "environment":
        line["versions"]["numpy"] = "0.1"


def other_settings(line: dict[str, Any]) -> None:
    if line["kind"] == "environment":
        line["settings"] = {"pool": "another"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (other_spec, "edited.jsonl: has another spec than 1-of-2.jsonl"),
        (other_version, "numpy has other versions: "),
        (other_settings, "numpy: other settings than in 1-of-2.jsonl"),
    ],
)
def test_shards_of_different_runs_are_refused(
    change: Callable[[dict[str, Any]], None], complaint: str, run_folder: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        merge(run_folder, "1-of-2", edited(run_folder, change))
    assert complaint in str(refused.value).replace(f"{run_folder}/", "")


def test_a_shard_that_did_not_end_is_refused(run_folder: Path) -> None:
    whole = (run_folder / "2-of-2.jsonl").read_text().splitlines()
    (run_folder / "cut.jsonl").write_text("\n".join(whole[:-2]) + "\n")
    with pytest.raises(UsageError, match="complete it with --resume first"):
        merge(run_folder, "1-of-2", "cut")


def test_another_shard_is_not_resumed(run_folder: Path) -> None:
    words = ["run", *WORDS, "--shard", "2/2", "--out", "1-of-2.jsonl", "--resume"]
    refused = conformance(*words, folder=run_folder)
    assert refused.returncode == 2
    assert "ran another shard: 1/2" in refused.stderr

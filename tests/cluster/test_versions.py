"""The cells of two versions of a package run on a cluster in the environments that a regression check has built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from conformance.regression.environments import Built, Unbuilt
from conformance.regression.running import run_cells
from conformance.run.programs import python_of
from conformance.runfile.reading import read
from conformance.runfile.run import Run
from tests.cluster.loopback import VERSIONED
from tests.command_line import inside

pytest.importorskip("distributed")

WORDS = ("--adapter", VERSIONED, "--case", "edges.one-value", "--implementation", "versioned.*")


def built(folder: Path, version: str) -> Built:
    """Put an environment there whose interpreter says that version."""
    python = python_of(folder / f"versioned-package-{version}-0a1b")
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\nVERSIONED={version} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return Built(group="versioned", python=python, kept="as pinned", versions={}, seconds=0.0)


def run_of(folder: Path, address: str, *environments: Built | Unbuilt) -> Run:
    """Run the cells in those environments, and return the run."""
    assert run_cells(folder / "run.jsonl", environments, WORDS, lambda *_: None, address)
    return read(folder / "run.jsonl")


def test_a_version_runs_in_its_own_environment(tmp_path: Path, cluster: Any, environments: Path) -> None:
    """Another version's stands beside it."""
    built(environments, "1.0")
    run = run_of(tmp_path, cluster.address, built(environments, "1.1"))
    assert [environment.versions["versioned"] for environment in run.environments] == ["1.1"]
    assert all(record.machine and record.verdict.agrees for record in run.records)


def test_what_was_not_built_is_a_failing_item_there_too(tmp_path: Path, cluster: Any) -> None:
    log = tmp_path / "install.log"
    log.write_text("no such version\n")
    run = run_of(tmp_path, cluster.address, Unbuilt(group="versioned", log=log, reason="no such version"))
    (environment,) = run.environments
    assert environment.failed is not None
    assert "no such version" in environment.failed


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", ".hidden", ""])
def test_an_environment_is_a_name_and_no_path(name: str, tmp_path: Path) -> None:
    words = ("--scheduler", "tcp://127.0.0.1:1", "--environment", f"torch={name}")
    ended = inside("run", *words, folder=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.startswith(f"error: --environment torch={name}: expected ")


def test_an_environment_without_a_scheduler_is_a_mistake(tmp_path: Path) -> None:
    ended = inside("run", "--environment", "torch=torch-1", folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == "error: --environment: is what workers of a cluster have, and goes with --scheduler\n"


def test_a_scheduler_that_does_not_answer_is_told_before_anything_is_built(tmp_path: Path) -> None:
    words = ("--package", "flax", "--head", "0.12.8", "--scheduler", "tcp://127.0.0.1:1")
    with mock.patch("conformance.cluster.connection._CONNECTING", 0.5):
        ended = inside("regression", *words, folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: --scheduler tcp://127.0.0.1:1: no scheduler answers")
    assert not (tmp_path / ".conformance").exists()

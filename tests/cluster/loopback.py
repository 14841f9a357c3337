"""Runs on a cluster of this machine's, and what of two runs must be equal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from conformance.runfile.reading import read
from conformance.runfile.structs import Record

ROOT = Path(__file__).parents[2]
NUMPY = f"{ROOT / 'adapters' / 'numpy' / 'batch_norm.py'}:ADAPTER"
SLOW = f"{ROOT / 'tests' / 'faults' / 'slow.py'}:ADAPTER"
DYING = f"{ROOT / 'tests' / 'faults' / 'dying.py'}:ADAPTER"
LEAKING = f"{ROOT / 'tests' / 'faults' / 'leaking.py'}:ADAPTER"
PLANTED = f"{ROOT / 'tests' / 'faults' / 'planted.py'}:ADAPTER"
VERSIONED = f"{ROOT / 'tests' / 'faults' / 'versioned.py'}:ADAPTER"
CASES = """
- id: own.row
  title: One train step of a layer
  source: none, it tests the runner
  clauses: ["1.1"]
  op: batch_norm
  matrix:
    shape: {shapes}
    decay: [{decays}]
  feature_axes: [-1]
  steps:
  - {{step: train, input: {{kind: normal, seed: 1}}, upstream: {{kind: normal, seed: 2}}}}
"""


def write_cases(folder: Path, decays: str = "0.5, 0.75, 0.9", rows: int = 4) -> Path:
    """Write a case for each shape and decay, and return their file."""
    shapes = "{" + ", ".join(f"s{row}: {{shape: [{row + 4}, 3]}}" for row in range(rows)) + "}"
    file = folder / "own.yaml"
    file.write_text(CASES.format(shapes=shapes, decays=decays))
    return file


def started(folder: Path, *words: str, command: str = "run") -> subprocess.Popen[str]:
    """Start `conformance run`, or another command, with those words in that folder."""
    everything = [sys.executable, "-P", "-m", "conformance", command, *words]
    # The folders of packages, as this process has them: a worker of Dask inherits them too.
    return subprocess.Popen(
        everything, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    )


def ran(folder: Path, *words: str, command: str = "run") -> tuple[int, str]:
    """Return exit code and output of `conformance run`, or another command, with those words in that folder."""
    process = started(folder, *words, command=command)
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


def told(path: Path) -> list[Any]:
    """Return everything that a run file says but for times and machines, its records in the order of their names."""
    run = read(path)
    records = sorted(run.records, key=lambda record: record.cell)
    header = msgspec.structs.replace(run.header, host={}, started="")
    environments = [msgspec.structs.replace(environment, host={}) for environment in run.environments]
    assert run.footer is not None
    footer = msgspec.structs.replace(run.footer, finished="", timeline=None)
    return [header, *environments, *run.cases.values(), *map(without_times, records), footer]


def without_times(record: Record) -> Record:
    """Return the record without what differs from run to run."""
    steps = tuple(msgspec.structs.replace(step, seconds=None) for step in record.steps)
    return msgspec.structs.replace(record, steps=steps, judging=None, machine="")


def records(path: Path) -> int:
    """Return how many records a run file has so far."""
    return path.read_bytes().count(b'"kind":"record"') if path.exists() else 0

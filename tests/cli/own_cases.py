"""A case file of a person's own, and the command line in a process of its own, as a shell starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.fake_cells import DYING

#: One adapter, named: asking every one what it offers starts a process for each.
NUMPY = ["--adapter", str(DYING.parents[2] / "adapters" / "numpy" / "batch_norm.py"), "--workers", "1"]
OWN = """- id: own.drift
  title: A quarter of the way to the batch is gone after one batch.
  source: a test
  clauses: ["7.1"]
  op: batch_norm
  shape: [4, 2]
  feature_axes: [-1]
  decay: 0.75
  steps:
    - {step: train, input: {kind: normal, seed: 1, mean: 2.0}}
    - {step: infer, input: {kind: normal, seed: 2}}
"""
TWICE = OWN + OWN.replace("own.drift", "own.second")


def conformance(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "conformance", *words]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300
    )


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def records_of(path: Path) -> list[dict[str, object]]:
    return [line for line in lines_of(path) if line["kind"] == "record"]

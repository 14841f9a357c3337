"""Case files as texts of a few lines, and what loading them gives."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from conformance.errors import SpecErrors
from conformance.spec.loader import Spec, load

HEAD = """- id: fam.one
  title: A title that is a fact.
  source: somewhere
  clauses: ["3.1"]
  op: batch_norm
  shape: [2, 3]
  feature_axes: [-1]
"""
STEPS = """  steps:
    - {step: train, input: {kind: normal, seed: 1}, upstream: {kind: normal, seed: 2}}
"""
CLAUSES = "# Semantics\n\n**3.1 Mean.** Text.\n\n**4.1 Correction 0.** Text.\n"


def loaded(folder: Path, **files: str) -> Spec:
    (folder / "cases").mkdir(exist_ok=True)
    (folder / "semantics.md").write_text(CLAUSES)
    for name, text in files.items():
        (folder / "cases" / f"{name}.yaml").write_text(text)
    return load(folder)


def complaints(folder: Path, **files: str) -> list[str]:
    """Return each error as it reads in the folder of the files."""
    (folder / "cases").mkdir(exist_ok=True)
    with contextlib.chdir(folder / "cases"), pytest.raises(SpecErrors) as caught:
        loaded(folder, **files)
    return [str(error) for error in caught.value.errors]


def step(text: str) -> str:
    return f"{HEAD}  steps:\n    - {text}\n"

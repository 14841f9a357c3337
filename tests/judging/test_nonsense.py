"""Whatever a step gives and whatever its dialect, diagnosis ends: a change of the formula that cannot be tried is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.runfile.reading import read
from conformance.verdict import Verdict

ADAPTER = Path(__file__).parents[1] / "faults" / "nonsense.py"


@pytest.mark.parametrize("family", ["adapting", "affine", "centering", "edges", "freezing"])
def test_every_quantity_that_is_wrong_alone_is_judged_to_the_end(family: str, tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    words = ["run", "--adapter", f"{ADAPTER}:ADAPTER", "--case", f"{family}.*", "--out", str(out)]
    command = [sys.executable, "-P", "-m", "conformance", *words, "--", "--tb=no", "-q", "--no-summary"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    found = read(out)
    assert (ended.returncode, found.complete) == (1, True), ended.stdout + ended.stderr
    assert Verdict.DEVIATES in {Verdict(record.verdict) for record in found.records}

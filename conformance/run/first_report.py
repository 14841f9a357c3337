"""A report of a run that goes on: made in a process of its own as soon as the smoke tier has run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conformance.planning.plan import Cell, Offer, Selection, plan
from conformance.runfile.terminal import plain
from conformance.spec.loader import Spec
from conformance.spec.tiers import Tier, Tiers

_LAST = 500


def smoke_cells(
    spec: Spec, offers: Sequence[Offer], selection: Selection, tiers: Tiers, cells: Sequence[Cell]
) -> frozenset[str]:
    """Return the ids of those of `cells` that the smoke tier has too."""
    smoke = {cell.id for cell in plan(spec.cases, offers, replace(selection, tier=Tier.SMOKE), tiers)}
    return frozenset(cell.id for cell in cells if cell.id in smoke)


class FirstReport:
    """The report of what a run file holds so far, in a folder. The run never waits for it but at its end."""

    def __init__(self, folder: Path | None, run: Path) -> None:
        self._folder, self._run = folder, run
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start to make it, where a folder was named."""
        if self._folder is None:
            return
        words = ["report", str(self._run), "--partial", "--out", str(self._folder)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "conformance", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        print(f"\nthe smoke tier has run: a first report is being made, {self._folder / 'index.html'}", flush=True)

    def end(self) -> None:
        """Wait until it is made, and say why where it was not."""
        if self._process is None:
            return
        _, errors = self._process.communicate()
        if self._process.returncode:
            print(plain(f"no first report: {errors.decode(errors='replace')[-_LAST:].strip()}"), file=sys.stderr)

"""The progress of a run on a terminal: a line for each framework, with what is done, what deviates and how long it takes yet."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from conformance.verdict import Standing, Verdict


class Live:
    """The lines of one run; a context manager, between whose ends they are on the terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[deviating]:,} deviating"),
            TextColumn("{task.fields[new]}", style="red"),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._deviating: Counter[str] = Counter()
        self._new: Counter[str] = Counter()

    def begin(self, frameworks: Iterable[str]) -> None:
        """Show a line for each framework; `frameworks` names that of every cell to come."""
        for name, cells in sorted(Counter(frameworks).items()):
            self._tasks[name] = self._progress.add_task(name, total=cells, deviating=0, new="")

    def ended(self, framework: str, verdict: Verdict, standing: Standing) -> None:
        """Count a cell of that framework."""
        self._deviating[framework] += verdict.judged and not verdict.agrees
        self._new[framework] += standing is Standing.UNEXPECTED
        new = self._new[framework]
        self._progress.update(
            self._tasks[framework],
            advance=1,
            deviating=self._deviating[framework],
            new=f"{new:,} new" if new else "",
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def live_on_terminal() -> Live | None:
    """Return the lines for the terminal that standard output is; None where it is none.

    They have a copy of it of their own, since pytest puts a file in its place while cells run.
    """
    if not sys.stdout.isatty():
        return None
    return Live(Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")))

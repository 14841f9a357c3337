"""The phases of a check as they pass: a line each, with what came of it and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


@dataclass(slots=True, kw_only=True)
class Phase:
    """One phase while it runs."""

    name: str
    #: What came of it: the end of its line.
    outcome: str = "done"
    _shown: Progress
    _task: TaskID

    def reached(self, done: int, planned: int) -> None:
        """Show, on a terminal, how far it is."""
        far = f": {done:,} of {planned:,} cells" if planned else ""
        self._shown.update(self._task, description=escape(f"{self.name}{far}"))


@contextmanager
def phase(name: str) -> Iterator[Phase]:
    """Tell that a phase begins, and at its end what came of it.

    On a terminal a line shows it while it runs, with the time so far. Elsewhere the first half of its line does.
    """
    console = Console(stderr=True)
    started = time.monotonic()
    if not console.is_terminal:
        print(f"{name}: ", end="", file=sys.stderr, flush=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    outcome = "stopped"
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
            current = Phase(name=name, _shown=shown, _task=shown.add_task(escape(name), total=None))
            yield current
        outcome = current.outcome
    finally:
        begun = f"{name}: " if console.is_terminal else ""
        print(f"{begun}{outcome} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)

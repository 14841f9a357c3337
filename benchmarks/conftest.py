"""Prints after the times what they mean: rates and ratios, which no other machine's times blur."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what each benchmark said of itself."""
    # pytest-benchmark keeps its session there, and has no public way to what each benchmark said.
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    for each in session.benchmarks if session is not None else ():
        said = ", ".join(f"{value:,.4g} {name}" for name, value in each.extra_info.items())
        terminalreporter.write_line(f"{each.name}: {said}")

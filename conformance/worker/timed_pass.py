"""The one benchmark of a session: pytest-benchmark times the pass that the worker prepared."""

from __future__ import annotations

from typing import Any


def test_pass(benchmark: Any, timed_pass: Any, watch: Any) -> None:
    """`timed_pass` and `watch` come from the plugin in `conformance.worker.benchmark`."""
    with watch:
        benchmark(timed_pass)

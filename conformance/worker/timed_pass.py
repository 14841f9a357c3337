"""The one benchmark of a session: pytest-benchmark times the pass that the worker prepared."""

from __future__ import annotations

from typing import Any


def test_pass(benchmark: Any, timed_pass: Any) -> None:
    """`timed_pass` comes from the plugin of `conformance.worker.timing`."""
    benchmark(timed_pass)

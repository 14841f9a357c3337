"""One session of pytest-benchmark, which measures the pass that the worker prepared."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from conformance.worker.conditions import Watch
from conformance.worker.timed import TimedPass


class _Plugin:
    """A pytest plugin that hands the prepared pass, its device's clock and a watch to the benchmark in `timed_pass.py`.

    It also answers pytest-benchmark's questions about the machine and the commit, so that no session looks for the answers.
    """

    def __init__(self, timed: TimedPass) -> None:
        self.timed = timed
        self.watch = Watch()

    @pytest.fixture(name="timed_pass")
    def _timed_pass(self) -> TimedPass:
        return self.timed

    @pytest.fixture(name="watch")
    def _watch(self) -> Watch:
        return self.watch

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        clock = self.timed.clock
        for item in items if clock else ():
            item.add_marker(pytest.mark.benchmark(timer=lambda: clock(self.timed.live)))  # type: ignore[misc]

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_benchmark_generate_machine_info(self) -> dict[str, Any]:
        return {"machine": "that of the run"}

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_benchmark_generate_commit_info(self) -> dict[str, Any]:
        return {"id": "that of the run"}


def measured(timed: TimedPass, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure the pass in one pytest-benchmark session and return its statistics over the rounds, in seconds a call.

    Under `conditions` stands what else the machine did meanwhile.
    """
    plugin = _Plugin(timed)
    with tempfile.TemporaryDirectory() as name:
        out = Path(name, "benchmark.json")
        code = pytest.main(
            [
                str(Path(__file__).with_name("timed_pass.py")), "-c", os.devnull, "--rootdir", name, "-q",
                "--disable-plugin-autoload", "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider",
                "-p", "no:faulthandler", "--import-mode=importlib", "-o", "python_files=timed_pass.py",
                "--benchmark-disable-gc", f"--benchmark-json={out}", f"--benchmark-max-time={seconds}",
                f"--benchmark-min-rounds={rounds}", "--benchmark-min-time=0.0005", "--benchmark-warmup=off",
                f"--benchmark-storage={Path(name, 'kept').as_uri()}",
            ],
            plugins=[plugin],
        )  # fmt: skip
        if code != pytest.ExitCode.OK:
            raise RuntimeError(f"the benchmark ended with exit code {int(code)}")
        timed.results = {}
        (benchmark,) = json.loads(out.read_text(encoding="utf-8"))["benchmarks"]
    kept = ("min", "q1", "median", "q3", "max", "rounds", "iterations")
    return {**{key: benchmark["stats"][key] for key in kept}, "conditions": plugin.watch.noted}

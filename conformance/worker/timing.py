"""Timing inside the framework's process: passes prepared once and measured several times, by pytest-benchmark.

Imported by a worker when it is first asked, since its interpreter then needs pytest and pytest-benchmark too.
Requests, each with one answer:

    {"step": "arrays", "input": ..., "upstream": ..., "copies": n}     -> {}
    {"step": "prepare", "number": k, "pass": ..., ...}                 -> seconds of start, first and second call, peak
    {"step": "prepared"}                                               -> {}; what was prepared has its own arrays
    {"step": "measure", "number": k, "seconds": s, "rounds": n}        -> statistics as pytest-benchmark has them
    {"step": "bandwidth", "number": k}                                 -> bytes a second that copies on its device move
    {"step": "settle", "number": k, "features": [...]}                 -> what one more call gives, of those features
    {"step": "forget"}                                                 -> {}
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from conformance.protocol import Adapter, Array, Configuration, Implementation
from conformance.worker.layout import lay_out
from conformance.worker.native import configuration_from, resolve

#: Warming up ends after so many seconds, but not before every input has been used.
_WARM = 0.1
_READS = 3
_COPIES = 5


class Bench:
    """The passes prepared in this process for one case, by number, and the arrays they share."""

    def __init__(self, adapter: Adapter, module: ModuleType) -> None:
        if importlib.util.find_spec("pytest_benchmark") is None:
            raise ModuleNotFoundError("timing needs pytest-benchmark beside the library")
        self.implementations = {each.name: each for each in adapter.implementations}
        self.module = module
        self.arrays: list[tuple[Array, Array]] = []
        self.size = 0
        self.native: dict[Any, list[tuple[Any, Any]]] = {}
        self.passes: dict[int, TimedPass] = {}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one request."""
        match request["step"]:
            case "arrays":
                self.native, self.passes, self.size = {}, {}, request["input"].nbytes
                self.arrays = rotated(request["input"], request["upstream"], request["copies"])
                return {}
            case "prepare":
                timed = self._prepared(request)
                self.passes[request["number"]] = timed
                return timed.warmed()
            case "prepared":
                self.arrays = []
                return {}
            case "measure":
                return measured(self.passes[request["number"]], request["seconds"], request["rounds"])
            case "bandwidth":
                return {"bandwidth": self.passes[request["number"]].bandwidth(self.size)}
            case "settle":
                return self.passes[request["number"]].settled(request["features"])
            case "forget":
                self.arrays, self.native, self.passes = [], {}, {}
                gc.collect()
                return {}
            case unknown:
                raise ValueError(f"unknown step {unknown!r}")

    def _prepared(self, request: Mapping[str, Any]) -> TimedPass:
        implementation = self.implementations[request["implementation"]]
        configuration = configuration_from(request["configuration"])
        started = time.perf_counter()
        native = resolve(implementation.call(configuration), self.module)
        live = implementation.start(
            native,
            configuration=configuration,
            state=dict(request["initial"]),
            mode=request["mode"],
            device=request["device"],
        )
        seconds = time.perf_counter() - started
        inputs = self._native(implementation, configuration, request["device"])
        # The clock of another device says nothing of the CPU.
        clock = implementation.timed.get("clock") if request["device"] != "cpu" else None
        return TimedPass(implementation, configuration, live, inputs, request["pass"], seconds, clock)

    def _native(
        self, implementation: Implementation, configuration: Configuration, device: str
    ) -> list[tuple[Any, Any]]:
        """Return the arrays as the library has them, which implementations that put them alike share."""
        put = implementation.timed["put"]
        key = id(put), device, configuration.memory
        if key not in self.native:
            self.native[key] = [
                (put(self._laid(x, configuration), device), put(self._laid(upstream, configuration), device))
                for x, upstream in self.arrays
            ]
        return self.native[key]

    @staticmethod
    def _laid(array: Array, configuration: Configuration) -> Array:
        return lay_out(array, configuration.memory, configuration.feature_axes)


class TimedPass:
    """One pass of one implementation, called on one input after the other; what it gives is waited for and kept."""

    def __init__(
        self,
        implementation: Implementation,
        configuration: Configuration,
        live: Any,
        inputs: Sequence[tuple[Any, Any]],
        name: str,
        started: float,
        clock: Callable[..., float] | None,
    ) -> None:
        self.implementation, self.configuration, self.live, self.inputs = implementation, configuration, live, inputs
        self.function = implementation.timed[name]
        self.differentiates = name == "train"
        self.wait, self.get = implementation.timed["wait"], implementation.timed["get"]
        #: A device with a clock of its own is waited for by the clock, once a round.
        self.clock, self.waits = clock, clock is None
        self.started = started
        self.calls = 0
        self.results: Mapping[str, Any] = {}

    def __call__(self) -> None:  # noqa: D102 - what a pass does when it is called is the class's own sentence
        x, upstream = self.inputs[self.calls % len(self.inputs)]
        self.calls += 1
        self.results = {}  # freed before the next is made, as a training loop frees its activations
        self.results = self.function(self.live, x, upstream if self.differentiates else None)
        if self.waits:
            self.wait(self.live, self.results)

    def warmed(self) -> dict[str, Any]:
        """Call it until nothing is new to it: seconds of the first call, of the second, and the memory of one."""
        first, second = self._timed(), self._timed()
        end = time.perf_counter() + _WARM
        calls = 2
        while calls < len(self.inputs) or time.perf_counter() < end:
            self()
            calls += 1
        compilations, grown = self.implementation.compilations, peak(self._timed)
        self.results = {}  # between its batches a pass holds nothing that another would miss
        return {
            "start": self.started,
            "first": first,
            "second": second,
            "peak": grown,
            "compilations": None if compilations is None else compilations(self.live),
        }

    def settled(self, features: Sequence[int]) -> dict[str, Any]:
        """Return what one more call gives, cut to some features, with the state around it and how long reading takes.

        A result that was not computed when it was waited for is computed when it is first read: then the first
        reading takes longer than the second.
        """
        if self.calls % len(self.inputs) == 0:
            self()  # what was kept of the very first call would be right again
        trained, turn, before = self.calls, self.calls % len(self.inputs), self._state(features)
        self()
        given = {name: self._cut(self.get(value), features) for name, value in self.results.items()}
        found = {"trained": trained, "before": before, "quantities": given, "after": self._state(features)}
        reads: list[list[float]] = []
        for _ in range(_READS):
            self()
            self.wait(self.live, self.results)
            reads.append([self._read(), self._read()])
        self.results = {}
        return {**found, "turn": turn, "reads": reads}

    def bandwidth(self, size: int) -> float:
        """Return the bytes a second that the fastest of a few copies of the input moves, read and written."""
        copy, clock = self.implementation.timed["copy"], self.clock or (lambda _: time.perf_counter())
        x, _ = self.inputs[0]
        found = []
        for _ in range(_COPIES):
            started = clock(self.live)
            self.wait(self.live, {"output": copy(self.live, x)})
            found.append(clock(self.live) - started)
        return 2 * size / min(found)

    def _state(self, features: Sequence[int]) -> dict[str, Array]:
        stored = self.implementation.state(self.live)
        return {name: self._cut(np.asarray(value), features) for name, value in stored.items()}

    def _timed(self) -> float:
        started = time.perf_counter()
        self()
        self.wait(self.live, self.results)
        return time.perf_counter() - started

    def _read(self) -> float:
        started = time.perf_counter()
        for value in self.results.values():
            self.get(value)
        return time.perf_counter() - started

    def _cut(self, value: Array, features: Sequence[int]) -> Array:
        """Return an array of the input's shape, or one value per feature, cut to some features; any other as it is."""
        axis, count = self.configuration.feature_axes[0], self.configuration.feature_count
        if value.shape == self.configuration.shape:
            return np.take(value, features, axis)
        if value.size == count:
            return np.take(value.reshape(-1), features)
        return value


def rotated(x: Array, upstream: Array, copies: int) -> list[tuple[Array, Array]]:
    """Return so many inputs with other bits each and the same statistics: turned along the first axis."""
    return [(turned(x, number), turned(upstream, number)) for number in range(copies)]


def turned(array: Array, number: int) -> Array:
    """Return the array with its first axis turned by so many places."""
    return np.roll(array, number, 0)


def peak(call: Callable[[], Any]) -> int | None:
    """Return by how many bytes the process's memory grows at most while it calls; None where Linux does not tell."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the high-water mark, proc(5)
        before = _status("VmRSS")
        call()
        return max(0, _status("VmHWM") - before)
    return None


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


class _Plugin:
    """Hands the pass to the benchmark, and keeps pytest-benchmark from asking about the machine at every session."""

    def __init__(self, timed: TimedPass) -> None:
        self.timed = timed

    @pytest.fixture(name="timed_pass")
    def _timed_pass(self) -> TimedPass:
        return self.timed

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
    """Run one session of pytest-benchmark and return its statistics of the rounds, in seconds a call."""
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
            plugins=[_Plugin(timed)],
        )  # fmt: skip
        if code != pytest.ExitCode.OK:
            raise RuntimeError(f"the benchmark ended with exit code {int(code)}")
        timed.results = {}
        (found,) = json.loads(out.read_text(encoding="utf-8"))["benchmarks"]
    kept = ("min", "q1", "median", "q3", "max", "rounds", "iterations")
    return {key: found["stats"][key] for key in kept}

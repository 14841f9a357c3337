"""The timing of passes inside the framework's own process, with pytest-benchmark.

A pass is one forward computation, with or without its gradients. It is prepared once and measured several times.
A worker imports this module when it gets its first timing request, because only then must its interpreter have
pytest and pytest-benchmark. The main process sends these requests, and each gets one answer:

    {"step": "arrays", "input": ..., "upstream": ..., "copies": n}  -> {}; the next passes are called on these arrays;
                                                                       of inference the upstream gradient is None
    {"step": "prepare", "number": k, "pass": ..., ...}              -> what `TimedPass.warmed` tells
    {"step": "prepared"}                                            -> {}; all passes are prepared, so the NumPy arrays
                                                                       are dropped: the passes keep the library's own
    {"step": "measure", "number": k, "seconds": s, "rounds": n}     -> pytest-benchmark's statistics of pass k, and
                                                                       under `conditions` what `Watch` noted
    {"step": "bandwidth", "number": k}                              -> bytes a second that a copy moves on its device
    {"step": "settle", "number": k, "features": [...]}              -> results and state of one more call, for these
                                                                       features only, and how long reading them takes
    {"step": "forget"}                                              -> {}; all arrays and passes are dropped
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
from conformance.worker.conditions import Watch
from conformance.worker.layout import lay_out
from conformance.worker.native import configuration_from, resolve

#: Seconds for which a pass is warmed up at least; it is also called on every input at least once.
_WARM = 0.1
#: The calls of a warm-up whose seconds are told.
_TOLD = 32
#: Calls with the results before them freed, and as many with them held, at least, and for how many seconds at least: the
#: quickest of each kind is told.
_WAYS, _WAYS_SECONDS = 2, 0.05
#: Calls whose results are read twice, to find results that are computed only when they are read.
_READS = 2
#: Copies of the input of which the fastest gives the bandwidth.
_COPIES = 5


class Bench:
    """The passes that this process has prepared for one case, by number, and the input arrays that they share."""

    def __init__(self, adapter: Adapter, module: ModuleType) -> None:
        if importlib.util.find_spec("pytest_benchmark") is None:
            raise ModuleNotFoundError("timing needs pytest-benchmark beside the library")
        self.implementations = {implementation.name: implementation for implementation in adapter.implementations}
        self.module = module
        self.arrays: list[tuple[Array, Array | None]] = []
        self.size = 0
        self.native: dict[Any, list[tuple[Any, ...]]] = {}
        self.passes: dict[int, TimedPass] = {}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one of the requests that the module's docstring lists."""
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
        # An implementation's own clock measures an accelerator and is not used on the CPU.
        clock = implementation.timed.get("clock") if request["device"] != "cpu" else None
        device = request["device"]
        return TimedPass(implementation, configuration, live, inputs, request["pass"], seconds, device, clock)

    def _native(
        self, implementation: Implementation, configuration: Configuration, device: str
    ) -> list[tuple[Any, ...]]:
        """Return each input and upstream gradient as arrays of the library, on the device.

        They are made once and shared by all implementations that convert arrays with the same function.
        """
        put = implementation.timed["put"]
        key = id(put), device, configuration.memory
        if key not in self.native:
            self.native[key] = [
                tuple(None if array is None else put(self._laid(array, configuration), device) for array in pair)
                for pair in self.arrays
            ]
        return self.native[key]

    @staticmethod
    def _laid(array: Array, configuration: Configuration) -> Array:
        return lay_out(array, configuration.memory, configuration.feature_axes)


class TimedPass:
    """One pass of one implementation, ready to be called.

    Each call uses the next input in turn, waits until the results are computed, and keeps them until the next call,
    which frees them before it allocates its own, as a training loop frees its activations.
    """

    def __init__(
        self,
        implementation: Implementation,
        configuration: Configuration,
        live: Any,
        inputs: Sequence[tuple[Any, ...]],
        name: str,
        started: float,
        device: str,
        clock: Callable[..., float] | None,
    ) -> None:
        self.implementation, self.configuration, self.live, self.inputs = implementation, configuration, live, inputs
        self.function = implementation.timed[name]
        self.differentiates = name == "train"
        self.wait, self.get = implementation.timed["wait"], implementation.timed["get"]
        #: Without a clock of the device, each call waits for its results. Such a clock waits itself, once a round.
        self.clock, self.waits = clock, clock is None
        self.started, self.device = started, device
        self.calls = 0
        self.results: Mapping[str, Any] = {}

    def __call__(self) -> None:  # noqa: D102 - the docstring of the class says what a call does
        self.results = {}
        self.results = self._called()

    def held(self) -> None:
        """Call it as a loop does that puts new results in the place of old ones: these are freed when the new are there."""
        self.results = self._called()

    def _called(self) -> Mapping[str, Any]:
        x, upstream = self.inputs[self.calls % len(self.inputs)]
        self.calls += 1
        results: Mapping[str, Any] = self.function(self.live, x, upstream if self.differentiates else None)
        if self.waits:
            self.wait(self.live, results)
        return results

    def warmed(self) -> dict[str, Any]:
        """Call the pass until it is warm, and return what that cost.

        start         seconds to construct the layer
        first         of the first call
        second        of the second
        calls         of each call so far, the first and the second among them, as far as they are told
        freed, held   of the quickest warm call with the results before it freed, and with them held until it has its own
        ways          how many calls that were, and under `conditions` what `Watch` noted meanwhile
        peak          bytes by which one call lets the process grow; None on an accelerator, which has its own memory
        compilations  how often the library has compiled the pass; None where it does not say
        """
        calls = [self._timed(), self._timed()]
        end = time.perf_counter() + _WARM
        while len(calls) < len(self.inputs) or time.perf_counter() < end:
            calls.append(self._timed())
        ways: list[tuple[float, float]] = []
        with Watch() as watch:
            while len(ways) < _WAYS or sum(map(sum, ways)) < _WAYS_SECONDS:
                ways.append((self._timed(), self._timed(self.held)))
        compilations = self.implementation.compilations
        self.results = {}  # what one call takes has its results in it
        grown = peak(self._timed) if self.device == "cpu" else None
        self.results = {}  # a pass that is not being measured must not keep memory from the others
        return {
            "start": self.started,
            "first": calls[0],
            "second": calls[1],
            "calls": calls[:_TOLD],
            "freed": min(freed for freed, _ in ways),
            "held": min(held for _, held in ways),
            "ways": {"rounds": 2 * len(ways), "conditions": watch.noted},
            "peak": grown,
            "compilations": None if compilations is None else compilations(self.live),
        }

    def settled(self, features: Sequence[int]) -> dict[str, Any]:
        """Return the results of one more call and the state before and after it, for some features only.

        Also return how long it takes to read the results of a few more calls, twice each. A library may put off
        computing a result until it is read, even though it was waited for; then the first reading takes longer.
        """
        if self.calls % len(self.inputs) == 0:
            self()  # not the first input: a result left over from the very first call would pass for a new one
        trained, turn, before = self.calls, self.calls % len(self.inputs), self._state(features)
        self()
        quantities = {name: self._cut(self.get(value), features) for name, value in self.results.items()}
        observed = {"trained": trained, "before": before, "quantities": quantities, "after": self._state(features)}
        reads: list[list[float]] = []
        for _ in range(_READS):
            self()
            self.wait(self.live, self.results)
            reads.append([self._read(), self._read()])
        self.results = {}
        return {**observed, "turn": turn, "reads": reads}

    def bandwidth(self, size: int) -> float:
        """Return the bytes a second that the fastest of a few copies of the input moves: every byte is read and written."""
        copy, clock = self.implementation.timed["copy"], self.clock or (lambda _: time.perf_counter())
        x, _ = self.inputs[0]
        durations = []
        for _ in range(_COPIES):
            started = clock(self.live)
            self.wait(self.live, {"output": copy(self.live, x)})
            durations.append(clock(self.live) - started)
        return 2 * size / min(durations)

    def _state(self, features: Sequence[int]) -> dict[str, Array]:
        stored = self.implementation.state(self.live)
        return {name: self._cut(np.asarray(value), features) for name, value in stored.items()}

    def _timed(self, call: Callable[[], None] | None = None) -> float:
        started = time.perf_counter()
        (call or self)()
        self.wait(self.live, self.results)
        return time.perf_counter() - started

    def _read(self) -> float:
        started = time.perf_counter()
        for value in self.results.values():
            self.get(value)
        return time.perf_counter() - started

    def _cut(self, value: Array, features: Sequence[int]) -> Array:
        """Return only the values of some features.

        The array has the shape of the input or one value per feature; an array of another size is returned whole.
        """
        axis, count = self.configuration.feature_axes[0], self.configuration.feature_count
        if value.shape == self.configuration.shape:
            return np.take(value, features, axis)
        if value.size == count:
            return np.take(value.reshape(-1), features)
        return value


def rotated(x: Array, upstream: Array | None, copies: int) -> list[tuple[Array, Array | None]]:
    """Return `copies` pairs of input and upstream gradient: both rolled by 0, 1, 2 … places along the first axis.

    Their values differ from pair to pair, so that no result can be reused, and their statistics are the same.
    """
    return [(turned(x, number), None if upstream is None else turned(upstream, number)) for number in range(copies)]


def turned(array: Array, number: int) -> Array:
    """Return the array rolled by `number` places along its first axis: the last become the first."""
    return np.roll(array, number, 0)


def peak(call: Callable[[], Any]) -> int | None:
    """Return the most bytes by which the process's memory grows during the call; None on other systems than Linux."""
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

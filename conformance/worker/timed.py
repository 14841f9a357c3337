"""A pass that is timed: how it is called, what warming it costs, and what it gives once it has been measured."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conformance.protocol import Array, Configuration, Implementation
from conformance.worker.conditions import Watch

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
            end = time.perf_counter() + _WAYS_SECONDS
            while len(ways) < _WAYS or time.perf_counter() < end:
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


def peak(call: Callable[[], Any]) -> int | None:
    """Return the most bytes by which the process's memory grows during the call; None on other systems than Linux."""
    with contextlib.suppress(OSError):
        gc.collect()  # garbage that is found during the call would make room for what it allocates
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the high-water mark, proc(5)
        before = _status("VmRSS")
        call()
        return max(0, _status("VmHWM") - before)
    return None


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

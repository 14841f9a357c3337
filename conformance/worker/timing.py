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

import gc
import importlib.util
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Array, Configuration, Implementation
from conformance.worker.benchmark import measured
from conformance.worker.layout import lay_out
from conformance.worker.native import configuration_from, resolve
from conformance.worker.timed import TimedPass


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


def rotated(x: Array, upstream: Array | None, copies: int) -> list[tuple[Array, Array | None]]:
    """Return `copies` pairs of input and upstream gradient: both rolled by 0, 1, 2 … places along the first axis.

    Their values differ from pair to pair, so that no result can be reused, and their statistics are the same.
    """
    return [(turned(x, number), None if upstream is None else turned(upstream, number)) for number in range(copies)]


def turned(array: Array, number: int) -> Array:
    """Return the array rolled by `number` places along its first axis: the last become the first."""
    return np.roll(array, number, 0)

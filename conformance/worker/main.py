"""The process that holds one library and performs one cell at a time.

Started by `execute` with two pipe ends; imports nothing of ours beyond `protocol`, `precision` and this package, so that its
interpreter needs NumPy, ml_dtypes and the library alone. Requests and answers are frames of `wire`:

    (first), {"do": "adapter", "adapter": …}        -> offer with what importing took | failure
    {"do": "support", "configurations": [...]}     -> {"support": {implementation: [reason or None, ...]}} | failure
    {"do": "call", "implementation": ..., "configurations": [...]} -> the native call of each, or why there is none
    {"do": "cell", "steps": [...], ...}            -> one answer per step, then {"done": true, "again": ...,
                                                      "calls": each stretch of time in the library,
                                                      "compiling": seconds of it, where the library tells}
    {"do": "time", "step": ..., ...}               -> as `conformance.worker.timing` has it, or {"refused": ...}

An exception raised by a step is that step's answer. Anything that ends the process, SystemExit included, is
the end of the pipe, which the run reads as this cell's crash.
"""

from __future__ import annotations

import copy
import ctypes
import faulthandler
import functools
import gc
import importlib
import os
import signal
import sys
from types import ModuleType
from typing import Any, BinaryIO

from conformance.protocol import Adapter, Configuration, Implementation
from conformance.worker import wire
from conformance.worker.adapter_file import load_adapter
from conformance.worker.given import fit, reason_of
from conformance.worker.native import Stretch, configuration_from, difference, noted, perform, raised, written
from conformance.worker.offer import describe, named, thread_names

_PR_SET_PDEATHSIG = 1
#: New objects after which Python looks for cycles: a library that traces makes so many at each call that looking at every
#: 700th, and at all that its import made, took a tenth of its time.
_COLLECTED_EVERY = 20_000


def main(arguments: list[str]) -> None:
    """Serve the run whose pipe ends and adapter `arguments` name, until it closes its end."""
    parent, requests_fd, answers_fd, adapter_file, adapter_name = arguments
    _die_with(int(parent))
    faulthandler.enable()
    gc.set_threshold(_COLLECTED_EVERY)
    with os.fdopen(int(requests_fd), "rb") as requests, os.fdopen(int(answers_fd), "wb") as answers:
        for stream in (requests, answers):
            os.set_inheritable(stream.fileno(), False)
        # A child that the adapter forks takes no request and answers none.
        os.register_at_fork(after_in_child=functools.partial(_silence, requests.fileno(), answers.fileno()))
        before = thread_names()
        while True:
            imported: list[Stretch] = []
            try:
                with noted(imported):
                    module = load_adapter(adapter_file)
                gc.freeze()
                adapter = named(module, adapter_name)
                offer = describe(adapter, before, module)
                wire.send(answers, {"offer": offer, "imported": imported[0]})
            except Exception as error:  # noqa: BLE001 - whatever a library's import raises is the answer
                wire.send(answers, {"failure": raised(error)})
                return
            following = _serve(adapter, module, requests, answers)
            if following is None:
                return
            adapter_file, adapter_name = following


def _serve(adapter: Adapter, module: ModuleType, requests: BinaryIO, answers: BinaryIO) -> tuple[str, str] | None:
    """Answer until another adapter is asked for, and return its file and name; None at the end of the requests."""
    implementations = {implementation.name: implementation for implementation in adapter.implementations}
    bench: Any = None
    while True:
        try:
            request = wire.receive(requests)
        except EOFError:
            return None
        match request["do"]:
            case "adapter":
                return request["adapter"], request["attribute"]
            case "support":
                wire.send(answers, _support(adapter, request["configurations"]))
            case "call":
                asked = [configuration_from(values) for values in request["configurations"]]
                wire.send(answers, _calls(implementations[request["implementation"]], asked))
            case "cell":
                _perform(adapter, implementations[request["implementation"]], module, request, answers)
            case "time":
                try:
                    # Late: of all that a worker does this alone needs pytest.
                    timing = importlib.import_module("conformance.worker.timing")
                    bench = bench or timing.Bench(adapter, module)
                    answer = bench.answer(request)
                except Exception as error:  # noqa: BLE001 - a refusal is data
                    answer = {"refused": raised(error)}
                wire.send(answers, answer)
            case unknown:
                raise ValueError(f"unknown request {unknown!r}")


def _perform(
    adapter: Adapter, implementation: Implementation, module: ModuleType, request: dict[str, Any], answers: BinaryIO
) -> None:
    """Answer to each step of a cell, and how a second performance differs where one is asked for."""
    # Copies: the first performance may write to what it is given, and to what it gave.
    untouched, first = copy.deepcopy(request) if request["again"] else None, []
    calls: list[Stretch] = []
    before = None if adapter.compiling is None else adapter.compiling()
    for answer in perform(implementation, module, request, calls):
        wire.send(answers, answer)
        if untouched is not None:
            first.append(copy.deepcopy(answer))
    second = None if untouched is None else perform(implementation, module, untouched, calls)
    again = {} if second is None else {"again": difference(first, second)}
    compiling = {} if adapter.compiling is None or before is None else {"compiling": adapter.compiling() - before}
    wire.send(answers, {"done": True, "calls": calls, **again, **compiling})


def _support(adapter: Adapter, configurations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by implementation why it does not support each of the configurations, or why that cannot be told."""
    asked = [configuration_from(values) for values in configurations]
    try:
        reasons = {
            implementation.name: [_reason(implementation, configuration) for configuration in asked]
            for implementation in adapter.implementations
        }
    except Exception as error:  # noqa: BLE001 - whose row it is, its adapter cannot be planned for
        return {"failure": raised(error)}
    return {"support": reasons}


def _reason(implementation: Implementation, configuration: Configuration) -> str | None:
    if configuration.op != implementation.op:
        return None
    return fit(reason_of, implementation.supports(configuration), implementation.supports, implementation.name)


def _silence(*descriptors: int) -> None:
    """Put what has no other end in place of the pipes to the run."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)


def _calls(implementation: Implementation, asked: list[Configuration]) -> list[dict[str, Any]]:
    """Return the native call of each configuration, or under `unsupported` why there is none."""
    reasons = [(configuration, implementation.supports(configuration)) for configuration in asked]
    return [
        written(implementation.call(configuration)) if reason is None else {"unsupported": reason}
        for configuration, reason in reasons
    ]


def _die_with(parent: int) -> None:
    """Ask Linux to kill this process when the run dies, and leave at once if it already has.

    Where that cannot be asked, the end of the requests tells it, and what watches over the run ends it.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)

"""The NumPy adapter, except that a configuration with a fatal decay ends its process in a way of its own.

Each implementation is named after how it dies. The trigger is data, so that one cell among many dies.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.protocol import Adapter
from conformance.worker.adapter_file import load_adapter

PROCESSES: list[dict[str, Any]] = [{"name": "dying", "group": None, "environment": {}}]

FATAL_DECAY = 0.125
_NUMPY = load_adapter(str(Path(__file__).parents[2] / "adapters" / "numpy" / "batch_norm.py"))
_HEALTHY = _NUMPY.ADAPTER.implementations[0]
BatchNorm = _NUMPY.BatchNorm


def segfault() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def exit_0() -> None:
    os._exit(0)


def exit_3() -> None:
    os._exit(3)


def system_exit() -> None:
    raise SystemExit(4)


def keyboard_interrupt() -> None:
    raise KeyboardInterrupt


def hang_in_python() -> None:
    while True:
        pass


def hang_in_native_code() -> None:
    ctypes.PyDLL(None).pause()


def endless_output() -> None:
    while True:
        os.write(1, b"0123456789abcdef" * 65536)


def closed_pipe() -> None:
    os.closerange(3, 256)
    time.sleep(3600)


def forked_child_holds_the_pipe() -> None:
    if os.fork() == 0:
        time.sleep(3600)
    os.abort()


def once() -> None:
    marker = Path(os.environ["DYING_ONCE"])
    if not marker.exists():
        marker.touch()
        os.abort()


def value_error() -> None:
    raise ValueError("expected more than 1 value per channel")


def naming_places() -> None:
    raise ValueError(f"in {sys.prefix}/lib/layer.py, called from {__file__}")


def nothing() -> None:
    pass


WAYS = (
    segfault,
    abort,
    exit_0,
    exit_3,
    system_exit,
    keyboard_interrupt,
    hang_in_python,
    hang_in_native_code,
    endless_output,
    closed_pipe,
    forked_child_holds_the_pipe,
    once,
    value_error,
    naming_places,
    nothing,
)


def dying(way: Callable[[], None]) -> Any:
    def train(live: Any, x: Any, upstream: Any) -> Any:
        if live.decay == FATAL_DECAY:
            print("about to die", flush=True)
            way()
        return _HEALTHY.steps["train"](live, x, upstream)

    return replace(_HEALTHY, name=f"dying.{way.__name__}", steps={**_HEALTHY.steps, "train": train})


def sleeping_train(live: Any, x: Any, upstream: Any) -> Any:
    time.sleep(0.2)
    return _HEALTHY.steps["train"](live, x, upstream)


def computing_train(live: Any, x: Any, upstream: Any) -> Any:
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    return _HEALTHY.steps["train"](live, x, upstream)


_calls: list[int] = []


def drifting_train(live: Any, x: Any, upstream: Any) -> Any:
    _calls.append(1)
    given = _HEALTHY.steps["train"](live, x, upstream)
    return {**given, "output": given["output"] + len(_calls)}


if os.environ.get("DYING_IMPORT") == "raise":
    raise RuntimeError("this library cannot be imported")
if os.environ.get("DYING_IMPORT") == "hang":
    time.sleep(3600)
if os.environ.get("DYING_IMPORT") == "exit":
    sys.exit(5)

ADAPTER = Adapter(
    library="dying",
    versions={},
    implementations=(
        *(dying(way) for way in WAYS),
        replace(_HEALTHY, name="dying.sleeps", steps={**_HEALTHY.steps, "train": sleeping_train}),
        replace(_HEALTHY, name="dying.computes", steps={**_HEALTHY.steps, "train": computing_train}),
        replace(_HEALTHY, name="dying.drifting", steps={**_HEALTHY.steps, "train": drifting_train}),
    ),
)

"""The NumPy adapter, except that a configuration with a fatal decay ends its process in a way of its own.

Each implementation is named after how it dies. The trigger is data, so that one cell among many dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conformance.protocol import Adapter
from conformance.worker import wire
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


def forked_child_goes_on() -> None:
    os.fork()


def sleeping_child(prepare: Callable[[], None], environment: dict[str, str]) -> None:
    """Leave a process behind that sleeps for a minute, after `prepare` in it, and tell its number."""
    child = os.fork()
    if child == 0:
        prepare()
        Path(os.environ["DYING_PIDS"]).write_text(str(os.getpid()), encoding="ascii")
        os.execvpe("sleep", ["sleep", "60"], environment)  # noqa: S606, S607 - the one on PATH
    while not Path(os.environ["DYING_PIDS"]).exists():
        time.sleep(0.01)


def session_of_its_own() -> None:
    os.setsid()


def orphan_in_a_session_of_its_own() -> None:
    os.setsid()
    if os.fork():
        os._exit(0)


def in_a_session_of_its_own() -> None:
    sleeping_child(session_of_its_own, dict(os.environ))


def forked_twice() -> None:
    sleeping_child(orphan_in_a_session_of_its_own, dict(os.environ))


def without_its_environment() -> None:
    sleeping_child(session_of_its_own, {"PATH": os.environ["PATH"]})


def removed_logs() -> None:
    shutil.rmtree(os.environ["DYING_FOLDER"])


def sent(frame: bytes) -> None:
    """Write to the pipe of the answers, whose descriptor is the last of the worker's arguments but two."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                os.write(int(name), frame)


def early_end() -> None:
    sent(wire.encode({"done": True, "calls": []}))


def one_answer_too_many() -> None:
    sent(wire.encode({"quantities": {}, "state": {}, "seconds": 0.0}))


def too_large_a_frame() -> None:
    sent((2**40).to_bytes(8, "little"))


def no_frame() -> None:
    sent(bytes(64))


def no_answer() -> None:
    sent(wire.encode({"refused": {"types": 3, "message": [], "trace": None}}))


def an_offer_again() -> None:
    sent(wire.encode({"offer": {}, "imported": [0, 0, 0]}))


def much_memory() -> None:
    held = b"x" * 2**28
    time.sleep(3600)
    print(held[0])


class Silent(Exception):  # noqa: N818 - an exception of a library that cannot say what it is
    def __str__(self) -> str:
        raise RuntimeError("no text")


def silent_exception() -> None:
    raise Silent


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
    forked_child_goes_on,
    in_a_session_of_its_own,
    forked_twice,
    without_its_environment,
    removed_logs,
    early_end,
    one_answer_too_many,
    too_large_a_frame,
    no_frame,
    no_answer,
    an_offer_again,
    much_memory,
    silent_exception,
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


#: What a step gives in place of its output, or of the moving mean in its state.
GIVEN: dict[str, Callable[[Any], Any]] = {
    "none": lambda array: None,
    "an_object": lambda array: object(),
    "text": lambda array: "text",
    "bytes": lambda array: b"text",
    "a_structure": lambda array: np.zeros(3, [("a", "f4")]),
    "a_huge_integer": lambda array: 10**400,
    "objects": lambda array: np.array([1, None], object),
    "a_broadcast": lambda array: np.broadcast_to(np.float32(1), (2**40,)),
}


def giving(name: str, given: Callable[[Any], Any]) -> Any:
    def train(live: Any, x: Any, upstream: Any) -> Any:
        quantities = _HEALTHY.steps["train"](live, x, upstream)
        return {**quantities, "output": given(quantities["output"])}

    return replace(_HEALTHY, name=f"dying.giving_{name}", steps={**_HEALTHY.steps, "train": train})


def misspelling_train(live: Any, x: Any, upstream: Any) -> Any:
    quantities = _HEALTHY.steps["train"](live, x, upstream)
    return {"outptu": quantities.pop("output"), **quantities}


def swapped_train(live: Any, x: Any, upstream: Any) -> Any:
    quantities = _HEALTHY.steps["train"](live, x, upstream)
    return {**quantities, "output": quantities["output"].astype(">f4")}


def listing_state(live: Any) -> Any:
    return {**_HEALTHY.state(live), "moving_mean": [1.0, 2.0, 3.0]}


_buffer = np.zeros((4, 3), np.float32)


def reusing_train(live: Any, x: Any, upstream: Any) -> Any:
    quantities = drifting_train(live, x, upstream)
    _buffer[...] = quantities["output"]
    return {**quantities, "output": _buffer}


def writing_train(live: Any, x: Any, upstream: Any) -> Any:
    quantities = _HEALTHY.steps["train"](live, x, upstream)
    for array in (x, *live.state.values()):
        array += 1
    return quantities


def renamed(name: str, train: Callable[..., Any], **changed: Any) -> Any:
    return replace(_HEALTHY, name=f"dying.{name}", steps={**_HEALTHY.steps, "train": train}, **changed)


if os.environ.get("DYING_IMPORT") == "raise":
    raise RuntimeError("this library cannot be imported")
if os.environ.get("DYING_IMPORT") == "hang":
    time.sleep(3600)
if os.environ.get("DYING_IMPORT") == "exit":
    sys.exit(5)

#: Seconds of compiling that each look at the library's clock adds, where a test wants one that tells.
_COMPILES = os.environ.get("DYING_COMPILES")
_looks = itertools.count()


def compiling() -> float:
    # Looked at before a cell and after it, and once when the adapter is offered.
    return float(_COMPILES or 0) * next(_looks)


ADAPTER = Adapter(
    library="dying",
    versions={},
    compiling=compiling if _COMPILES else None,
    implementations=(
        *(dying(way) for way in WAYS),
        *(giving(name, given) for name, given in GIVEN.items()),
        renamed("sleeps", sleeping_train),
        renamed("computes", computing_train),
        renamed("drifting", drifting_train),
        renamed("misspelling", misspelling_train),
        renamed("swapped", swapped_train),
        renamed("listing", _HEALTHY.steps["train"], state=listing_state),
        renamed("reusing", reusing_train),
        renamed("writing", writing_train),
    ),
)

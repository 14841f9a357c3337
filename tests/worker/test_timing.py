"""What a pass costs until it is warm: told call by call, with its memory, however its results are freed."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from conformance.worker.timed import TimedPass

MEBI = 2**20


def timed_pass(function: Callable[..., Any], device: str = "cpu") -> TimedPass:
    """Return a pass over two inputs."""
    implementation: Any = SimpleNamespace(
        timed={"infer": function, "wait": lambda live, results: None, "get": np.array},
        compilations=None,
        state=lambda live: {},
    )
    configuration: Any = None
    return TimedPass(implementation, configuration, None, [(1, None), (2, None)], "infer", 0.5, device, None)


def allocating(live: Any, x: Any, upstream: Any) -> Any:
    return {"output": np.ones(64 * MEBI, np.uint8)}


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells of the memory of a call")
def test_the_memory_of_a_call_has_its_results_in_it() -> None:
    """Where those of the call before are freed by the call itself, its own take their place."""
    warmed = timed_pass(allocating).warmed()
    assert 60 * MEBI < warmed["peak"] < 80 * MEBI


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells of the memory of a call")
def test_garbage_of_earlier_calls_makes_no_room_for_what_a_call_allocates() -> None:
    def littering(live: Any, x: Any, upstream: Any) -> Any:
        gc.collect()
        litter: list[Any] = [np.ones(64 * MEBI, np.uint8)]
        litter.append(litter)
        return allocating(live, x, upstream)

    assert 120 * MEBI < timed_pass(littering).warmed()["peak"] < 140 * MEBI


def test_the_memory_of_the_process_is_not_that_of_an_accelerator() -> None:
    assert timed_pass(allocating, device="gpu").warmed()["peak"] is None


def test_each_call_of_the_warm_up_is_told_apart() -> None:
    seconds = iter([0.08, 0.04])

    def slow_at_first(live: Any, x: Any, upstream: Any) -> Any:
        time.sleep(next(seconds, 0.002))
        return {}

    warmed = timed_pass(slow_at_first).warmed()
    assert warmed["calls"][:2] == [warmed["first"], warmed["second"]]
    assert warmed["first"] > warmed["second"] > 2 * warmed["calls"][2]
    assert 2 < len(warmed["calls"]) <= 32
    assert warmed["start"] == 0.5


def test_results_are_freed_before_a_call_and_held_during_the_other_kind() -> None:
    there: list[bool] = []

    def noting(live: Any, x: Any, upstream: Any) -> Any:
        there.append(bool(made.results))
        return {"output": x}

    made = timed_pass(noting)
    made()
    made()
    made.held()
    assert there == [False, False, True]

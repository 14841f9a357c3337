"""An adapter with every timed pass a tenth slower than it is: what a comparison of speed must find."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance.protocol import Adapter, Implementation
from conformance.worker.adapter_file import load_adapter

PLANTED = 0.10
PASSES = ("infer", "infer_into", "train_forward", "train")


def adapter_file(name: str) -> ModuleType:
    """Return the first of the suite's adapters of that library, imported from its file."""
    return load_adapter(str(Path(__file__).parents[1] / "adapters" / name / "batch_norm.py"))


def delayed(function: Callable[..., Any], wait: Callable[..., Any], live: Any, x: Any, upstream: Any) -> Any:
    """Call, wait for the results, and then spin for a tenth of the time that both took."""
    started = time.perf_counter()
    results = function(live, x, upstream)
    wait(live, results)
    end = started + (1 + PLANTED) * (time.perf_counter() - started)
    while time.perf_counter() < end:
        pass
    return results


def slowed(adapter: Adapter) -> Adapter:
    """Return the adapter with all its passes delayed."""
    return replace(adapter, implementations=tuple(_slowed(each) for each in adapter.implementations))


def _slowed(implementation: Implementation) -> Implementation:
    timed = {
        name: functools.partial(delayed, function, implementation.timed["wait"]) if name in PASSES else function
        for name, function in implementation.timed.items()
    }
    return replace(implementation, timed=timed)

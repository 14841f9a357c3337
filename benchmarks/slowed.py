"""An adapter with every timed pass a tenth slower than it is: what a comparison of speed must find."""

from __future__ import annotations

import functools
import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance.protocol import Adapter, Implementation

PLANTED = 0.10
PASSES = ("infer", "infer_into", "train_forward", "train")


def adapter_file(name: str) -> ModuleType:
    """Return the suite's adapter of that name, imported from its file."""
    file = Path(__file__).parents[1] / "adapters" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"slowed_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def delayed(function: Callable[..., Any], live: Any, x: Any, upstream: Any) -> Any:
    """Call and then spin for a tenth of the time that the call took."""
    started = time.perf_counter()
    results = function(live, x, upstream)
    end = started + (1 + PLANTED) * (time.perf_counter() - started)
    while time.perf_counter() < end:
        pass
    return results


def slowed(adapter: Adapter) -> Adapter:
    """Return the adapter with all its passes delayed."""
    return replace(adapter, implementations=tuple(_slowed(each) for each in adapter.implementations))


def _slowed(implementation: Implementation) -> Implementation:
    timed = {
        name: functools.partial(delayed, function) if name in PASSES else function
        for name, function in implementation.timed.items()
    }
    return replace(implementation, timed=timed)

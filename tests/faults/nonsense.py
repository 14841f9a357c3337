"""The NumPy layers, except that no number is right: every change of the formula is tried on every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.protocol import Adapter, Array, Implementation
from conformance.worker import load_adapter

PROCESSES: list[dict[str, Any]] = [{"name": "nonsense", "group": None, "environment": {}}]

_NUMPY = load_adapter(str(Path(__file__).parents[2] / "adapters" / "numpy.py"))
BatchNorm, Centering = _NUMPY.BatchNorm, _NUMPY.Centering


def wrong(values: Array) -> Array:
    return values * values.dtype.type(1.37) + values.dtype.type(0.61)


def step(healthy: Callable[..., Any]) -> Callable[..., Any]:
    def performed(live: Any, x: Any, upstream: Any) -> Any:
        return {name: wrong(value) for name, value in healthy(live, x, upstream).items()}

    return performed


def state(live: Any) -> Any:
    return {name: wrong(value) if live.moved else value for name, value in _NUMPY.state(live).items()}


def nonsense(healthy: Implementation) -> Implementation:
    def start(native: Any, **given: Any) -> Any:
        live = healthy.start(native, **given)
        live.moved = False
        return live

    def train(live: Any, x: Any, upstream: Any) -> Any:
        live.moved = True
        return step(healthy.steps["train"])(live, x, upstream)

    steps = {**healthy.steps, "train": train, "infer": step(healthy.steps["infer"])}
    name = healthy.name.replace("numpy", "nonsense")
    made: Implementation = replace(healthy, name=name, start=start, state=state, steps=steps)
    return made


ADAPTER = Adapter(library="numpy", versions={}, implementations=tuple(map(nonsense, _NUMPY.ADAPTER.implementations)))

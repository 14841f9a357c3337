"""The NumPy layers, except that one quantity is no right number: every change of it is tried on every step."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.protocol import Adapter, Declared, Implementation
from conformance.worker.adapter_file import load_adapter

PROCESSES: list[dict[str, Any]] = [{"name": "nonsense", "group": None, "environment": {}}]

_NUMPY = load_adapter(str(Path(__file__).parents[2] / "adapters" / "numpy" / "batch_norm.py"))
BatchNorm, Centering = _NUMPY.BatchNorm, _NUMPY.Centering
#: Under these the reference itself leaves out quantities of some steps.
PROFILE = (
    Declared(field="frozen_implies_inference", value=True, source="documentation", where="nowhere"),
    Declared(field="single_value", value="identity", source="documentation", where="nowhere"),
)
QUANTITIES = ("output", "grad_input", "grad_gamma", "grad_beta", "moving_mean", "moving_variance")


def spoiled(quantity: str, found: Any) -> Any:
    return {
        name: value * value.dtype.type(1.37) + value.dtype.type(0.61) if name == quantity else value
        for name, value in found.items()
    }


def nonsense(healthy: Implementation, quantity: str) -> Implementation:
    def start(native: Any, **given: Any) -> Any:
        live = healthy.start(native, **given)
        live.moved = False
        return live

    def state(live: Any) -> Any:
        return spoiled(quantity if live.moved else "", healthy.state(live))

    def step(kind: str) -> Callable[..., Any]:
        def performed(live: Any, x: Any, upstream: Any) -> Any:
            live.moved = live.moved or kind == "train"
            return spoiled(quantity, healthy.steps[kind](live, x, upstream))

        return performed

    switches = dict.fromkeys(("freeze", "unfreeze"), lambda live: None)
    steps = {**switches, **healthy.steps, "train": step("train"), "infer": step("infer")}
    name = f"{healthy.name.replace('numpy', 'nonsense')}.{quantity}"
    made: Implementation = replace(healthy, name=name, start=start, state=state, steps=steps, profile=PROFILE)
    return made


ADAPTER = Adapter(
    library="numpy",
    versions={},
    implementations=tuple(itertools.starmap(nonsense, itertools.product(_NUMPY.ADAPTER.implementations, QUANTITIES))),
)

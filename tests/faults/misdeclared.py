"""A healthy layer under every profile that says something else of it, each field and value an implementation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.protocol import Adapter, Declared, Implementation
from conformance.worker.adapter_file import load_adapter

PROCESSES: list[dict[str, Any]] = [{"name": "misdeclared", "group": None, "environment": {}}]

_PLANTED = load_adapter(str(Path(__file__).parent / "planted.py"))
(_HEALTHY,) = [each for each in _PLANTED.ADAPTER.implementations if each.name == "planted.nothing"]
BatchNorm = _PLANTED.BatchNorm

#: Field -> values that are not this layer's.
WRONG: dict[str, tuple[Any, ...]] = {
    "update": ("zero_debiased", "first_batch", "cumulative", "merge", "none"),
    "normalizes_with": ("moving_before", "moving_after"),
    "normalizing_correction": (1,),
    "moving_correction": (1,),
    "single_value": ("error", "identity"),
    "empty_batch": ("error",),
    "frozen_implies_inference": (True,),
    "statistics_dtype": ("float64", "float32", "float16", "bfloat16"),
    "state": ("caller", "none"),
}


def declaring(field: str, value: Any) -> Implementation:
    error = "ValueError" if value == "error" else None
    declared = Declared(field=field, value=value, source="documentation", where="nowhere", error=error)
    made: Implementation = replace(_HEALTHY, name=f"misdeclared.{field}.{value}", profile=(declared,))
    return made


def implementations() -> Iterator[Implementation]:
    yield replace(_HEALTHY, name="misdeclared.nothing")
    for field, values in WRONG.items():
        for value in values:
            yield declaring(field, value)


ADAPTER = Adapter(library="misdeclared", versions={}, implementations=tuple(implementations()))

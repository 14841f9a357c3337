"""Moments of whole numbers in float64, and the same with one fault each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "whole", "group": None, "environment": {}}]


@dataclass(frozen=True)
class Fault:
    """One fault: what a diagnosis says of it, and how it takes mean and variance along the rows."""

    name: str
    diagnosis: str | None
    moments: Callable[[Any], tuple[Any, Any]]


def right(x: Any) -> tuple[Any, Any]:
    return x.mean(0), x.var(0)


def cut_off(x: Any) -> tuple[Any, Any]:
    """Every division is one of integers, whose results are then called float64."""
    wide = x.astype(np.int64)
    mean = wide.sum(0) // len(wide)
    variance = np.square(wide - mean).sum(0) // len(wide)
    return mean.astype(np.float64), variance.astype(np.float64)


def kept_whole(x: Any) -> tuple[Any, Any]:
    """The results have the dtype of the input."""
    return x.mean(0).astype(x.dtype), x.var(0).astype(x.dtype)


def overflowing(x: Any) -> tuple[Any, Any]:
    """The sum has the dtype of the input."""
    mean = x.sum(0, dtype=x.dtype) / len(x)
    return mean, np.square(x - mean).mean(0)


def squares_overflow(x: Any) -> tuple[Any, Any]:
    """The squares have the dtype of the input, which a variance from means of squares adds up."""
    mean = x.mean(0)
    return mean, np.multiply(x, x, dtype=x.dtype).mean(0) - mean * mean


HEALTHY = Fault("right", None, right)
PLANTED = (
    Fault("cut-off", "each division rounded down", cut_off),
    Fault("kept-whole", "has dtype", kept_whole),
    Fault("overflowing", None, overflowing),
    Fault("squares-overflow", "which wrap around", squares_overflow),
)


def call(configuration: Configuration) -> Call:
    return Call(path="numpy.mean", keywords={}, function=True)


def start(
    native: Any, configuration: Configuration, state: Quantities, mode: str, device: str, fault: Fault
) -> SimpleNamespace:
    return SimpleNamespace(moments=fault.moments)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    mean, variance = live.moments(x)
    return {"batch_mean": mean, "batch_variance": variance}


def implementation(fault: Fault) -> Implementation:
    return Implementation(
        name=f"whole.{fault.name}",
        op="moments",
        profile=(),
        modes=("eager",),
        dtypes=("float64",),
        supports=lambda configuration: None,
        call=call,
        start=partial(start, fault=fault),
        state=lambda live: {},
        steps={"infer": infer},
    )


ADAPTER = Adapter(
    library="whole", versions={}, implementations=tuple(implementation(fault) for fault in (HEALTHY, *PLANTED))
)

"""The NumPy layer in rows that leave something behind in their process, and rows that fail where something was left.

A configuration with the leaking decay leaves it behind. Alone, every row gives right numbers, but for `leaking.wrong`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conformance.protocol import Adapter
from conformance.worker.adapter_file import load_adapter

PROCESSES: list[dict[str, Any]] = [{"name": "leaking", "group": None, "environment": {}}]

LEAKING_DECAY = 0.125
_NUMPY = load_adapter(str(Path(__file__).parents[2] / "adapters" / "numpy" / "batch_norm.py"))
_HEALTHY = _NUMPY.ADAPTER.implementations[0]
BatchNorm = _NUMPY.BatchNorm
#: What a library keeps beside its layers: a default dtype.
_default: dict[str, Any] = {"output": np.float32}


def raising() -> None:
    np.seterr(all="raise")


def halving() -> None:
    _default["output"] = np.float16


def naming() -> None:
    os.environ["LEAKING"] = "1"


def leaves(leave: Callable[[], None], offset: float = 0.0) -> Callable[..., Any]:
    def train(live: Any, x: Any, upstream: Any) -> Any:
        if live.decay == LEAKING_DECAY:
            leave()
        given = _HEALTHY.steps["train"](live, x, upstream)
        return {**given, "output": given["output"] + given["output"].dtype.type(offset)}

    return train


def underflows(live: Any, x: Any, upstream: Any) -> Any:
    np.multiply(np.float32(1e-30), np.float32(1e-30))
    return _HEALTHY.steps["train"](live, x, upstream)


def takes_the_default(live: Any, x: Any, upstream: Any) -> Any:
    given = _HEALTHY.steps["train"](live, x, upstream)
    return {**given, "output": given["output"].astype(_default["output"])}


def reads_the_environment(live: Any, x: Any, upstream: Any) -> Any:
    given = _HEALTHY.steps["train"](live, x, upstream)
    return {**given, "output": -given["output"] if "LEAKING" in os.environ else given["output"]}


def row(name: str, train: Callable[..., Any]) -> Any:
    return replace(_HEALTHY, name=f"leaking.{name}", steps={**_HEALTHY.steps, "train": train})


ADAPTER = Adapter(
    library="leaking",
    versions={},
    implementations=(
        row("raising", leaves(raising)),
        row("halving", leaves(halving)),
        row("naming", leaves(naming)),
        row("wrong", leaves(raising, offset=1.0)),
        row("underflows", underflows),
        row("takes_the_default", takes_the_default),
        row("reads_the_environment", reads_the_environment),
        row("healthy", _HEALTHY.steps["train"]),
    ),
)

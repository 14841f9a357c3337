"""The NumPy adapter with a sum in as many pieces as its process has threads: other bits, and right all the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conformance.protocol import Adapter
from conformance.worker.adapter_file import load_adapter

PROCESSES: list[dict[str, Any]] = [
    {"name": "threaded", "group": None, "environment": {}, "threads": {"THREADED_THREADS": "{threads}"}}
]

_NUMPY = load_adapter(str(Path(__file__).parents[2] / "adapters" / "numpy" / "batch_norm.py"))
_HEALTHY = _NUMPY.ADAPTER.implementations[0]
BatchNorm = _NUMPY.BatchNorm
THREADS = int(os.environ.get("THREADED_THREADS", "2"))


def train_in_pieces(live: Any, x: Any, upstream: Any) -> Any:
    given = _HEALTHY.steps["train"](live, x, upstream)
    layer = live
    rows = np.moveaxis(upstream, layer.axes, range(len(layer.axes))).reshape(-1, *layer.features)
    pieces = [each.sum(0, dtype=x.dtype) for each in np.array_split(rows, THREADS)]
    return {**given, "grad_beta": np.add.reduce(pieces)}


ADAPTER = Adapter(
    library="threaded",
    versions={},
    settings={"threads": str(THREADS)},
    implementations=(
        replace(_HEALTHY, name="threaded.pieces", steps={**_HEALTHY.steps, "train": train_in_pieces}),
        replace(_HEALTHY, name="threaded.whole"),
    ),
)

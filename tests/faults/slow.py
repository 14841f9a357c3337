"""The NumPy adapter, except that each training step takes a tenth of a second: what a run can be disturbed during."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.protocol import Adapter
from conformance.worker.adapter_file import load_adapter

PROCESSES: list[dict[str, Any]] = [{"name": "slow", "group": None, "environment": {}}]

_MODULE = load_adapter(str(Path(__file__).parents[2] / "adapters" / "numpy" / "batch_norm.py"))
_NUMPY = _MODULE.ADAPTER
_BASE = _NUMPY.implementations[0]
BatchNorm = _MODULE.BatchNorm


def _slowly(*arguments: Any, **keywords: Any) -> Any:
    time.sleep(0.1)
    return _BASE.steps["train"](*arguments, **keywords)


ADAPTER = Adapter(
    library=_NUMPY.library,
    versions=_NUMPY.versions,
    settings=_NUMPY.settings,
    implementations=(replace(_BASE, name="slow.BatchNorm", steps={**_BASE.steps, "train": _slowly}),),
)

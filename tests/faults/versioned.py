"""The NumPy adapter as a library of a group, whose version is what its interpreter says: two builds of one package."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.protocol import Adapter
from conformance.worker.adapter_file import load_adapter

PROCESSES: list[dict[str, Any]] = [{"name": "versioned", "group": "versioned", "environment": {}}]

_MODULE = load_adapter(str(Path(__file__).parents[2] / "adapters" / "numpy" / "batch_norm.py"))
_NUMPY = _MODULE.ADAPTER
BatchNorm = _MODULE.BatchNorm

ADAPTER = Adapter(
    library="versioned",
    versions={"versioned": os.environ.get("VERSIONED", "none")},
    settings=_NUMPY.settings,
    implementations=(replace(_NUMPY.implementations[0], name="versioned.BatchNorm"),),
)

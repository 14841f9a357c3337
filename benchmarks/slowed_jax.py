"""JAX's adapter, a tenth slower: see `slowed.py`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

PROCESSES = [
    {"name": "jax", "group": "jax", "environment": {"JAX_ENABLE_X64": "0", "JAX_COMPILATION_CACHE_DIR": "{caches}"}}
]

# An adapter is loaded by its path: what stands beside it is not importable by name.
_SPEC = importlib.util.spec_from_file_location("slowed", Path(__file__).with_name("slowed.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_SLOWED = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_SLOWED)
_FILE = _SLOWED.adapter_file("jax")
ADAPTER = _SLOWED.slowed(_FILE.ADAPTER)


def __getattr__(name: str) -> Any:
    """Return what a native call names in the adapter's own file."""
    return getattr(_FILE, name)

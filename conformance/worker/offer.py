"""What an adapter offers, and the process that offers it, as JSON values."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from conformance.protocol import Adapter
from conformance.worker.adapter_file import reached, text_of


def describe(adapter: Adapter, counted: Mapping[str, str], module: ModuleType) -> dict[str, Any]:
    """Return what the adapter offers, and the process that offers it with its counted settings, as JSON values."""
    modules = reached(module)
    names = {id(value): name for module in modules for name, value in vars(module).items() if callable(value)}
    return {
        "library": adapter.library,
        "versions": {"numpy": np.__version__, **adapter.versions},
        "settings": {**adapter.settings, **counted},
        "sources": {module.__name__: text_of(module) for module in modules},
        "host": {
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": str(os.cpu_count()),
        },
        "implementations": [
            {
                "name": implementation.name,
                "op": implementation.op,
                "modes": list(implementation.modes),
                "devices": list(implementation.devices),
                "dtypes": list(implementation.dtypes),
                "steps": sorted(implementation.steps),
                "timed": sorted(implementation.timed),
                "lacks": list(implementation.lacks),
                "profile": [asdict(declared) for declared in implementation.profile],
                "documentation": implementation.documentation,
                "names": dict(implementation.names),
                "functions": {
                    kind: _named(function, names)
                    for kind, function in {
                        "start": implementation.start,
                        "state": implementation.state,
                        **implementation.steps,
                    }.items()
                },
            }
            for implementation in adapter.implementations
        ],
    }


def _named(function: Any, names: Mapping[int, str]) -> str:
    """Return how the adapter's files name a function, the arguments bound to it included; empty where they cannot."""
    if not isinstance(function, functools.partial):
        return names.get(id(function), "")
    arguments = [("", value) for value in function.args] + [
        (f"{name}=", value) for name, value in function.keywords.items()
    ]
    words = [prefix + (names.get(id(value)) or _literal(value)) for prefix, value in arguments]
    name = names.get(id(function.func))
    return f"{name}({', '.join(words)})" if name and all(words) else ""


def _literal(value: Any) -> str:
    plain = value is None or isinstance(value, bool | int | float | str | tuple)
    return repr(value) if plain else ""


def thread_names() -> Counter[str]:
    """Return the names of this process's threads as Linux has them, its own among them; empty elsewhere."""
    names: Counter[str] = Counter()
    for file in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            names[file.read_text().strip()] += 1
    return names


def counted_pool(adapter: Adapter, before: Counter[str]) -> dict[str, str]:
    """Return the setting `threads`, counted, for a library that does not tell it; empty for any other."""
    if adapter.pool is None:
        return {}
    time.sleep(0.1)  # a thread takes its name a moment after its start
    started = thread_names() - before
    # A thread that was given no name has that of the process's first.
    own = Path("/proc/self/comm").read_text().strip() if started else ""
    count = sum(many for name, many in started.items() if name.startswith(adapter.pool or own))
    return {"threads": str(count or "unknown")}

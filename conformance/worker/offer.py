"""What an adapter offers, and the process that offers it, as JSON values."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Declared, Implementation
from conformance.worker.adapter_file import reached, text_of
from conformance.worker.given import UnfitError, kind_of

#: The fields of a declaration that are texts.
_TEXTS = ("field", "source", "where")
#: Characters of a name that are shown.
_LONGEST = 100


def named(module: ModuleType, name: str) -> Adapter:
    """Return the adapter of that name in its file. Raises `UnfitError`."""
    if not hasattr(module, name):
        raise UnfitError(f"{Path(str(module.__file__)).name}: has no {name}")
    adapter: Adapter = getattr(module, name)
    _check_types(adapter)
    return adapter


def describe(adapter: Adapter, before: Counter[str], module: ModuleType) -> dict[str, Any]:
    """Return what the adapter offers, and the process that offers it, as JSON values; they are checked where they arrive.

    `before` are the threads that the process had before the adapter was imported, by name.
    """
    modules = reached(module)
    names = {id(value): name for module in modules for name, value in vars(module).items() if callable(value)}
    return {
        "library": adapter.library,
        "versions": {"numpy": np.__version__, **_texts(adapter.versions, "versions")},
        "settings": {**_texts(adapter.settings, "settings"), **counted_pool(adapter, before)},
        "sources": {module.__name__: text_of(module) for module in modules},
        "host": {
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": str(os.cpu_count()),
        },
        "implementations": [_implementation(implementation, names) for implementation in adapter.implementations],
    }


def _implementation(implementation: Implementation, names: Mapping[int, str]) -> dict[str, Any]:
    functions = {"start": implementation.start, "state": implementation.state, **implementation.steps}
    return {
        "name": implementation.name,
        "op": implementation.op,
        "modes": list(implementation.modes),
        "devices": list(implementation.devices),
        "dtypes": list(implementation.dtypes),
        "steps": sorted(implementation.steps),
        "timed": sorted(implementation.timed),
        "lacks": list(implementation.lacks),
        "given": list(implementation.given),
        "profile": [asdict(declared) for declared in implementation.profile],
        "documentation": implementation.documentation,
        "names": dict(implementation.names),
        "functions": {kind: _named(function, names) for kind, function in functions.items()},
    }


def _check_types(adapter: object) -> None:
    """Raise `UnfitError` where a part of the adapter is not of the type that `conformance.protocol` gives it."""
    if not isinstance(adapter, Adapter):
        raise UnfitError(f"the adapter is {kind_of(adapter)}, expected a conformance.protocol.Adapter")
    _expect(adapter.library, str, "library", "a text")
    _expect(adapter.pool or "", str, "pool", "a text")
    _expect(adapter.compiling or float, Callable, "compiling", "a function")
    if adapter.compiling is not None:
        _expect(adapter.compiling(), float, "compiling()", "seconds as a float")
    _expect(adapter.implementations, tuple, "implementations", "a tuple")
    if not adapter.implementations:
        raise UnfitError("implementations: gave none: an adapter has at least one")
    for implementation in adapter.implementations:
        _expect(implementation, Implementation, "implementations", "an Implementation")
        _expect(implementation.name, str, "name", "a text")
        _check_implementation(implementation)


def _check_implementation(implementation: Implementation) -> None:
    name = implementation.name[:_LONGEST]
    for field in ("op", "documentation"):
        _expect(getattr(implementation, field), str, f"{name}: {field}", "a text")
    for field in ("modes", "devices", "dtypes", "lacks", "given"):
        listed = getattr(implementation, field)
        _expect(listed, tuple, f"{name}: {field}", "a tuple of texts")
        for value in listed:
            _expect(value, str, f"{name}: {field}", "a tuple of texts")
    _expect(implementation.profile, tuple, f"{name}: profile", "a tuple of Declared")
    for declared in implementation.profile:
        _expect(declared, Declared, f"{name}: profile", "a tuple of Declared")
        for field in _TEXTS:
            _expect(getattr(declared, field), str, f"{name}: profile: {field}", "a text")
        _expect(
            declared.value, str | int | bool, f"{name}: profile: {declared.field}", "a text, a number or a truth value"
        )
        _expect(declared.error or "", str, f"{name}: profile: error", "an exception's name")
        ranks = () if declared.ranks is None else declared.ranks
        _expect(ranks, tuple, f"{name}: profile: ranks", "a tuple of numbers")
        for rank in ranks:
            _expect(rank, int, f"{name}: profile: ranks", "a tuple of numbers")
    _texts(implementation.names, f"{name}: names")
    for field in ("supports", "call", "start", "state"):
        _expect(getattr(implementation, field), Callable, f"{name}: {field}", "a function")
    _expect(implementation.compilations or len, Callable, f"{name}: compilations", "a function")
    for field in ("steps", "timed"):
        functions = getattr(implementation, field)
        _expect(functions, Mapping, f"{name}: {field}", "a mapping of names to functions")
        for kind, function in functions.items():
            _expect(kind, str, f"{name}: {field}", "a mapping of names to functions")
            _expect(function, Callable, f"{name}: {field}: {kind}", "a function")


def _expect(value: object, expected: Any, where: str, words: str) -> None:
    if not isinstance(value, expected):
        raise UnfitError(f"{where}: gave {kind_of(value)}, expected {words}")


def _texts(values: object, where: str) -> dict[str, str]:
    """Return a mapping with the text of each of its values, which are numbers or texts."""
    if not isinstance(values, Mapping):
        raise UnfitError(f"{where}: gave {kind_of(values)}, expected a mapping of texts")
    for name, value in values.items():
        _expect(name, str, where, "names that are texts")
        _expect(value, str | int | float, f"{where}: {name[:_LONGEST]}", "a text or a number")
    return {name: str(value) for name, value in values.items()}


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

"""The families of processes that the files of a folder of adapters name, as `processes.yaml` beside them has them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.errors import UsageError, nearest
from conformance.spec import yaml_document
from conformance.spec.locations import root
from conformance.worker.adapter_file import PROCESSES_FILE, library_of

#: Of a library's files, the one whose processes are named after the library alone.
_FIRST = "batch_norm"


def name_of(file: Path) -> str:
    """Return the name after which the processes of an adapter file are named: `flax-nnx` of `flax/nnx.py`."""
    library = library_of(file)
    words = [file.stem] if library is None else [library] if file.stem == _FIRST else [library, file.stem]
    return "-".join(words).replace("_", "-")


def family(name: str, file: Path) -> list[dict[str, Any]]:
    """Return the processes of the family that an adapter file names, as it would list them. Raises `UsageError`.

    A file outside a folder of adapters may name a family of ours.
    """
    folder = file.absolute().parent.parent if library_of(file) else root() / "adapters"
    families = _families(folder / PROCESSES_FILE)
    if name not in families:
        raise UsageError(
            f"{file}: PROCESSES names no family of {folder / PROCESSES_FILE}: {name!r}{nearest(name, families)}"
        )
    described = families[name]
    shared = described.get("shared", False)
    return [_process(entry, name_of(file), name if shared else "") for entry in described["processes"]]


@functools.cache
def _families(file: Path) -> dict[str, Any]:
    families: dict[str, Any] = yaml_document.load(file).value
    return families


def _process(entry: Mapping[str, Any], name: str, shared: str) -> dict[str, Any]:
    """Return one process of a family under the names of the file that runs in it."""
    suffix = f"-{entry['suffix']}" if "suffix" in entry else ""
    environment = entry["environment"]
    mappings = environment if isinstance(environment, list) else [environment]
    return {
        **{key: value for key, value in entry.items() if key != "suffix"},
        "name": name + suffix,
        "environment": {variable: value for mapping in mappings for variable, value in mapping.items()},
        **({"shared": shared + suffix} if shared else {}),
    }

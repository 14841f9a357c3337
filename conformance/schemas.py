"""The JSON Schemas that the suite publishes, each beside the spec and generated from the values themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from conformance import results_reading, spec

#: Name of the file -> what writes it.
SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "cases.schema.json": spec.file_schema,
    "results.schema.json": results_reading.schema,
}


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into the folder and return their paths."""
    for name, schema in SCHEMAS.items():
        (folder / name).write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
    return [folder / name for name in SCHEMAS]

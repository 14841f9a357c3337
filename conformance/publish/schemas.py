"""The JSON Schemas that the suite publishes, each beside the spec and generated from the values themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from conformance.answers.explanation import Explanation
from conformance.answers.translation_document import TranslationDocument
from conformance.compare.values import Comparison
from conformance.regression.history import History
from conformance.runfile.results import Results
from conformance.spec import loader
from conformance.throughput.comparing import Speed


def results_schema() -> dict[str, Any]:
    """Return the JSON Schema of `results.json`."""
    return _schema(Results, "Results of conformance runs")


def comparison_schema() -> dict[str, Any]:
    """Return the JSON Schema of what `conformance compare --format json` writes."""
    return _schema(Comparison, "What changed between two results")


def history_schema() -> dict[str, Any]:
    """Return the JSON Schema of `history.json`, and of what `conformance regression --json` writes of a row."""
    return _schema(History, "Findings over a row of versions")


def speed_schema() -> dict[str, Any]:
    """Return the JSON Schema of what `conformance compare --format json` writes of two interpreters."""
    return _schema(Speed, "How fast one interpreter is beside another")


def explanation_schema() -> dict[str, Any]:
    """Return the JSON Schema of what `conformance explain --json` writes."""
    return _schema(Explanation, "What a case, or a person's own data, gives and why")


def translation_schema() -> dict[str, Any]:
    """Return the JSON Schema of what `conformance translate --json` writes."""
    return _schema(TranslationDocument, "A layer of one library in the words of another")


def _schema(document: type, title: str) -> dict[str, Any]:
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **TypeAdapter(document).json_schema(), "title": title}


#: Name of the file -> what writes it.
SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "cases.schema.json": loader.file_schema,
    "comparison.schema.json": comparison_schema,
    "explanation.schema.json": explanation_schema,
    "history.schema.json": history_schema,
    "results.schema.json": results_schema,
    "speed.schema.json": speed_schema,
    "translation.schema.json": translation_schema,
}


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into the folder and return their paths."""
    for name, schema in SCHEMAS.items():
        (folder / name).write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
    return [folder / name for name in SCHEMAS]

"""The records of a run file as plain values, with what pytest was told and the diagnosis in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from conformance.runfile.cause_text import Catalogue, diagnosis_text
from conformance.runfile.reading import read
from conformance.runfile.structs import Record
from conformance.verdict import Standing

_STATUSES = {
    Standing.AGREES: "passed",
    Standing.DOCUMENTED: "passed",
    Standing.APART: "skipped",
    Standing.KNOWN: "xfailed",
    Standing.UNEXPECTED: "failed",
}


def recorded(path: Path) -> list[Mapping[str, Any]]:
    """Return the records of the run file at `path`."""
    run = read(path)
    return [as_plain(record, run.header.causes) for record in run.records]


def as_plain(record: Record, causes: Catalogue) -> Mapping[str, Any]:
    """Return a record as plain values, with what pytest is told of it and its diagnosis in the catalogue's words."""
    return {
        **msgspec.to_builtins(record),
        "status": _STATUSES[record.standing],
        "diagnosis": diagnosis_text(record.diagnosis, causes),
    }

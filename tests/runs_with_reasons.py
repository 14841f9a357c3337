"""Run files by hand whose cells name causes and dialect fields as values, which the lines of format 1 cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from conformance.runfile.lines import recorded_catalogue
from conformance.runfile.run import Run
from conformance.runfile.structs import DeclaredField, Record, RecordedCause
from tests.run_lines import Line, run_of


def named(id_: str, *quantities: str, **parameters: str | float) -> RecordedCause:
    """Return a cause of the shipped catalogue."""
    return RecordedCause(id=id_, parameters=dict(parameters), quantities=quantities)


def run_with(
    *cells: tuple[Line, Sequence[RecordedCause], Sequence[str]], profile: Mapping[str, str | int | bool] | None = None
) -> Run:
    """Return a run of those cells: a record, the causes of its diagnosis, the dialect fields of its quantities."""
    run = run_of(*(line for line, _, _ in cells))
    declared = tuple(
        DeclaredField(field=field, value=value, source="documentation", where="a page")
        for field, value in (profile or {}).items()
    )
    environments = tuple(
        msgspec.structs.replace(
            environment,
            implementations=tuple(
                msgspec.structs.replace(offer, profile=declared) for offer in environment.implementations
            ),
        )
        for environment in run.environments
    )
    records = tuple(
        reasoned(record, causes, fields) for record, (_, causes, fields) in zip(run.records, cells, strict=True)
    )
    header = msgspec.structs.replace(run.header, causes=dict(recorded_catalogue()))
    return replace(run, header=header, environments=environments, records=records)


def reasoned(record: Record, causes: Sequence[RecordedCause], fields: Sequence[str]) -> Record:
    """Return the record with those causes as its diagnosis, and those fields in each of its quantities."""
    steps = tuple(
        msgspec.structs.replace(
            step,
            quantities=tuple(msgspec.structs.replace(quantity, fields=tuple(fields)) for quantity in step.quantities),
        )
        for step in record.steps
    )
    return msgspec.structs.replace(record, steps=steps, diagnosis=tuple((cause,) for cause in causes))

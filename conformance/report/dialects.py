"""What the implementations declare of their dialects, and in how many cells it was needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conformance.dialect import meanings
from conformance.report.probes import ObservedField, Probed, observed_as
from conformance.runfile.observed import RecordedCell
from conformance.runfile.structs import DeclaredField, EnvironmentLine, RecordedOffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One field of a profile."""

    field: str
    meaning: str
    value: str
    source: str
    where: str
    #: For which ranks or in which environments alone; empty for all.
    limits: str
    #: Judged cells whose numbers fit only with this field; None for an error, which gives no numbers.
    needed: int | None
    #: What the numbers show of it; None where nothing was observed of the implementation at all.
    observed: ObservedField | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """All that one implementation declares."""

    implementation: str
    documentation: str
    judged: int
    declarations: tuple[Declaration, ...]


def dialects(
    environments: Iterable[EnvironmentLine], cells: Iterable[RecordedCell], probes: Iterable[Probed]
) -> tuple[Dialect, ...]:
    """Return what every offered implementation declares of its dialect, beside what `probes` observed of it."""
    observed = {probe.implementation: {field.field: field for field in probe.fields} for probe in probes}
    offered: dict[str, dict[str, RecordedOffer]] = {}
    for environment in environments:
        for offer in environment.implementations:
            offered.setdefault(offer.name, {}).setdefault(environment.id, offer)
    judged: dict[str, list[RecordedCell]] = {}
    for cell in cells:
        if cell.verdict.judged:
            judged.setdefault(cell.column.implementation, []).append(cell)
    return tuple(
        Dialect(
            implementation=name,
            documentation=next((offer.documentation for offer in by_id.values() if offer.documentation), ""),
            judged=len(judged.get(name, [])),
            declarations=_declarations(by_id, judged.get(name, []), observed.get(name, {})),
        )
        for name, by_id in offered.items()
    )


def _declarations(
    by_id: dict[str, RecordedOffer], cells: list[RecordedCell], observed: Mapping[str, ObservedField]
) -> tuple[Declaration, ...]:
    """Return what those environments declare; what is the same in several is one declaration."""
    needed = Counter(field for cell in cells for field in cell.fields)
    environments: dict[tuple[str, str, str, str, str, bool], list[str]] = {}
    for environment, offer in by_id.items():
        for declared in offer.profile:
            statement = (declared.field, _value(declared), declared.source, declared.where)
            key = (*statement, _ranks(declared), bool(declared.error))
            environments.setdefault(key, []).append(environment)
    return tuple(
        Declaration(
            field=field,
            meaning=meanings()[field].words if field in meanings() else "",
            value=value,
            source=source,
            where=where,
            limits="; ".join(
                filter(None, [ranks, "" if len(where_declared) == len(by_id) else f"in {', '.join(where_declared)}"])
            ),
            needed=None if raises else needed[field],
            observed=observed.get(observed_as(field)),
        )
        for (field, value, source, where, ranks, raises), where_declared in environments.items()
    )


def _value(declared: DeclaredField) -> str:
    value = declared.value
    text = ("no", "yes")[value] if isinstance(value, bool) else str(value)
    return f"{text}: {declared.error}" if declared.error else text


def _ranks(declared: DeclaredField) -> str:
    return f"rank {', '.join(map(str, declared.ranks))}" if declared.ranks else ""

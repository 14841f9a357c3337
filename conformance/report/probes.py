"""Declared and observed side by side: what the probe's numbers show of each implementation's dialect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conformance.observed import Cell
from conformance.record import Line

#: What the spec itself says, for a field that a profile leaves alone.
CANONICAL = {
    "normalizes_with": "batch, correction 0",
    "update": "exponential",
    "decay": "as configured",
    "moving_correction": "0",
    "averaged": "variance",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One field of one implementation."""

    declared: str
    #: Value -> in how many cells it was observed; empty where the API keeps no such thing.
    observed: Mapping[str, int]

    @property
    def agrees(self) -> bool:
        """Whether every observation is what was declared."""
        return set(self.observed) <= {self.declared}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """One implementation, in every mode, dtype, rank and layout that was probed."""

    implementation: str
    cells: int
    fields: tuple[Seen, ...]


def probed(environments: Iterable[Line], cells: Iterable[Cell]) -> tuple[Probed, ...]:
    """Return what was observed of every implementation that a probe was judged on."""
    declared: dict[str, dict[str, str]] = {}
    for environment in environments:
        for each in environment.get("implementations", []):
            declared.setdefault(each["name"], _declared(each["profile"]))
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.record.get("observed"):
            found.setdefault(cell.column.implementation, []).append(cell)
    return tuple(
        Probed(
            implementation=name,
            cells=len(of),
            fields=tuple(_seen(field, declared.get(name, CANONICAL), of) for field in CANONICAL),
        )
        for name, of in sorted(found.items())
    )


def _seen(field: str, declared: Mapping[str, str], cells: Iterable[Cell]) -> Seen:
    counts = Counter(cell.record["observed"][field] for cell in cells if field in cell.record["observed"])
    return Seen(declared=declared[field], observed=dict(counts.most_common()))


def _declared(profile: Iterable[Line]) -> dict[str, str]:
    values = {each["field"]: each["value"] for each in profile}
    normalizes = values.get("normalizes_with", "batch")
    by_batch = f"batch, correction {values.get('normalizing_correction', 0)}"
    names = {"batch": by_batch, "moving_before": "moving values before", "moving_after": "moving values after"}
    return {
        **CANONICAL,
        "normalizes_with": names[normalizes],
        "update": str(values.get("update", CANONICAL["update"])),
        "moving_correction": str(values.get("moving_correction", 0)),
    }

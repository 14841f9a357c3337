"""Declared and observed side by side: what the numbers show of each implementation's dialect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from conformance.dialect import CANONICAL, OBSERVED, meanings, shown
from conformance.runfile.observed import RecordedCell
from conformance.runfile.structs import DeclaredField, EnvironmentLine

_PARAMETERS = meanings()["statistics_dtype"].shown[None]
_REASON = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedField:
    """One field of one implementation."""

    field: str
    declared: str
    #: Whether its profile says so; else it is what the spec has.
    says: bool
    #: Value -> in how many cells it was observed.
    observed: Mapping[str, int]
    #: Those among them that are not what was declared for their input.
    wrong: Mapping[str, int]
    #: Where nothing was observed, why.
    reason: str

    @property
    def agrees(self) -> bool:
        """Whether every observation is what was declared."""
        return not self.wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What was observed of one implementation, over all its modes, dtypes, ranks and layouts."""

    implementation: str
    cells: int
    fields: tuple[ObservedField, ...]


def probed(
    environments: Iterable[EnvironmentLine], cells: Iterable[RecordedCell], canonical: Mapping[str, Mapping[str, Any]]
) -> tuple[Probed, ...]:
    """Return what was observed of every implementation; `canonical` is each operation's own dialect by its name."""
    profiles = {
        (environment.id, offer.name): offer.profile
        for environment in environments
        for offer in environment.implementations
    }
    by_implementation: dict[str, list[RecordedCell]] = {}
    for cell in cells:
        by_implementation.setdefault(cell.column.implementation, []).append(cell)
    declaring = _Declaring(profiles, canonical)
    result = []
    for name, cells_of_name in sorted(by_implementation.items()):
        telling = [cell for cell in cells_of_name if cell.observed]
        if telling:
            declared = [declaring.of(cell) for cell in telling]
            said = {
                observed_as(declaration.field)
                for cell in telling
                for declaration in profiles.get((cell.environment, name), ())
            }
            pairs = list(zip(telling, declared, strict=True))
            fields = tuple(_seen(field, pairs, cells_of_name, says=field in said) for field in OBSERVED)
            result.append(Probed(implementation=name, cells=len(telling), fields=fields))
    return tuple(result)


def observed_as(field: str) -> str:
    """Return the name under which what the numbers show of that field of a profile is recorded."""
    meaning = meanings().get(field)
    return field if meaning is None else meaning.observed_as or field


def _seen(
    field: str, telling: Sequence[tuple[RecordedCell, Mapping[str, str]]], cells: Iterable[RecordedCell], *, says: bool
) -> ObservedField:
    counts: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for cell, declared in telling:
        value = cell.observed.get(field)
        if value is None or _untold(field, declared):
            continue
        shown = _shown(field, value, cell)
        counts[shown] += 1
        if not _agrees(field, declared[field], value, cell):
            wrong[shown] += 1
    return ObservedField(
        field=field,
        declared=" or ".join(dict.fromkeys(declared[field] for _, declared in telling)),
        says=says,
        observed=dict(counts.most_common()),
        wrong=dict(wrong.most_common()),
        reason="" if counts else _reason(field, telling, cells),
    )


def _untold(field: str, declared: Mapping[str, str]) -> bool:
    """Return whether an observation says nothing: a layer that moves nothing looks like one without a state."""
    return field == "state" and declared["update"] == "none"


def _reason(
    field: str, telling: Sequence[tuple[RecordedCell, Mapping[str, str]]], cells: Iterable[RecordedCell]
) -> str:
    """Return why nothing was observed."""
    meaning = OBSERVED[field]
    if all(_untold(field, declared) for _, declared in telling):
        return "declared to move nothing"
    if meaning.kept and all(declared["state"] != "layer" for _, declared in telling):
        return "kept by the caller"
    op = telling[0][0].case.op
    tried = [cell for cell in cells if cell.case.family in meaning.families and cell.case.op == op]
    if not tried:
        return f"no {op} case of {' or '.join(meaning.families)} in this run"
    reasons = [step.message for cell in tried for step in cell.record.steps if step.message]
    unjudged = not any(cell.verdict.judged for cell in tried)
    return reasons[0][:_REASON] if unjudged and reasons else "no case tells"


def _shown(field: str, value: str, cell: RecordedCell) -> str:
    """Return the value as a person reads it: of an error its own type, of a dtype whether it is the parameters'."""
    if value.startswith("error: "):
        return value.partition(",")[0]
    if field == "statistics_dtype":
        parameters = cell.case.configuration.parameter_dtype
        return _PARAMETERS if value == parameters else f"{value} for {parameters} parameters"
    return value


def _agrees(field: str, declared: str, value: str, cell: RecordedCell) -> bool:
    if field == "statistics_dtype" and declared == _PARAMETERS:
        return bool(value == cell.case.configuration.parameter_dtype)
    if declared.startswith("error: ") and value.startswith("error: "):
        return declared.removeprefix("error: ") in value.removeprefix("error: ").split(", ")
    return declared == value


class _Declaring:
    """What profiles declare for the input of a cell, worked out once for all cells of one kind."""

    def __init__(
        self,
        profiles: Mapping[tuple[str, str], Iterable[DeclaredField]],
        canonical: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._profiles = profiles
        self._canonical = canonical
        self._declared: dict[tuple[str, str, str, int], Mapping[str, str]] = {}

    def of(self, cell: RecordedCell) -> Mapping[str, str]:
        """Return what is declared of each field that can be observed."""
        rank = len(cell.case.configuration.shape)
        key = (cell.environment, cell.column.implementation, cell.case.op, rank)
        if key not in self._declared:
            profile = self._profiles.get(key[:2], ())
            self._declared[key] = _declared(profile, self._canonical.get(cell.case.op, {}), rank)
        return self._declared[key]


def _declared(profile: Iterable[DeclaredField], canonical: Mapping[str, Any], rank: int) -> Mapping[str, str]:
    """Return what is declared for input of a rank; of a field the first declaration counts."""
    values = {**asdict(CANONICAL), **canonical}
    errors: dict[str, str] = {}
    for declared in reversed(list(profile)):
        if not declared.ranks or rank in declared.ranks:
            values[declared.field] = declared.value
            errors[declared.field] = declared.error or ""
    texts = {
        field: f"error: {errors.get(field, '')}" if value == "error" else shown(field, values)
        for field, value in values.items()
    }
    return {
        **texts,
        "later_update": "exponential" if values["update"] == "first_batch" else texts["update"],
        "decay": "as configured",
        "averaged": "variance",
    }

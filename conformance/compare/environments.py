"""What changed about the environments of two results."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.compare.values import EnvironmentChange, Part
from conformance.runfile.results import Environment, Results

_PARTS = {part: position for position, part in enumerate(Part)}
_Facts = dict[tuple[Part, str], str]


def environments_of(base: Results, new: Results) -> tuple[EnvironmentChange, ...]:
    """Return what changed about the environments, those that changed alike together."""
    before, after = _facts(base, new), _facts(new, base)
    groups: dict[tuple[Part, str, str, str], list[str]] = {}
    for id_ in sorted({*before, *after}):
        for difference in _differences(before.get(id_), after.get(id_)):
            groups.setdefault(difference, []).append(id_)
    changes = [
        EnvironmentChange(
            regression=part is Part.FAULT and not was,
            part=part,
            name=name,
            base=was,
            new=now,
            environments=tuple(ids),
        )
        for (part, name, was, now), ids in groups.items()
    ]
    return tuple(
        sorted(
            changes, key=lambda change: (not change.regression, _PARTS[change.part], change.name, change.environments)
        )
    )


def stands_for(environment: Environment, other: Results) -> list[str]:
    """Return the ids that an environment has on the other side: one that was not built stands for its whole group."""
    if environment.fault != "not built":
        return [environment.id]
    return sorted({counterpart.id for counterpart in other.environments if counterpart.group == environment.group}) or [
        environment.id
    ]


def _facts(results: Results, other: Results) -> dict[str, _Facts]:
    """Return what is recorded of every environment, by its id; what runs record differently under one id is joined."""
    values_by_environment: dict[str, dict[tuple[Part, str], set[str]]] = {}
    for environment in results.environments:
        for id_ in stands_for(environment, other):
            facts = values_by_environment.setdefault(id_, {})
            for key, value in _recorded_facts(environment):
                facts.setdefault(key, set()).add(value)
    return {
        id_: {key: " / ".join(sorted(values)) for key, values in facts.items()}
        for id_, facts in values_by_environment.items()
    }


def _recorded_facts(environment: Environment) -> Iterator[tuple[tuple[Part, str], str]]:
    version = environment.versions.get(environment.library, "")
    yield (Part.ENVIRONMENT, ""), f"{environment.library} {version}".strip() or environment.id
    if environment.fault:
        yield (Part.FAULT, ""), environment.fault
    for part in (Part.VERSIONS, Part.SETTINGS, Part.PROCESS, Part.HOST):
        for name, value in getattr(environment, part).items():
            yield (part, name), value


def _differences(before: _Facts | None, after: _Facts | None) -> list[tuple[Part, str, str, str]]:
    """Return part, name, what it was and what it is, for all that is otherwise about one environment."""
    whole = (Part.ENVIRONMENT, "")
    if before is None or after is None:
        return [(*whole, (before or {}).get(whole, ""), (after or {}).get(whole, ""))]
    fault = (Part.FAULT, "")
    if fault in before or fault in after:
        was, now = before.get(fault, ""), after.get(fault, "")
        return [(*fault, was, now)] if was != now else []
    return [
        (*key, before.get(key, ""), after.get(key, ""))
        for key in sorted({*before, *after}, key=lambda key: (_PARTS[key[0]], key[1]))
        if key != whole and before.get(key) != after.get(key)
    ]

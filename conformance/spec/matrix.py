"""A matrix expanded: one entry of a case file becomes a case per combination of its axes."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.errors import SpecErrors
from conformance.spec.budgets import CASES
from conformance.spec.yaml_document import Document

_SAFE_LABEL = re.compile(r"[A-Za-z0-9_.+-]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the parts of an expanded case stand: its own entry, and the matrix labels that override it."""

    entry: tuple[str | int, ...]
    overrides: Mapping[str, tuple[str | int, ...]]

    def path(self, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """Return the path in the document of a location in the expanded case."""
        if location and location[0] in self.overrides:
            return (*self.overrides[str(location[0])], *location[1:])
        return (*self.entry, *location)


def expand(
    entry: Any, path: tuple[str | int, ...], document: Document, left: int = CASES
) -> Iterator[tuple[dict[str, Any], Origin]]:
    """Yield the cases that an entry stands for, as written, each with where its parts stand. Raises `SpecErrors`.

    `left` is how many cases the file may have beside those before the entry.
    """
    if not isinstance(entry, dict):
        raise SpecErrors((document.error(path, "expected a case: a mapping with id, title, …"),))
    matrix = entry.get("matrix")
    base = {key: value for key, value in entry.items() if key != "matrix"}
    if matrix is None:
        yield base, Origin(path, {})
        return
    axes = _axes(matrix, (*path, "matrix"), document)
    count = math.prod(len(axis) for axis in axes)
    if count > left:
        before = "" if count > CASES else "with those before it "
        message = f"expands to {count:,} cases, {before}over the budget of {CASES:,}"
        raise SpecErrors((document.error((*path, "matrix"), message),))
    for combination in itertools.product(*axes):
        raw = dict(base)
        overrides: dict[str, tuple[str | int, ...]] = {}
        for choice in combination:
            raw |= choice.fields
            overrides |= choice.places
        raw["id"] = "/".join([str(base.get("id", "")), *(choice.label for choice in combination)])
        yield raw, Origin(path, overrides)


@dataclass(frozen=True, slots=True)
class _Choice:
    label: str
    fields: Mapping[str, Any]
    places: Mapping[str, tuple[str | int, ...]]


def _axes(matrix: Any, path: tuple[str | int, ...], document: Document) -> list[list[_Choice]]:
    if not isinstance(matrix, dict) or not matrix:
        raise SpecErrors((document.error(path, "expected a mapping of axes"),))
    axes: list[list[_Choice]] = []
    for name, values in matrix.items():
        match values:
            case [*items] if items and not any(isinstance(item, list | dict) for item in items):
                labels = [str(item) if isinstance(item, str) else f"{name}-{item}" for item in items]
                axes.append(
                    [
                        _Choice(label, {name: item}, {name: (*path, name, index)})
                        for index, (label, item) in enumerate(zip(labels, items, strict=True))
                    ]
                )
            case dict() if values and all(isinstance(fields, dict) for fields in values.values()):
                axes.append(
                    [
                        _Choice(label, fields, {field: (*path, name, label, field) for field in fields})
                        for label, fields in values.items()
                    ]
                )
            case _:
                message = "expected a list of plain values, or labels that each name the fields they replace"
                raise SpecErrors((document.error((*path, name), message),))
        for choice in axes[-1]:
            if not _SAFE_LABEL.fullmatch(choice.label):
                message = f"{choice.label!r} cannot stand in an id: A-Z a-z 0-9 _ . + - only"
                raise SpecErrors((document.error((*path, name), message),))
    return axes

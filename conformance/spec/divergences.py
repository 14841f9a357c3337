"""Known deviations: `spec/divergences.yaml`, strictly.

An entry whose cells conform is stale, and one that matches no cell of the whole matrix is wrong: both fail.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conformance.errors import Place, SpecError, SpecErrors
from conformance.spec.loader import explain
from conformance.spec.yaml_document import Document, load


class Divergence(BaseModel):
    """One deviation of one implementation: where it shows, since when, why, and who was told."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    implementation: str = Field(description="Glob over implementation names.")
    cases: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = Field(description="Globs over case ids.")
    modes: Annotated[tuple[Literal["eager", "compiled", "xla"], ...], Field(strict=False)] = Field(
        (), description="Empty: every mode."
    )
    devices: Annotated[tuple[Literal["cpu", "gpu"], ...], Field(strict=False)] = Field(
        (), description="Empty: every device."
    )
    versions: dict[str, str] = Field(description="Package -> versions that show it, such as '>=2.6,<3'.")
    verdict: Literal["deviates", "refused", "crashed", "timed_out"]
    reason: str = Field(min_length=10, description="What happens instead, in one sentence.")
    diagnosis: str = Field(min_length=10, description="Why.")
    upstream: str | None = Field(None, description="Link, where one is known.")

    def matches(self, case: str, implementation: str, mode: str, device: str) -> bool:
        """Return whether the cell is one of this entry's."""
        return (
            fnmatchcase(implementation, self.implementation)
            and any(fnmatchcase(case, glob) for glob in self.cases)
            and (not self.modes or mode in self.modes)
            and (not self.devices or device in self.devices)
        )

    def covers(self, versions: Mapping[str, str]) -> bool:
        """Return whether the versions in use are ones that show it."""
        return all(
            name in versions and Version(versions[name]) in SpecifierSet(wanted, prereleases=True)
            for name, wanted in self.versions.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An entry and where it stands."""

    divergence: Divergence
    place: Place


def load_divergences(path: Path, cases: Sequence[str], shown: str | None = None) -> tuple[Listed, ...]:
    """Return the entries in the file at `path`. Raises `SpecErrors`.

    Every case glob must match one of `cases`, the ids of the spec, unless none are given.
    """
    try:
        document = load(path, shown)
    except SpecError as error:
        raise SpecErrors((error,)) from error
    if not isinstance(document.value, list):
        raise SpecErrors((document.error((), "expected a list of divergences"),))
    errors: list[SpecError] = []
    found: list[Listed] = []
    for index, entry in enumerate(document.value):
        try:
            divergence = Divergence.model_validate(entry)
        except ValidationError as error:
            keys = sorted(Divergence.model_fields)
            path_of = functools.partial(_under, index)
            errors.extend(explain(each, entry, path_of, document, keys) for each in error.errors())
            continue
        errors.extend(_check(divergence, index, document, cases))
        found.append(Listed(divergence=divergence, place=document.place((index,))))
    if errors:
        raise SpecErrors(tuple(errors))
    return tuple(found)


def of_implementation(entries: Sequence[Listed], implementation: str) -> list[Listed]:
    """Return the entries that list cells of that implementation: few of all, which each of its cells is held against."""
    return [entry for entry in entries if fnmatchcase(implementation, entry.divergence.implementation)]


def find(entries: Sequence[Listed], cell: tuple[str, str, str, str], versions: Mapping[str, str]) -> list[Listed]:
    """Return the entries that list the cell (case, implementation, mode, device) at those versions."""
    return [entry for entry in entries if entry.divergence.matches(*cell) and entry.divergence.covers(versions)]


def unmatched(entries: Sequence[Listed], cells: Iterable[tuple[str, str, str, str]]) -> list[Listed]:
    """Return the entries that list none of the cells (case, implementation, mode, device), whatever the versions."""
    by_column: dict[tuple[str, str, str], list[str]] = {}
    for case, *column in cells:
        by_column.setdefault((column[0], column[1], column[2]), []).append(case)
    return [
        entry
        for entry in entries
        if not any(
            fnmatchcase(column[0], entry.divergence.implementation)
            and any(entry.divergence.matches(case, *column) for case in of)
            for column, of in by_column.items()
        )
    ]


def _under(index: int, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return (index, *location)


def _check(divergence: Divergence, index: int, document: Document, cases: Sequence[str]) -> list[SpecError]:
    errors = []
    for number, glob in enumerate(divergence.cases):
        if cases and not any(fnmatchcase(case, glob) for case in cases):
            errors.append(document.error((index, "cases", number), f"no case matches {glob!r}", f"cases.{number}"))
    for package, wanted in divergence.versions.items():
        try:
            SpecifierSet(wanted)
        except (InvalidSpecifier, InvalidVersion):
            message = f"expected versions such as '>=2.6,<3', got {wanted!r}"
            errors.append(document.error((index, "versions", package), message, f"versions.{package}"))
    return errors

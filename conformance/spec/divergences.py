"""Known deviations: `spec/divergences.yaml`, by implementation and cause, strictly.

A cell of any case is known where everything that its diagnosis names is listed for its implementation; one cause more
makes it unexpected. An entry has witnesses, cases that must still show it: where one ran and does not, it is stale.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from conformance.cause import Cause
from conformance.errors import Place, SpecError, SpecErrors
from conformance.spec.causes import Catalogue
from conformance.spec.complaint import explain
from conformance.spec.globs import matches_any
from conformance.spec.yaml_document import load


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where something was seen: a cell, with the dtype of its case."""

    case: str
    implementation: str
    mode: str
    device: str
    dtype: str


_Globs = Annotated[tuple[str, ...], Field(strict=False)]


class ListedCause(BaseModel):
    """A cause as an entry lists it: by its id, and by parameters or cases where the id alone says too much."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, str | int | float | bool]

    id: str
    cases: _Globs = Field((), description="Globs over the cases that may show this cause. Empty: the entry's.")

    @property
    def parameters(self) -> dict[str, str | int | float | bool]:
        """The parameters that the cause must have."""
        return self.__pydantic_extra__ or {}

    def matches(self, cause: Cause, case: str) -> bool:
        """Return whether that is the cause, in a case that may show it."""
        return (
            cause.id == self.id
            and self.parameters.items() <= dict(cause.parameters).items()
            and (not self.cases or any(fnmatchcase(case, glob) for glob in self.cases))
        )


def _as_cause(value: Any) -> Any:
    return {"id": value} if isinstance(value, str) else value


class Divergence(BaseModel):
    """What one implementation does instead: since when, where, why, what shows it, and who was told."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    implementations: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = Field(
        description="Globs over implementation names."
    )
    causes: Annotated[tuple[Annotated[ListedCause, BeforeValidator(_as_cause)], ...], Field(strict=False, min_length=1)]
    witnesses: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = Field(
        description="Ids of cases that must still show it, in every mode and on every device named."
    )
    cases: _Globs = Field((), description="Globs over the cases that may show it. Empty: every case.")
    modes: Annotated[tuple[Literal["eager", "compiled", "xla"], ...], Field(strict=False)] = Field(
        (), description="Empty: every mode."
    )
    devices: Annotated[tuple[Literal["cpu", "gpu"], ...], Field(strict=False)] = Field(
        (), description="Empty: every device."
    )
    dtypes: Annotated[tuple[Literal["float64", "float32", "float16", "bfloat16"], ...], Field(strict=False)] = Field(
        (), description="Dtypes of the input. Empty: every dtype."
    )
    versions: dict[str, str] = Field(description="Package -> versions that show it, such as '>=2.6,<3'.")
    reason: str = Field(min_length=10, description="What happens instead, in one sentence.")
    diagnosis: str = Field(min_length=10, description="Why.")
    upstream: str | None = Field(None, description="Link, where one is known.")

    def applies(self, site: Site) -> bool:
        """Return whether the entry says something of the cell, whatever the versions."""
        return (
            self.concerns(site.implementation)
            and (not self.cases or any(fnmatchcase(site.case, glob) for glob in self.cases))
            and (not self.modes or site.mode in self.modes)
            and (not self.devices or site.device in self.devices)
            and (not self.dtypes or site.dtype in self.dtypes)
        )

    def concerns(self, implementation: str) -> bool:
        """Return whether the entry is about that implementation."""
        return any(fnmatchcase(implementation, glob) for glob in self.implementations)

    def covers(self, versions: Mapping[str, str]) -> bool:
        """Return whether the versions in use are ones that show it."""
        return all(
            name in versions and Version(versions[name]) in SpecifierSet(wanted, prereleases=True)
            for name, wanted in self.versions.items()
        )

    def lists(self, cause: Cause, case: str) -> bool:
        """Return whether the cause is one of the entry's, in that case."""
        return any(listed.matches(cause, case) for listed in self.causes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An entry and where it stands."""

    divergence: Divergence
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the entries say of a cell that does not agree."""

    #: Each cause that an entry lists, with the entry.
    listed: tuple[tuple[Cause, Listed], ...] = ()
    #: What none lists: causes of which one must be at work.
    unlisted: tuple[tuple[Cause, ...], ...] = ()

    @property
    def wholly(self) -> bool:
        """Whether everything that is wrong with the cell is listed."""
        return bool(self.listed) and not self.unlisted

    @property
    def by_entry(self) -> tuple[tuple[Cause, Listed], ...]:
        """The entries that list the cell, each once, with a cause that it lists.

        None where something is wrong with the cell that no entry lists.
        """
        by_place = {entry.place: (cause, entry) for cause, entry in reversed(self.listed)}
        pairs = {entry.place: by_place[entry.place] for _, entry in self.listed}
        return tuple(pairs.values()) if self.wholly else ()


def known_causes(entries: Iterable[Listed], case: str, explanations: Iterable[tuple[Cause, ...]]) -> Known:
    """Return which causes of a cell the entries list, and which none lists; of alternatives, one must be listed.

    `entries` are those that apply to the cell at its versions.
    """
    entries = list(entries)
    listed: list[tuple[Cause, Listed]] = []
    unlisted: list[tuple[Cause, ...]] = []
    for alternatives in explanations:
        pairs = ((cause, entry) for entry in entries for cause in alternatives if entry.divergence.lists(cause, case))
        first = next(pairs, None)
        if first is None:
            unlisted.append(alternatives)
        else:
            listed.append(first)
    return Known(listed=tuple(listed), unlisted=tuple(unlisted))


def stale(entries: Iterable[Listed], case: str, explanations: Sequence[tuple[Cause, ...]]) -> list[Listed]:
    """Return the entries of which the case is a witness and that explain nothing of what it showed.

    `entries` are those that apply to the cell at its versions; the cell was judged to its end.
    """
    causes = [cause for alternatives in explanations for cause in alternatives]
    return [
        entry
        for entry in entries
        if case in entry.divergence.witnesses and not any(entry.divergence.lists(cause, case) for cause in causes)
    ]


def of_implementation(entries: Sequence[Listed], implementation: str) -> list[Listed]:
    """Return the entries of that implementation: only these need to be held against its cells."""
    return [entry for entry in entries if entry.divergence.concerns(implementation)]


def in_force(entries: Iterable[Listed], site: Site, versions: Mapping[str, str]) -> list[Listed]:
    """Return the entries that apply to the cell at those versions."""
    return [entry for entry in entries if entry.divergence.applies(site) and entry.divergence.covers(versions)]


def unmatched(entries: Sequence[Listed], sites: Iterable[Site]) -> list[Listed]:
    """Return the entries that have no witness among the cells, whatever the versions."""
    by_case: dict[str, list[Site]] = {}
    for site in sites:
        by_case.setdefault(site.case, []).append(site)
    return [
        entry
        for entry in entries
        if not any(
            entry.divergence.applies(site)
            for witness in entry.divergence.witnesses
            for site in by_case.get(witness, ())
        )
    ]


def load_divergences(
    path: Path, cases: Sequence[str], causes: Catalogue, shown: str | None = None
) -> tuple[Listed, ...]:
    """Return the entries in the file at `path`. Raises `SpecErrors`.

    Every witness must be one of `cases`, the ids of the spec, and every glob match one, unless none are given.
    """
    try:
        document = load(path, shown)
    except SpecError as error:
        raise SpecErrors((error,)) from error
    if not isinstance(document.value, list):
        raise SpecErrors((document.error((), "expected a list of divergences"),))
    errors: list[SpecError] = []
    entries: list[Listed] = []
    for index, raw in enumerate(document.value):
        try:
            divergence = Divergence.model_validate(raw)
        except ValidationError as error:
            keys = sorted(Divergence.model_fields)
            path_of = functools.partial(_under, index)
            errors.extend(explain(detail, raw, path_of, document, keys) for detail in error.errors())
            continue
        errors.extend(
            document.error((index, *location), message, ".".join(str(part) for part in location))
            for location, message in (
                *_case_errors(divergence, cases),
                *_cause_errors(divergence, causes),
                *_version_errors(divergence),
            )
        )
        entries.append(Listed(divergence=divergence, place=document.place((index,))))
    if errors:
        raise SpecErrors(tuple(errors))
    return tuple(entries)


def _under(index: int, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return (index, *location)


_Complaint = tuple[tuple[str | int, ...], str]


def _case_errors(divergence: Divergence, cases: Sequence[str]) -> Iterator[_Complaint]:
    globs: list[_Complaint] = [(("cases", number), glob) for number, glob in enumerate(divergence.cases)]
    for place, cause in enumerate(divergence.causes):
        globs += [(("causes", place, "cases", number), glob) for number, glob in enumerate(cause.cases)]
    for location, glob in globs:
        if cases and not matches_any(glob, cases):
            yield location, f"no case matches {glob!r}"
    for number, witness in enumerate(divergence.witnesses):
        if cases and witness not in cases:
            near = difflib.get_close_matches(witness, cases, n=1)
            yield ("witnesses", number), f"no case {witness!r}{f'; did you mean {near[0]!r}?' if near else ''}"
        elif divergence.cases and not any(fnmatchcase(witness, glob) for glob in divergence.cases):
            yield ("witnesses", number), f"{witness!r} is none of the entry's cases"


def _cause_errors(divergence: Divergence, causes: Catalogue) -> Iterator[_Complaint]:
    for number, cause in enumerate(divergence.causes):
        place = ("causes", number)
        if cause.id not in causes:
            near = difflib.get_close_matches(cause.id, causes, n=1)
            yield place, f"no cause {cause.id!r}{f'; did you mean {near[0]!r}?' if near else ''}"
            continue
        unknown = sorted(cause.parameters.keys() - causes[cause.id].parameters)
        if unknown:
            yield place, f"{cause.id} has no parameter {unknown[0]!r}"
        if causes[cause.id].symptom and not (cause.cases or divergence.cases):
            yield place, f"{cause.id} says that something is wrong and not what: it must name its cases"


def _version_errors(divergence: Divergence) -> Iterator[_Complaint]:
    for package, wanted in divergence.versions.items():
        try:
            SpecifierSet(wanted)
        except (InvalidSpecifier, InvalidVersion):
            yield ("versions", package), f"expected versions such as '>=2.6,<3', got {wanted!r}"

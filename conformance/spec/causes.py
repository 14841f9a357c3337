"""The catalogue of causes, `spec/causes.yaml`: what each is called, what is done instead, and what a user sees of it."""

from __future__ import annotations

import difflib
import functools
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conformance.errors import SpecError, SpecErrors
from conformance.spec.complaint import explain
from conformance.spec.loader import load_clauses
from conformance.spec.locations import spec_folder
from conformance.spec.yaml_document import Document, load


class CatalogueEntry(BaseModel):
    """What is said of a cause."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    words: str = Field(min_length=3, description="What names it, with its {parameters}.")
    one: str | None = Field(None, min_length=3, description="The words where the parameter `count` is 1.")
    varies: tuple[str, ...] = Field(
        default=(), strict=False, description="Parameters that differ from cell to cell of one fault."
    )
    instead: str = Field(min_length=10, description="What is done instead, in one sentence.")
    seen: str = Field(min_length=10, description="What a user sees of it, in one sentence.")
    clause: str = Field(description="The clause of semantics.md that it breaks.")
    symptom: bool = Field(False, description="Whether it says that something is wrong, and not what is done instead.")

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the parameters that the words leave open."""
        return frozenset(_fields(self.words))


Catalogue: TypeAlias = Mapping[str, CatalogueEntry]


@functools.cache
def catalogue() -> Catalogue:
    """Return the shipped catalogue. Raises `SpecErrors`."""
    folder = spec_folder()
    return load_causes(folder / "causes.yaml", load_clauses(folder / "semantics.md"))


def load_causes(path: Path, clauses: Mapping[str, str], shown: str | None = None) -> Catalogue:
    """Return the catalogue in the file at `path`, by id. Raises `SpecErrors`; `clauses` are those of the semantics."""
    try:
        document = load(path, shown)
    except SpecError as error:
        raise SpecErrors((error,)) from error
    if not isinstance(document.value, dict):
        raise SpecErrors((document.error((), "expected a mapping of causes by id"),))
    errors: list[SpecError] = []
    entries: dict[str, CatalogueEntry] = {}
    for id_, raw in document.value.items():
        try:
            entry = CatalogueEntry.model_validate(raw)
        except ValidationError as error:
            path_of = functools.partial(_under, id_)
            keys = sorted(CatalogueEntry.model_fields)
            errors.extend(explain(detail, raw, path_of, document, keys) for detail in error.errors())
            continue
        errors.extend(_entry_errors(id_, entry, clauses, document))
        entries[id_] = entry
    if errors:
        raise SpecErrors(tuple(errors))
    return entries


def _under(id_: str, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return (id_, *location)


def _entry_errors(
    id_: str, entry: CatalogueEntry, clauses: Mapping[str, str], document: Document
) -> Iterator[SpecError]:
    if entry.clause not in clauses:
        near = difflib.get_close_matches(entry.clause, clauses, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        yield document.error((id_, "clause"), f"no clause {entry.clause!r}{hint}", f"{id_}.clause")
    for key, text in (("words", entry.words), ("one", entry.one), ("instead", entry.instead), ("seen", entry.seen)):
        try:
            unknown = set(_fields(text or "")) - entry.parameters
        except ValueError as error:
            yield document.error((id_, key), f"braces do not match: {error}", f"{id_}.{key}")
            return
        if unknown:
            yield document.error((id_, key), f"the words have no {{{min(unknown)}}}", f"{id_}.{key}")
    for name in entry.varies:
        if name not in entry.parameters:
            yield document.error((id_, "varies"), f"the words have no {{{name}}}", f"{id_}.varies")


def _fields(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]

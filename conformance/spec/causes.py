"""The catalogue of causes, `spec/causes.yaml`, and the text that is made of causes with it.

Judging gives causes as values; their words are read here, once, when somebody is to read them.
"""

from __future__ import annotations

import difflib
import functools
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conformance.cause import CONSTANT, UNEXPLAINED, Cause, Explanation, Parameter, Term
from conformance.errors import SpecError, SpecErrors
from conformance.spec.loader import explain, load_clauses
from conformance.spec.locations import spec_folder
from conformance.spec.yaml_document import Document, load

#: Alternatives that are named; of more, their number.
_NAMED = 3


class CatalogueEntry(BaseModel):
    """What is said of a cause."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    words: str = Field(min_length=3, description="What names it, with its {parameters}.")
    one: str | None = Field(None, min_length=3, description="The words where the parameter `count` is 1.")
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


def _fields(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]


def diagnosis_text(explanations: Iterable[Explanation], words: Catalogue) -> str:
    """Return what explains a cell, each explanation once."""
    return "; ".join(dict.fromkeys(text_of(explanation.alternatives, words) for explanation in explanations))


def text_of(alternatives: Sequence[Cause], words: Catalogue) -> str:
    """Return causes that explain the same as one text, the first of many; of none, an empty one."""
    named = [_text(cause, words) for cause in alternatives[:_NAMED]]
    rest = len(alternatives) - _NAMED
    others = [f"{rest} other{'s' if rest > 1 else ''}"] if rest > 0 else []
    return " or ".join([*named, *others])


def _text(cause: Cause, words: Catalogue) -> str:
    entry, parameters = words[cause.id], dict(cause.parameters)
    text = entry.one if entry.one is not None and parameters.get("count") == 1 else entry.words
    said = text.format_map(parameters)
    return f"{said}: {_weights(parameters)}" if cause.id == UNEXPLAINED and parameters else said


def _weights(parameters: Mapping[str, Parameter]) -> str:
    """Return what numbers that nothing explains are made of, beside what the right ones are."""
    terms, left, off = parameters["terms"], parameters["left"], parameters["off"]
    assert isinstance(terms, tuple)
    assert isinstance(left, float)
    assert isinstance(off, float)
    observed, right = (
        _sum([(term, weight) for term, weight in zip(terms, weights, strict=True)])
        for weights in ([term.observed for term in terms], [term.right for term in terms])
    )
    if observed == right:
        said = f"{observed}, which is right, but for up to {off:.2g} bounds"
    else:
        said = f"{observed}{'' if left <= 1 else f', to within {left:.2g} bounds'}, where {right} is right"
    if "feature" in parameters:
        counts = f"{parameters['features_off']} of {parameters['features']}"
        said += f" (feature {parameters['feature']}, the worst of {counts} that are off)"
    return f"{parameters['quantity']} is {said}"


def _sum(weighed: Iterable[tuple[Term, float]]) -> str:
    text = ""
    for term, weight in weighed:
        shown = f"{weight:.{term.digits}g}"
        sign, size = ("-", shown[1:]) if shown.startswith("-") else ("+", shown)
        product = size if term.name == CONSTANT else f"{size}·{term.name}"
        text += f" {sign} {product}" if text else f"{sign.strip('+')}{product}"
    return text

"""The spec as loaded: cases from `cases/<family>.yaml`, clauses from `semantics.md`, and a hash of both."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from conformance.dialect import FIELDS, allows, values_of
from conformance.errors import Place, SpecError, SpecErrors
from conformance.operations import OPERATIONS
from conformance.spec.budgets import CASES, FILE_BYTES, STEPS
from conformance.spec.case import Case, unfit
from conformance.spec.complaint import explain, hint
from conformance.spec.matrix import Origin, expand
from conformance.spec.own_files import borrowed_family
from conformance.spec.step_checks import step_checks, written
from conformance.spec.yaml_document import Document
from conformance.spec.yaml_document import load as load_document

#: ASCII alone: Python's own numbers may have underscores, and digits of any script.
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_FAMILY = re.compile(r"[a-z0-9][a-z0-9-]*")
_CLAUSE = re.compile(r"^\*\*(?P<number>\d+(?:\.\d+)*)\s+(?P<title>[^*]+?)\.?\*\*", re.MULTILINE)
_SECTION = re.compile(r"^## (?P<number>\d+)\.? (?P<title>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A case and where it stands."""

    case: Case
    file: Path
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Everything a run is judged by."""

    cases: tuple[Located, ...]
    #: Clause number -> its title, in the order of the document.
    clauses: Mapping[str, str]
    #: Section number -> its title.
    sections: Mapping[str, str]
    hash: str


def load(folder: Path, files: Sequence[Path] = ()) -> Spec:
    """Return the spec in `folder`, or of its `files` alone. Raises `SpecErrors` with every error found."""
    clauses = load_clauses(folder / "semantics.md")
    entries: list[Located] = []
    errors: list[SpecError] = []
    chosen = sorted(files) if files else sorted((folder / "cases").glob("*.yaml"))
    digest = hashlib.sha256((folder / "semantics.md").read_bytes())
    for file in chosen:
        digest.update(file.name.encode() + _beginning(file))
        borrowed = borrowed_family(file, _shown(file), folder / "cases")
        if borrowed is not None:
            errors.append(borrowed)
            continue
        try:
            cases = load_file(file, clauses)
        except SpecErrors as error:
            errors.extend(error.errors)
        else:
            entries.extend(cases)
    errors.extend(_duplicates(entries))
    if errors:
        raise SpecErrors(tuple(errors))
    sections = load_sections(folder / "semantics.md")
    return Spec(cases=tuple(entries), clauses=clauses, sections=sections, hash=digest.hexdigest()[:16])


def _beginning(file: Path) -> bytes:
    """Return as much of a file as a case file may have; nothing where it cannot be read, which is told later."""
    try:
        with file.open("rb") as opened:
            return opened.read(FILE_BYTES)
    except OSError:
        return b""


def load_clauses(path: Path) -> dict[str, str]:
    """Return the clauses of the semantics: paragraphs that begin with a bold number and title."""
    return {match["number"]: match["title"] for match in _CLAUSE.finditer(path.read_text(encoding="utf-8"))}


def load_sections(path: Path) -> dict[str, str]:
    """Return the sections of the semantics: headings that begin with a number."""
    return {match["number"]: match["title"] for match in _SECTION.finditer(path.read_text(encoding="utf-8"))}


def load_file(file: Path, clauses: Mapping[str, str]) -> list[Located]:
    """Return the cases of one file. Raises `SpecErrors`."""
    shown = _shown(file)
    try:
        document = load_document(file, shown)
    except SpecError as error:
        raise SpecErrors((error,)) from error
    if not isinstance(document.value, list):
        raise SpecErrors((document.error((), "expected a list of cases"),))
    entries: list[Located] = []
    errors: list[SpecError] = []
    for index, entry in enumerate(document.value):
        try:
            for raw, origin in expand(entry, (index,), document, CASES - len(entries)):
                case = _validated(raw, origin, document)
                errors.extend(_cross_checks(case, origin, file.stem, clauses, document))
                entries.append(Located(case=case, file=file, place=document.place((index,))))
        except SpecErrors as error:
            errors.extend(error.errors)
    if errors:
        raise SpecErrors(tuple(errors))
    return entries


def case_of(raw: dict[str, Any], clauses: Mapping[str, str], shown: str) -> Case:
    """Return the case of these values, checked as in a file of its family; `shown` is what errors call it. Raises `SpecErrors`."""
    document, origin = Document(file=shown, value=raw), Origin((), {})
    case = _validated(raw, origin, document)
    errors = tuple(_cross_checks(case, origin, case.family, clauses, document))
    if errors:
        raise SpecErrors(errors)
    return case


def file_schema() -> dict[str, Any]:
    """Return the JSON Schema of a case file, for editors."""
    schema = TypeAdapter(list[_FileEntry]).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Cases of one family", **schema}


class _FileEntry(Case):
    """A case as it stands in a file, where a matrix may expand it."""

    model_config = ConfigDict(title="Case")
    matrix: dict[str, list[str | int | float | bool] | dict[str, dict[str, Any]]] | None = None


def _validated(raw: dict[str, Any], origin: Origin, document: Document) -> Case:
    try:
        return Case.model_validate(raw)
    except ValidationError as error:
        details = error.errors()
        # Items left out for their own errors make a sequence too short: only the cause is worth a line.
        causes = [detail for detail in details if detail["type"] != "too_short" or not _within(detail, details)]
        errors = (explain(detail, raw, origin.path, document, _case_keys(detail)) for detail in causes)
        raise SpecErrors(tuple(errors)) from error


def _within(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    location = detail["loc"]
    return any(other is not detail and other["loc"][: len(location)] == location for other in details)


def _case_keys(detail: ErrorDetails) -> list[str]:
    """Return the keys known where the complaint is: those of the step or recipe named on the way, or all."""
    if len(detail["loc"]) == 1:
        return sorted({*Case.model_fields, "matrix"})
    definitions = _properties()
    tags = {part for part in detail["loc"] if isinstance(part, str)}
    tagged = [keys for keys in definitions if any(schema.get("const") in tags for schema in keys.values())]
    return sorted(set().union(*(tagged or definitions)))


@functools.cache
def _properties() -> list[dict[str, Any]]:
    """Return the properties of each definition of the schema of a case file; making it takes longer than a case does."""
    return [definition.get("properties", {}) for definition in file_schema()["$defs"].values()]


def _cross_checks(
    case: Case, origin: Origin, family: str, clauses: Mapping[str, str], document: Document
) -> Iterator[SpecError]:
    """Yield what no single field can tell: ids, clauses, axes, sizes, recipes that cannot be made."""

    def error(message: str, *location: str | int) -> SpecError:
        return document.error(origin.path(location), message, ".".join(str(part) for part in location))

    if case.family != family:
        rule = "" if _FAMILY.fullmatch(family) else ", which must be lower case, digits and dashes"
        yield error(f"begins with {case.family!r}, but its family is its file's name, {family!r}{rule}", "id")
    for index, clause in enumerate(case.clauses):
        if clause not in clauses:
            yield error(f"no clause {clause!r}{hint(clause, clauses)}", "clauses", index)
    if case.op not in OPERATIONS:
        known = sorted(OPERATIONS)
        yield error(f"expected one of {', '.join(known)}, got {case.op!r}{hint(case.op, known, 0.8)}", "op")
        return
    count = sum(times for _, _, times in written(case))
    if count > STEPS:
        yield error(f"are {count:,} with every repetition, over the budget of {STEPS:,}", "steps")
        return
    rank = len(case.shape)
    kept = [axis % rank for axis in case.feature_axes if -rank <= axis < rank]
    if len(set(kept)) != len(case.feature_axes):
        yield error(f"must be different axes of a shape of rank {rank}", "feature_axes")
        return
    for key in ("memory", "upstream_memory"):
        if getattr(case, key) == "channels_last" and rank < 3:
            yield error("channels_last needs an axis beside batch and features", key)
    if OPERATIONS[case.op].whole and case.input_dtype is None:
        yield error(f"is missing, which {case.op} needs", "input_dtype")
    wrong_options = list(_option_checks(case, origin, document))
    yield from wrong_options
    if not wrong_options:  # state and sizes may follow from them
        yield from step_checks(case, error)
    yield from _published_checks(case, error)


def _option_checks(case: Case, origin: Origin, document: Document) -> Iterator[SpecError]:
    """Yield what the operation's own model finds wrong with its options."""
    model = OPERATIONS[case.op].options or _NoOptions
    try:
        model.model_validate(case.options)
    except ValidationError as error:
        for detail in error.errors():
            within: ErrorDetails = {**detail, "loc": ("options", *detail["loc"])}
            yield explain(within, {"options": case.options}, origin.path, document, sorted(model.model_fields))


class _NoOptions(BaseModel):
    """The options of an operation that has none."""

    model_config = ConfigDict(extra="forbid")


def _published_checks(case: Case, error: Any) -> Iterator[SpecError]:
    quantities = OPERATIONS[case.op].quantities
    for index, published in enumerate(case.expected):
        if published.quantity not in quantities:
            meant = hint(published.quantity, quantities)
            yield error(f"{case.op} has no {published.quantity}{meant}", "expected", index, "quantity")
        if published.step > len(case.performed):
            yield error(f"there are {len(case.performed)} steps", "expected", index, "step")
        elif unfit(case.performed[published.step - 1]):
            yield error("that step must be refused, and gives no numbers", "expected", index, "step")
        if not _is_decimal(published.values):
            yield error("expected decimal texts, such as '0.79519051'", "expected", index, "values")
        for name, value in published.dialect.items():
            if name not in FIELDS:
                yield error(f"no field of a dialect{hint(name, FIELDS)}", "expected", index, "dialect", name)
            elif not allows(name, value):
                known = ", ".join(map(str, values_of(name)))
                yield error(f"expected one of {known}, got {value!r}", "expected", index, "dialect", name)


def _is_decimal(values: Any) -> bool:
    """Return whether these are decimal texts of numbers that float64 holds, nested evenly."""
    try:
        texts = np.array(values, dtype=object)
    except ValueError:
        return False
    return texts.size > 0 and all(
        isinstance(text, str) and _DECIMAL.fullmatch(text) is not None and math.isfinite(float(text))
        for text in texts.flat
    )


def _duplicates(entries: Sequence[Located]) -> Iterator[SpecError]:
    first: dict[str, Place] = {}
    for located in entries:
        if located.case.id in first:
            message = f"{located.case.id!r} is also the id at {first[located.case.id]}"
            yield SpecError(place=located.place, key="id", message=message)
        else:
            first[located.case.id] = located.place


def _shown(file: Path) -> str:
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)

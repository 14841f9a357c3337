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
from conformance.operations.operation import shape_of
from conformance.precision import dtype_named
from conformance.spec.budgets import CASES, FILE_BYTES, INPUT_BYTES, STEPS, WHOLE_BYTES, mebibytes
from conformance.spec.case import Case, Infer, Repeat, Sgd, Step, Train
from conformance.spec.complaint import explain, hint
from conformance.spec.matrix import Origin, expand
from conformance.spec.own_files import borrowed_family
from conformance.spec.recipe import misfit, realize
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
    count = sum(times for _, _, times in _written(case))
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
    wrong_options = list(_option_checks(case, origin, document))
    yield from wrong_options
    if not wrong_options:  # state and sizes may follow from them
        yield from _step_checks(case, error)
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


def _step_checks(case: Case, error: Any) -> Iterator[SpecError]:
    operation = OPERATIONS[case.op]
    configuration = case.configuration
    trained = differentiated = False
    for place, step, _ in _written(case):
        if step.step not in operation.formulas:
            yield error(f"{case.op} has no step {step.step}", *place)
        match step:
            case Train() | Infer():
                given = {*step.arrays, *(["upstream"] if step.upstream is not None else [])}
                unknown = [name for name in step.arrays if name not in operation.arrays]
                yield from (error(f"{case.op} takes no {name}", *place, name) for name in unknown)
                missing = sorted(operation.needs - given)
                yield from (error(f"{name}: is missing, which {case.op} needs", *place) for name in missing)
                if unknown or missing:
                    continue
            case Sgd() if not trained:
                yield error("needs a train step before it", *place)
            case Sgd() if not differentiated:
                yield error("needs gradients: the train step before it has no upstream", *place)
            case _:
                pass
        if isinstance(step, Train):
            trained, differentiated = True, step.upstream is not None
        if isinstance(step, Train | Infer):
            yield from _shape_checks(case, step, error, place)
    taking = ((step, times) for _, step, times in _written(case) if isinstance(step, Train | Infer))
    whole = sum(times * _bytes(case, case.step_shape(step)) for step, times in taking)
    if whole > WHOLE_BYTES:
        yield error(f"take {mebibytes(whole)} together, over the budget of {mebibytes(WHOLE_BYTES)}", "steps")
    names = operation.state(configuration)
    for name, recipe in case.initial.items():
        if name not in names:
            yield error(f"this configuration of {case.op} has no {name}{hint(name, names)}", "initial", name)
            continue
        shape = shape_of(operation.quantities[name].shape, configuration, case.shape)
        yield from _recipe_checks(recipe, shape, tuple(range(len(shape))), error, ("initial", name))


def _written(case: Case) -> Iterator[tuple[tuple[str | int, ...], Step, int]]:
    """Yield each step as it is written, once, with its path in the case and how often it is performed."""
    for index, step in enumerate(case.steps):
        match step:
            case Repeat(steps=repeated, times=times):
                for inner, repeated_step in enumerate(repeated):
                    yield ("steps", index, "steps", inner), repeated_step, times
            case _:
                yield ("steps", index), step, 1


def _shape_checks(case: Case, step: Train | Infer, error: Any, place: tuple[str | int, ...]) -> Iterator[SpecError]:
    shape, axes = case.step_shape(step), case.configuration.feature_axes
    if len(shape) != len(case.shape) or any(shape[axis] != case.shape[axis] for axis in axes):
        yield error(f"must have the rank and the feature sizes of {case.shape}", *place, "shape")
        return
    misfit = OPERATIONS[case.op].misfit(case.configuration, step.step, shape)
    if misfit:
        yield error(misfit, *((*place, "shape") if step.shape is not None else ("options",)))
        return
    size = _bytes(case, shape)
    if size > INPUT_BYTES:
        key = (*place, "shape") if step.shape is not None else ("shape",)
        yield error(f"{list(shape)} takes {mebibytes(size)}, over the budget of {mebibytes(INPUT_BYTES)}", *key)
        return
    for name in ("input", "upstream"):
        recipe = getattr(step, name)
        if recipe is not None:
            yield from _recipe_checks(recipe, shape, axes, error, (*place, name))
    reduced = tuple(shape[axis] for axis in case.configuration.reduction_axes)
    for name, recipe in step.arrays.items():
        if OPERATIONS[case.op].arrays[name] == "mask":
            yield from _mask_checks(step, recipe, reduced, error, (*place, name))
        else:
            yield from _recipe_checks(recipe, shape, axes, error, (*place, name))


def _mask_checks(
    step: Train | Infer, mask: Any, reduced: tuple[int, ...], error: Any, place: tuple[str | int, ...]
) -> Iterator[SpecError]:
    wrong = list(_recipe_checks(mask, reduced, (), error, place))
    yield from wrong
    # Where nothing counts, the output is not determined.
    follows = step.upstream is not None and step.upstream.kind == "mean_squared_error"
    if not wrong and follows and not np.any(realize(mask, reduced, (), "float32")):
        yield error("no position counts, so that there is no output for a mean_squared_error", *place)


def _bytes(case: Case, shape: tuple[int, ...]) -> int:
    """Return how large an input of that shape is; an empty one counts what its statistics or its rows would be of."""
    return math.prod(max(1, size) for size in shape) * dtype_named(case.dtype).itemsize


def _recipe_checks(
    recipe: Any, shape: tuple[int, ...], axes: tuple[int, ...], error: Any, place: tuple[str | int, ...]
) -> Iterator[SpecError]:
    if recipe.kind == "mean_squared_error" and place[-1] != "upstream":
        yield error("mean_squared_error is a gradient with respect to the output, and stands under upstream", *place)
        return
    complaint = misfit(recipe, shape, axes)
    if complaint is not None:
        yield error(complaint, *place)


def _published_checks(case: Case, error: Any) -> Iterator[SpecError]:
    quantities = OPERATIONS[case.op].quantities
    for index, published in enumerate(case.expected):
        if published.quantity not in quantities:
            meant = hint(published.quantity, quantities)
            yield error(f"{case.op} has no {published.quantity}{meant}", "expected", index, "quantity")
        if published.step > len(case.performed):
            yield error(f"there are {len(case.performed)} steps", "expected", index, "step")
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

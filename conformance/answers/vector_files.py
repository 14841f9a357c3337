"""A folder of test vectors: an index, a file for each case, schemas, and a page for whoever implements from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import msgspec

from conformance import __version__
from conformance.answers import safetensors
from conformance.answers.onnx_models import models_of
from conformance.answers.vector_structs import (
    FORMAT,
    CaseResults,
    IndexEntry,
    ResultsHeader,
    Vector,
    VectorIndex,
)
from conformance.answers.vectors import file_of, vector_of
from conformance.errors import UsageError
from conformance.files.whole import check_folder
from conformance.operations import OPERATIONS
from conformance.reference.inputs import inputs_of
from conformance.spec.loader import Located, Spec

INDEX = "index.json"
_SCHEMAS = {"index": VectorIndex, "case": Vector, "results-header": ResultsHeader, "results": CaseResults}
_Value = TypeVar("_Value")


def write(spec: Spec, cases: Sequence[Located], folder: Path, *, onnx: bool) -> str:
    """Write the cases as vectors into `folder`, in place of earlier ones, and return what that is. Raises `UsageError`."""
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        try:
            read_index(folder)
        except UsageError as error:
            message = f"{folder}: holds other things than vectors; name an empty folder or one of vectors"
            raise UsageError(message) from error
    try:
        for part in ("cases", "onnx", "schema"):
            shutil.rmtree(folder / part, ignore_errors=True)
        models = sum(_write_case(located, folder, onnx=onnx) for located in cases)
        _write(folder / "README.md", _readme().encode())
        for name, kind in _SCHEMAS.items():
            schema = json.dumps(msgspec.json.schema(kind), indent=1, sort_keys=True) + "\n"
            _write(folder / "schema" / f"{name}.schema.json", schema.encode())
        # Last, since it says that the rest is there.
        _write(folder / INDEX, msgspec.json.format(msgspec.json.encode(_index(spec, cases)), indent=1) + b"\n")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return f"{folder}: {len(cases)} cases, {models} ONNX models"


def read_index(folder: Path) -> VectorIndex:
    """Return the index of a folder of vectors. Raises `UsageError`."""
    index = _decoded(folder / INDEX, VectorIndex)
    if index.format != FORMAT:
        raise UsageError(f"{folder / INDEX}: format {index.format}, expected {FORMAT}")
    return index


def read_vector(folder: Path, entry: IndexEntry) -> Vector:
    """Return the vectors of one case of the index. Raises `UsageError`."""
    path = folder / entry.file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{folder / INDEX}: {entry.id}: its file is outside the folder")
    return _decoded(path, Vector)


def _decoded(path: Path, kind: type[_Value]) -> _Value:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{path}: {str(error) or 'nested too deep'}") from error


def _write_case(located: Located, folder: Path, *, onnx: bool) -> int:
    """Write one case, and return of how many ONNX models."""
    vector, tensors = vector_of(located)
    path = file_of(located.case.id)
    if tensors:
        _write(folder / f"{path}.safetensors", safetensors.encoded(tensors))
    _write(folder / f"{path}.json", msgspec.json.encode(vector) + b"\n")
    files = list(models_of(located.case)) if onnx else []
    for name, content in files:
        _write(folder / name, content)
    return sum(name.endswith("model.onnx") for name, _ in files)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _index(spec: Spec, cases: Sequence[Located]) -> VectorIndex:
    return VectorIndex(
        format=FORMAT,
        suite=__version__,
        spec=spec.hash,
        cases=tuple(_entry(located) for located in cases),
        dialects={name: asdict(operation.dialect) for name, operation in OPERATIONS.items()},
    )


def _entry(located: Located) -> IndexEntry:
    case = located.case
    return IndexEntry(
        id=case.id,
        op=case.op,
        file=f"{file_of(case.id)}.json",
        title=case.title,
        dtype=case.dtype,
        shape=case.shape,
        feature_axes=case.configuration.feature_axes,
        inputs=tuple("" if step.input is None else step.checksum for step in inputs_of(case).steps),
    )


def _readme() -> str:
    return Path(__file__).with_name("vectors-readme.md").read_text(encoding="utf-8")

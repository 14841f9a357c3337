"""The shapes that are timed: those of the spec, grown to the last-level cache of the machine at hand."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from conformance.errors import SpecError, SpecErrors
from conformance.precision import dtype_named
from conformance.spec.case import Case
from conformance.spec.yaml_document import Document
from conformance.spec.yaml_document import load as load_document

#: Of the memory, for one tensor. Each of some sixteen processes keeps four, two inputs and two upstream gradients, one at
#: a time needs ten more, and all together half of the memory.
_OF_MEMORY = 1 / 160
#: Of a machine that does not tell.
_MEMORY = 16 * 2**30
#: The first axis is a multiple of this, so that no kernel has a remainder of the batch.
_STEP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """Cases, by globs over their ids, whose tensors have so many last-level caches."""

    caches: float
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The bytes of a machine's last-level cache and of its memory."""

    cache: int
    memory: int


def memory() -> int:
    """Return the bytes of this machine's memory."""
    if not hasattr(os, "sysconf"):
        return _MEMORY
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def sized(case: Case, sizes: Sequence[Caches], room: Room) -> Case:
    """Return the case with the first axis that its tensors have on such a machine; the first that names it counts."""
    for size in sizes:
        if any(fnmatchcase(case.id, glob) for glob in size.cases):
            length = _length(case, min(size.caches * room.cache, _OF_MEMORY * room.memory))
            # Made anew: a copy would keep what the case has computed of its shape.
            return Case.model_validate({**case.model_dump(exclude_none=True), "shape": (length, *case.shape[1:])})
    return case


def _length(case: Case, wanted: float) -> int:
    of_one = math.prod(case.shape[1:]) * dtype_named(case.dtype).itemsize
    return max(_STEP, _STEP * round(wanted / of_one / _STEP))


def load_sizes(path: Path, cases: Sequence[str]) -> tuple[Caches, ...]:
    """Return what the file at `path` says. Raises `SpecErrors`: every glob must match one of `cases`."""
    try:
        document = load_document(path)
    except SpecError as error:
        raise SpecErrors((error,)) from error
    if not isinstance(document.value, list):
        raise SpecErrors((document.error((), "expected a list of `caches` with their `cases`"),))
    errors = [error for number, entry in enumerate(document.value) for error in _errors(document, number, entry, cases)]
    if errors:
        raise SpecErrors(tuple(errors))
    return tuple(Caches(caches=entry["caches"], cases=tuple(entry["cases"])) for entry in document.value)


def _errors(document: Document, number: int, entry: Any, cases: Sequence[str]) -> list[SpecError]:
    if not isinstance(entry, dict) or set(entry) != {"caches", "cases"}:
        return [document.error((number,), "expected `caches` and `cases`")]
    caches, globs = entry["caches"], entry["cases"]
    if isinstance(caches, bool) or not isinstance(caches, int | float) or not 0 < caches < math.inf:
        return [document.error((number, "caches"), f"expected a positive number, got {caches!r}", "caches")]
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        return [document.error((number, "cases"), "expected a list of globs over case ids", "cases")]
    return [
        document.error((number, "cases", place), f"no case matches {glob!r}", "cases")
        for place, glob in enumerate(globs)
        if not any(fnmatchcase(case, glob) for case in cases)
    ]
